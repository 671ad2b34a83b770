"""The camera model: pixels <-> rays, with every distortion that a CameraInfo can carry, and resizing."""

from __future__ import annotations

from dataclasses import dataclass, field

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
_NEWTON_DIFFERENCE = 1e-6
_UNREACHED_PX = 0.01
_NEAREST_M = 1e-6


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
        points = np.asarray(points_px, float)
        flat = points.reshape(-1, 1, 2)
        if not flat.size:
            return points.copy()
        if self.distortion.size == 0:
            linear = self.K[:2, :2]
            return np.linalg.solve(linear, (points.reshape(-1, 2) - self.K[:2, 2]).T).T.reshape(points.shape)
        if self.model == "equidistant":
            start = cv2.fisheye.undistortPoints(flat, self.K, self.distortion)
        else:
            start = cv2.undistortPoints(flat, self.K, self.distortion)
        return self._refined(np.asarray(start, float).reshape(-1, 2), points.reshape(-1, 2)).reshape(points.shape)

    def _refined(self, rays: Array, points_px: Array) -> Array:
        """Newton's method from OpenCV's approximate rays [n, 2] to rays that project onto the pixels [n, 2].

        OpenCV's own iterations stop early, and their arguments differ between its versions.
        """
        with np.errstate(all="ignore"):
            for _ in range(_NEWTON_STEPS):
                residual = self._distorted(rays) - points_px
                columns = [
                    (self._distorted(rays + step) - self._distorted(rays - step)) / (2 * _NEWTON_DIFFERENCE)
                    for step in _NEWTON_DIFFERENCE * np.eye(2)
                ]
                (a, c), (b, d) = columns[0].T, columns[1].T
                determinant = a * d - b * c
                rays = (
                    rays
                    - np.stack([d * residual[:, 0] - b * residual[:, 1], a * residual[:, 1] - c * residual[:, 0]], 1)
                    / determinant[:, None]
                )
            failed = ~(np.abs(self._distorted(rays) - points_px).max(1) < _UNREACHED_PX)
        return np.where(failed[:, None], np.nan, rays)

    def _distorted(self, rays: Array) -> Array:
        """Pixels [n, 2] of rays [n, 2]."""
        if self.model == "equidistant" and self.distortion.size:
            pixels = cv2.fisheye.distortPoints(rays[:, None], self.K, self.distortion)
        else:
            points = np.concatenate([rays, np.ones((len(rays), 1))], 1)
            pixels = cv2.projectPoints(points, np.zeros(3), np.zeros(3), self.K, self.distortion)[0]
        return np.asarray(pixels, float).reshape(-1, 2)

    def ray_jacobian(self, points_px: ArrayLike) -> Array:
        """d ray / d pixel [..., 2, 2]; of a lens with distortion by central differences of half a pixel."""
        points = np.asarray(points_px, float)
        if self.distortion.size == 0:
            return np.broadcast_to(np.linalg.inv(self.K[:2, :2]), (*points.shape, 2))
        steps = 0.5 * np.eye(2)
        ends = self.rays(points[..., None, None, :] + np.stack([steps, -steps], -2))
        return np.swapaxes(ends[..., 0, :] - ends[..., 1, :], -1, -2)

    def project(self, points_m: ArrayLike) -> Array:
        """Pixels [..., 2] of points [..., 3] in the optical frame, metres. NaN behind the camera."""
        points = np.asarray(points_m, float)
        flat = points.reshape(-1, 3)
        if not len(flat):
            return np.zeros((*points.shape[:-1], 2))
        in_front = flat[:, 2] > _NEAREST_M
        depth = np.where(in_front, flat[:, 2], 1.0)
        pixels = self._distorted(flat[:, :2] / depth[:, None])
        pixels[~in_front] = np.nan
        return pixels.reshape(*points.shape[:-1], 2)
