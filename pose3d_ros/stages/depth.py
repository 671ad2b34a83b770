"""What a registered depth image says of where a person stands and how large the person is.

It corrects root and size only, through the covariances: no joint is taken from a depth image, whose holes, occluders
and background would become joints.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.skeleton import JOINTS
from pose3d_ros.stages.body import Body, Rows, corrected, pose_variance
from pose3d_ros.stages.place import CORRELATION

Array = NDArray[np.float64]


class _Skin(NamedTuple):
    """How far behind the surface that the camera sees a joint lies, its standard deviation, and half the width of the
    window to look at; metres, of an adult. Median and half the distance of the 16th to the 84th percentile over 150
    rendered people (`data.synthetic`: all kinds of bodies, clothed, from all sides), of the joints not hidden."""

    offset_m: float
    sd_m: float
    half_width_m: float


_SKIN_OF: dict[str, _Skin] = {
    "pelvis": _Skin(0.14, 0.03, 0.08),
    "hip": _Skin(0.11, 0.04, 0.06),
    "knee": _Skin(0.06, 0.025, 0.04),
    "ankle": _Skin(0.045, 0.02, 0.03),
    "spine": _Skin(0.14, 0.06, 0.08),
    "thorax": _Skin(0.125, 0.045, 0.06),
    "neck": _Skin(0.06, 0.03, 0.04),
    "head": _Skin(0.06, 0.035, 0.04),
    "shoulder": _Skin(0.057, 0.025, 0.05),
    "elbow": _Skin(0.04, 0.025, 0.03),
    "wrist": _Skin(0.025, 0.025, 0.02),
    "nose": _Skin(0.0, 0.03, 0.02),
    "eye": _Skin(0.03, 0.025, 0.02),
    "ear": _Skin(0.01, 0.03, 0.02),
    "toe": _Skin(0.03, 0.03, 0.03),
}
_SKIN = np.array([_SKIN_OF[name.split("_")[-1]] for name in JOINTS])
_SKIN_M, _SKIN_SD_M, _HALF_WIDTH_M = _SKIN.T

_GRID = 7  # samples of a window, per side
_OFFSETS = np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, _GRID)]), -1).reshape(-1, 2)
_LEAST_SHARE = 0.25  # of a window's samples, on the surface
_NEAR_PERCENTILE = 0.1  # flying pixels may lie nearer than the surface
_THICKNESS_M = 0.12  # of a surface within a window: a limb with its curvature, not what is behind it

_MIN_M, _MAX_M = 0.1, 20.0  # what depth cameras measure
_SIZES = (0.45, 1.25)  # a child of three to a very tall adult, with the placement's own error
_MAX_LATERAL_SD_M = 0.12  # a joint known worse than this may lie beside the limb

SENSOR_SD = 0.01
"""Relative error of a depth camera that is the same in all pixels: 2 % is what stereo cameras are specified for at 2 m
(RealSense D400), which is a limit; clothes are in it too."""
_SHARED_SKIN_SD_M = 0.015  # clothes and flesh, the same at all joints
_NOISE_SD_PER_M = 0.003  # of a window's median, times the distance squared: 0.08 pixels of disparity

_PASSES = 5
_HUBER = 2.0
_MIN_JOINTS = 3
_MIN_AGREEING = 0.5  # of the joints, with their median
_MANY_JOINTS = 6
_UNUSUAL_SIZE = 2.5  # standard deviations of size; beyond, many joints must say so


class JointDepths(NamedTuple):
    """z [n, 24] of the joints' centres, metres, as the surface before them tells, NaN where it tells nothing; and the
    variance [n, 24] of each, metres²."""

    z_m: Array
    variance: Array


def joint_depths(
    depth_m: ArrayLike, joints_px: ArrayLike, cov_px: ArrayLike, seen: ArrayLike, expected_m: ArrayLike, focal_px: float
) -> JointDepths:
    """How far away the joints of n people are.

    Args:
        depth_m: [h, w] z in metres, registered to the image; 0, NaN and infinity are holes.
        joints_px: [n, 24, 2] pixels, and cov_px: [n, 24, 2, 2] their covariance.
        seen: [n, 24] the joints that the camera sees; nothing is measured of the others.
        expected_m: [n, 24] where the joints should be (z), by the usual size of people.
        focal_px: of the camera.

    Median of the nearest surface in a window as wide as the limb, which may straddle the background; where too little
    of the window lies on it there is a hole.
    """
    expected, joints = np.asarray(expected_m, np.float64), np.asarray(joints_px, np.float64)
    lateral_sd = np.sqrt(np.trace(np.asarray(cov_px, np.float64), axis1=-2, axis2=-1) / 2) * expected / focal_px
    with np.errstate(invalid="ignore"):
        usable = np.asarray(seen, bool) & (expected > _MIN_M) & (lateral_sd < _MAX_LATERAL_SD_M)
        usable &= np.isfinite(joints).all(-1)
    half_px = np.maximum(_HALF_WIDTH_M * focal_px / np.where(usable, expected, 1.0), 1.0)
    places = np.where(usable[..., None], joints, -9.0)[:, :, None] + half_px[..., None, None] * _OFFSETS
    samples = _sampled(np.asarray(depth_m), places)
    low, high = _SIZES[0] * expected[..., None], _SIZES[1] * expected[..., None]
    with np.errstate(invalid="ignore"):
        samples = np.where((samples > np.maximum(low, _MIN_M)) & (samples < np.minimum(high, _MAX_M)), samples, np.nan)
        samples = np.sort(samples, axis=-1)  # NaN last
        count = np.isfinite(samples).sum(-1)
        nearest = np.take_along_axis(samples, (_NEAR_PERCENTILE * count).astype(int)[..., None], -1)
        on_surface = (samples >= nearest - _THICKNESS_M) & (samples <= nearest + _THICKNESS_M)
    number = on_surface.sum(-1)
    middle = np.take_along_axis(samples, (np.argmax(on_surface, -1) + number // 2)[..., None] % samples.shape[-1], -1)
    surface = np.where(number >= _LEAST_SHARE * samples.shape[-1], middle[..., 0], np.nan)
    variance = _SKIN_SD_M**2 + (_NOISE_SD_PER_M * surface**2) ** 2 + (lateral_sd / 2) ** 2
    return JointDepths(surface + _SKIN_M, variance)


def with_depth(body: Body, joints_m: ArrayLike, sigma_m: ArrayLike, measured: JointDepths) -> Body:
    """The people with root and size corrected by the depths of their joints.

    joints_m: [n, 24, 3] root-relative, as lifted, and sigma_m [n, 24].
    People are left alone whose depths are few or contradict each other. Joints whose depths are not those of the others
    (an occluder, the background) lose their weight. A person of an unusual size, a child most likely, is believed to be
    so where many joints agree.
    """
    joints = np.asarray(joints_m, np.float64)
    z = measured.z_m
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = body.root_m[:, 2:] + body.size[:, None] * joints[..., 2]
        ratio = np.where(expected > 0, z / expected, np.nan)
    own = pose_variance(joints_m, sigma_m) + np.where(np.isfinite(measured.variance), measured.variance, 1.0)
    median = _nan_median(ratio)
    with np.errstate(invalid="ignore"):
        residual = z - median[:, None] * expected
        agree = np.abs(residual) < 2 * _HUBER * np.sqrt(own)
        size_sd = np.sqrt(body.size_variance)
        odd = np.abs(median - 1) * body.size / size_sd / _UNUSUAL_SIZE
        least = np.where(odd > 1, _MANY_JOINTS, _MIN_JOINTS)
        usable = (agree.sum(1) >= least) & (agree.sum(1) > _MIN_AGREEING * np.isfinite(z).sum(1))
    z = np.where(usable[:, None], z, np.nan)
    body = _with_size_sd(body, np.where(usable, np.maximum(odd, 1.0), 1.0) * size_sd)

    rows = np.zeros((*z.shape, 4))
    rows[..., 2], rows[..., 3] = 1.0, joints[..., 2]
    shared = (SENSOR_SD * np.nanmax(np.where(np.isfinite(z), z, 0.0), 1, initial=0.0)) ** 2 + _SHARED_SKIN_SD_M**2
    new = body
    for k in range(_PASSES):
        distance = np.abs(np.where(np.isfinite(residual), residual, 0.0)) / np.sqrt(own)
        robust = np.minimum(1.0, _HUBER / np.maximum(distance, 1e-9)) ** 3
        new = corrected(body, Rows(rows, z, CORRELATION * own / robust, shared))
        if k < _PASSES - 1:
            residual = z - np.einsum("nmi,ni->nm", rows, new.mean)
    return new


def _sampled(depth_m: NDArray[np.generic], places_px: Array) -> Array:
    """The depth image at places [..., 2], NaN outside."""
    height, width = depth_m.shape
    pixels = np.rint(np.clip(places_px, -1e6, 1e6)).astype(np.intp)
    x, y = pixels[..., 0], pixels[..., 1]
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    values = depth_m[np.where(inside, y, 0), np.where(inside, x, 0)].astype(np.float64)
    return np.where(inside, values, np.nan)


def _nan_median(values: Array) -> Array:
    """Median [n] of the finite values of each row of [n, m]; NaN where there are none."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    picked = np.stack([low, np.minimum(high, values.shape[1] - 1)], 1)
    return np.asarray(np.take_along_axis(ordered, picked, 1).mean(1))


def _with_size_sd(body: Body, size_sd: Array) -> Body:
    """The people with another uncertainty of their size, and all of the root's that comes with it."""
    along = np.concatenate([body.root_m / body.size[:, None], np.ones((len(size_sd), 1))], 1)
    more = size_sd**2 - body.size_variance
    return body._replace(cov=body.cov + more[:, None, None] * along[:, :, None] * along[:, None, :])
