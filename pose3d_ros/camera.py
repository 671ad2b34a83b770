"""The camera model: pixels <-> rays, with every distortion that a CameraInfo can carry, and resizing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_MOST_PX, _LEAST_PX = 1e7, 1e-3  # of K: beyond, rays and their variances are no numbers to reckon with
_COEFFICIENT_COUNTS = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
_ALIASES = {"": "plumb_bob", "none": "plumb_bob", "fisheye": "equidistant", "kannala_brandt4": "equidistant"}
_NEWTON_STEPS = 4
_REACHED_PX, _UNREACHED_PX = 1e-9, 0.01
_NEAREST_M = 1e-6
_NEAR_AXIS = 0.1  # where decentring may well move a ray to the other side


class CameraError(ValueError):
    """A calibration that cannot be used; the message says what is wrong with it and what to do."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera in its optical frame: x right, y down, z forward (REP-103).

    width, height: pixels of the image that `K` belongs to.
    K: [3, 3] intrinsic matrix in pixels.
    distortion: coefficients in OpenCV's order; their number must fit `model`.
    model: `plumb_bob`, `rational_polynomial` or `equidistant` (alias `fisheye`), as in sensor_msgs/CameraInfo.

    Raises CameraError when the calibration is unusable (zero or NaN K, wrong number of coefficients, no size).
    """

    width: int
    height: int
    K: Array
    distortion: Array = field(default_factory=lambda: np.zeros(0))
    model: str = "plumb_bob"

    def __post_init__(self) -> None:
        K = np.asarray(self.K, float).reshape(3, 3)
        distortion = np.asarray(self.distortion, float).ravel()
        model = _ALIASES.get(self.model.lower(), self.model.lower())
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"camera size is {self.width}x{self.height}: publish width and height in CameraInfo")
        if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise CameraError(
                f"focal lengths are ({K[0, 0]:g}, {K[1, 1]:g}): the camera is not calibrated; calibrate it, "
                "or give an assumed field of view"
            )
        if np.abs(K).max() > _MOST_PX or np.abs(np.linalg.det(K[:2, :2])) < _LEAST_PX**2:
            raise CameraError(f"K is {K.ravel().tolist()}, which no camera's can be: calibrate the camera again")
        if model not in _COEFFICIENT_COUNTS:
            raise CameraError(f"unknown distortion model '{self.model}': use one of {sorted(_COEFFICIENT_COUNTS)}")
        if not np.isfinite(distortion).all():
            raise CameraError("the distortion coefficients are not finite: calibrate the camera again")
        if not distortion.any():
            distortion = np.zeros(0)
        elif distortion.size not in _COEFFICIENT_COUNTS[model]:
            raise CameraError(
                f"{distortion.size} coefficients do not fit distortion model '{model}', "
                f"which has {' or '.join(map(str, _COEFFICIENT_COUNTS[model]))}"
            )
        for name, value in (("K", K), ("distortion", distortion), ("model", model)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_horizontal_fov(cls, width: int, height: int, fov_deg: float) -> Camera:
        """A pinhole camera with square pixels, centred, of the given horizontal field of view in degrees."""
        if not 0 < fov_deg < 180:
            raise CameraError(f"horizontal field of view is {fov_deg:g} degrees: it must lie between 0 and 180")
        f = 0.5 * width / np.tan(np.radians(fov_deg) / 2)
        return cls(width, height, np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]]))

    def resized(self, width: int, height: int) -> Camera:
        """The same camera after its image was scaled to `width` x `height` pixels."""
        sx, sy = width / self.width, height / self.height
        # Pixel centres lie at whole numbers, so that scaling keeps (x + 0.5), not x.
        scale = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
        return Camera(width, height, scale @ self.K, self.distortion, self.model)

    def rays(self, points_px: ArrayLike) -> Array:
        """Undistorted rays (x/z, y/z) through the pixels [..., 2]; same shape. NaN where no ray reaches the pixel."""
        return self.rays_with_jacobian(points_px)[0]

    def rays_with_jacobian(self, points_px: ArrayLike) -> tuple[Array, Array]:
        """The rays [..., 2] through the pixels, as `rays`, and d ray / d pixel [..., 2, 2] there."""
        points = np.asarray(points_px, float)
        flat = points.reshape(-1, 2)
        if self.distortion.size == 0:
            rays = self._undistorted_rays(flat)
            return rays.reshape(points.shape), np.broadcast_to(self._pinhole_jacobian, (*points.shape, 2))
        if not flat.size:
            return points.copy(), np.zeros((*points.shape, 2))
        undistorted = cv2.fisheye.undistortPoints if self.model == "equidistant" else cv2.undistortPoints
        start = np.asarray(undistorted(flat[:, None], self.K, self.distortion), float).reshape(-1, 2)
        rays, jacobian = self._refined(start, flat)
        return rays.reshape(points.shape), jacobian.reshape(*points.shape, 2)

    def _undistorted_rays(self, points_px: Array) -> Array:
        """Rays [n, 2] through the pixels [n, 2] as if there were no distortion."""
        return np.asarray((points_px - self.K[:2, 2]) @ self._pinhole_jacobian.T)

    @cached_property
    def _pinhole_jacobian(self) -> Array:
        """d ray / d pixel [2, 2] without distortion."""
        return np.asarray(np.linalg.inv(self.K[:2, :2]), float)

    def _refined(self, rays: Array, points_px: Array) -> tuple[Array, Array]:
        """Newton's method from OpenCV's approximate rays [n, 2] to rays that project onto the pixels [n, 2], with
        d ray / d pixel [n, 2, 2].

        OpenCV's own iterations stop early, and their arguments differ between its versions.
        """
        with np.errstate(all="ignore"):
            for step in range(_NEWTON_STEPS + 1):
                pixels, slope = self._distorted(rays)
                jacobian = _inverses(slope)
                missed = points_px - pixels
                if step == _NEWTON_STEPS or not (np.abs(missed) > _REACHED_PX).any():
                    break
                rays = rays + (jacobian @ missed[..., None])[..., 0]
            failed = ~(np.abs(missed).max(1) < _UNREACHED_PX)
            # Beyond the lens model's reach it may end where the factor is negative: on the other side of the axis.
            straight = self._undistorted_rays(points_px)
            failed |= ((rays * straight).sum(1) < 0) & (np.abs(straight).max(1) > _NEAR_AXIS)
        return np.where(failed[:, None], np.nan, rays), np.where(failed[:, None, None], np.nan, jacobian)

    def _distorted(self, rays: Array) -> tuple[Array, Array]:
        """Pixels [n, 2] of rays [n, 2], and d pixel / d ray [n, 2, 2]."""
        points = np.concatenate([rays, np.ones((len(rays), 1))], 1)[:, None]
        if self.model == "equidistant" and self.distortion.size:
            pixels, slopes = cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), self.K, self.distortion)
            moved = slice(11, 13)  # OpenCV's columns of d pixel / d translation in x and y
        else:
            pixels, slopes = cv2.projectPoints(points, np.zeros(3), np.zeros(3), self.K, self.distortion)
            moved = slice(3, 5)
        return np.asarray(pixels, float).reshape(-1, 2), np.asarray(slopes, float)[:, moved].reshape(-1, 2, 2)

    def project(self, points_m: ArrayLike) -> Array:
        """Pixels [..., 2] of points [..., 3] in the optical frame, metres. NaN behind the camera."""
        points = np.asarray(points_m, float)
        flat = points.reshape(-1, 3)
        if not len(flat):
            return np.zeros((*points.shape[:-1], 2))
        in_front = flat[:, 2] > _NEAREST_M
        depth = np.where(in_front, flat[:, 2], 1.0)
        pixels, _ = self._distorted(flat[:, :2] / depth[:, None])
        pixels[~in_front] = np.nan
        return pixels.reshape(*points.shape[:-1], 2)


def _inverses(matrices: Array) -> Array:
    """Of matrices [n, 2, 2]; infinite or NaN of those that have none, where NumPy's own would give up on all."""
    a, b, c, d = matrices.reshape(-1, 4).T
    return np.asarray((np.stack([d, -b, -c, a]) / (a * d - b * c)).T.reshape(matrices.shape))
