"""Where the person stands: the root's position from a root-relative pose and the rays of its joints.

Weighted linear least squares. Joint j at X + r_j on the ray (u, v) gives two equations that are linear in X:

    [1 0 −u; 0 1 −v] (X + r_j) = 0

with residuals in metres. Depth comes from the size of the known pose against the size of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SIZE_SD = 0.05
"""Relative standard deviation of a person's size, which a single camera cannot see: sets the depth's sigma."""
CORRELATION = 4.0
"""A lifter errs with the whole body, not joint by joint: 1σ of the depth then covers 66 % (exact 2D) and 82 % (noisy)
of the mocap's validation people."""

_MIN_SCORE = 0.05
_MIN_JOINTS = 4
_MOST = 1e4  # of rays, their variances, and metres
_MIN_DEPTH_M = 0.1
_MAX_DEPTH_M = 100.0
_MOST_PASSES = 8
_STANDS = 1e-4  # of its depth: a root that moves by less is found
_RIDGE = 1e-9 * np.eye(3)
_HUBER = 2.0  # in standard deviations of a joint's residual
_MIN_SIGMA_M = 0.003
_UNUSED = np.array([0, 0, 1, 0, 0, 1, 0, 0, 0, 1.0])  # ray, its covariance, joint and sigma of a joint to leave out
_MAX_DEPTH_SD = 1.0  # relative: a depth less certain than this is no measurement


class Placement(NamedTuple):
    """The roots of n people in the camera frame.

    root_m: [n, 3] metres; NaN where `ok` is False.
    cov: [n, 3, 3] metres², all of the uncertainty: noise and the unknown body size.
    noise_cov: [n, 3, 3] metres², the part that changes from frame to frame; what a filter over time may average.
    ok: [n] False when the joints do not determine a place in front of the camera.
    """

    root_m: Array
    cov: Array
    noise_cov: Array
    ok: NDArray[np.bool_]


def place(
    joints_m: ArrayLike,
    sigma_m: ArrayLike,
    rays: ArrayLike,
    cov: ArrayLike,
    score: ArrayLike,
    size_sd: float = SIZE_SD,
    correlation: float = CORRELATION,
) -> Placement:
    """Root positions of n people.

    Args:
        joints_m: [n, 24, 3] root-relative joints, camera frame, metres.
        sigma_m: [n, 24] standard deviation of one axis of them, metres.
        rays: [n, 24, 2] measured rays, normalised coordinates; NaN and absurd numbers count as not seen.
        cov: [n, 24, 2, 2] their covariance.
        score: [n, 24] probability that the ray is right; weighs the equations, below 0.05 leaves them out.
        size_sd: relative standard deviation of body size.
        correlation: the joints count as one independent measurement per so many.

    Each joint's weight is the inverse covariance of its residual, z² cov + G (sigma² I) Gᵀ. It depends on the depth z,
    hence some passes, until the root stands still; from the second on, robust weights limit outliers. Never gives a
    root behind the camera: such people come back with ``ok`` False and NaN.
    """
    weight = np.asarray(score, np.float64)
    people, joints = weight.shape
    parts = (rays, np.reshape(cov, (people, joints, 4)), joints_m, np.reshape(sigma_m, (people, joints, 1)))
    known = np.concatenate(parts, -1, dtype=np.float64)
    # What an impossible calibration makes of pixels would leave nothing of the other numbers.
    used = (weight > _MIN_SCORE) & (np.abs(known) < _MOST).all(-1)
    known = np.where(used[..., None], known, _UNUSED)
    ray, pose = known[..., :2], known[..., 6:9]
    ray_cov = known[..., 2:6].reshape(people, joints, 2, 2)
    variance = np.maximum(known[..., 9], _MIN_SIGMA_M) ** 2
    weight = np.where(used, weight, 0.0)

    equations = np.zeros((people, joints, 2, 4))  # of each equation G and, last, what G X shall be
    equations[..., 0, 0] = equations[..., 1, 1] = 1.0
    equations[..., 2] = -ray
    equations[..., 3] = ray * pose[..., 2:] - pose[..., :2]
    flat = equations.reshape(people, 2 * joints, 4)
    # What each element of a joint's weight matrix W brings into Gᵀ W [G right].
    products = equations[..., :, None, :3, None] * equations[..., None, :, None, :]
    products = products.reshape(people, 4 * joints, 12)
    # Of a sum of 2×2 matrices the adjugate is the sum of theirs, and has the same determinant; G Gᵀ is 1 + ray rayᵀ.
    ray_adjugate = _adjugates(ray_cov)
    spread = variance[..., None, None] * _adjugates(np.eye(2) + ray[..., :, None] * ray[..., None, :])

    depth, trust = np.ones((people, joints)), weight
    solution = np.full((people, 4, 1), -1.0)  # X and −1: the equations times it are the residuals
    for k in range(_MOST_PASSES):
        adjugate = (depth**2)[..., None, None] * ray_adjugate + spread
        determinant = adjugate[..., 0, 0] * adjugate[..., 1, 1] - adjugate[..., 0, 1] ** 2
        inverse = adjugate / determinant[..., None, None]
        weights = inverse * trust[..., None, None]
        total = (weights.reshape(people, 1, 4 * joints) @ products).reshape(people, 3, 4)
        normal = total[..., :3] + _RIDGE
        root = np.linalg.solve(normal, total[..., 3:])[..., 0]
        moved = np.abs(root - solution[:, :3, 0])
        solution[:, :3, 0] = root
        if k and not (moved > _STANDS * np.abs(root[:, 2:])).any():
            break
        depth = np.minimum(np.maximum(root[:, 2:] + pose[..., 2], _MIN_DEPTH_M), _MAX_DEPTH_M)
        residual = (flat @ solution).reshape(people, joints, 2, 1)
        distance = np.sqrt((residual * (inverse @ residual)).sum((-1, -2)))
        # Huber first; then harder, as a joint far off its ray has leverage on the depth.
        trust = weight * np.minimum(1.0, _HUBER / np.maximum(distance, 1e-9)) ** (1 if k == 0 else 3)

    noise = correlation * np.linalg.inv(normal)
    ok = (used.sum(-1) >= _MIN_JOINTS) & np.isfinite(root).all(-1)
    ok &= (root[:, 2] > _MIN_DEPTH_M) & (root[:, 2] < _MAX_DEPTH_M)
    # Most of the body must lie in front, and the depth must be known at all.
    ok &= (used & (root[:, 2:] + pose[..., 2] <= 0)).sum(-1) < 0.5 * joints
    ok &= np.sqrt(noise[:, 2, 2]) < _MAX_DEPTH_SD * np.abs(root[:, 2])
    # A person larger by s stands farther by s on the same ray: the size's error lies along the root's own direction.
    size = size_sd**2 * root[:, :, None] * root[:, None]
    keep = ok[:, None]
    return Placement(
        np.where(keep, root, np.nan),
        np.where(keep[..., None], noise + size, np.nan),
        np.where(keep[..., None], noise, np.nan),
        ok,
    )


def _adjugates(matrices: Array) -> Array:
    """Of symmetric matrices [..., 2, 2]; the inverses are these over the determinants."""
    return np.asarray(matrices[..., ::-1, ::-1] * [[1.0, -1.0], [-1.0, 1.0]])
