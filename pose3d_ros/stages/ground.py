"""What the ground says of where a person stands: somebody who stands has the lowest foot on it, most likely."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.person import Ground
from pose3d_ros.skeleton import INDEX, indices
from pose3d_ros.stages.body import Body, Rows, corrected, mixed, pose_variance

Array = NDArray[np.float64]

_FEET = indices("right_ankle", "left_ankle", "right_toe", "left_toe")
_ABOVE_SOLE_M = np.array([0.09, 0.09, 0.03, 0.03])  # with a shoe's sole the ankle's is 2 cm more
_LEGS = (indices("right_hip", "right_knee", "right_ankle"), indices("left_hip", "left_knee", "left_ankle"))

_ON_GROUND = 0.85
"""How often a foot of somebody who stands is on the ground that the camera stands on."""
_SOLE_SD_M = 0.03  # soles, heels, uneven ground, the height of the camera
_TILT_SD = 0.01  # of the direction of up, radians: it grows with the distance
_ELSEWHERE_M, _ELSEWHERE_SD_M = 0.35, 0.35  # steps, tables, jumps: rather above it than below
_LEAST_LEG = 0.5  # the pelvis of somebody who stands, walks or sits is so many leg lengths above the soles
_LEAST_UPRIGHT = 0.5  # cosine between trunk and up


def with_ground(body: Body, joints_m: ArrayLike, sigma_m: ArrayLike, ground: Ground) -> Body:
    """The people with root and size corrected by the ground, as far as they stand on it.

    joints_m: [n, 24, 3] root-relative, as lifted, and sigma_m [n, 24].
    Two things may be: the lowest foot is on the ground, or the person is on a step or jumps. Each is weighed by how
    well it fits to where the person is without it, and what stays open between them is in the covariance. People who
    lie, or hang head down, are left alone; so are all where the camera's height is not known.
    """
    if ground.camera_height_m is None:
        return body
    joints, up = np.asarray(joints_m, np.float64), ground.up
    soles = joints[:, _FEET] @ up - _ABOVE_SOLE_M
    lowest = soles.argmin(1)
    people = np.arange(len(joints))
    foot = _FEET[lowest]
    stands = _stand(joints, soles.min(1, initial=np.inf), up)
    rows = np.concatenate([np.tile(up, (len(joints), 1)), (joints[people, foot] @ up)[:, None]], 1)[:, None]
    height = np.where(stands, _ABOVE_SOLE_M[lowest] - ground.camera_height_m, np.nan)[:, None]
    variance = pose_variance(joints_m, sigma_m)[people, foot][:, None]
    away = np.linalg.norm(np.nan_to_num(body.root_m), axis=1)
    shared = _SOLE_SD_M**2 + (_TILT_SD * away) ** 2
    on = Rows(rows, height, variance, shared)
    elsewhere = Rows(rows, height + _ELSEWHERE_M, variance, shared + _ELSEWHERE_SD_M**2)
    evidence_on = _ON_GROUND * _evidence(body, on)
    evidence_elsewhere = (1 - _ON_GROUND) * _evidence(body, elsewhere)
    total = np.maximum(evidence_on + evidence_elsewhere, 1e-300)
    return mixed(corrected(body, on), corrected(body, elsewhere), evidence_on / total)


def _stand(joints: Array, lowest_sole: Array, up: Array) -> NDArray[np.bool_]:
    """Which people [n] are upright with their legs below them."""
    bones = [np.linalg.norm(np.diff(joints[:, leg], axis=1), axis=-1).sum(1) for leg in _LEGS]
    leg = np.mean(bones, axis=0)
    trunk = joints[:, INDEX["thorax"]] - joints[:, INDEX["pelvis"]]
    upright = trunk @ up > _LEAST_UPRIGHT * np.linalg.norm(trunk, axis=1)
    return np.asarray(upright & (-lowest_sole > _LEAST_LEG * leg))


def _evidence(body: Body, measured: Rows) -> Array:
    """Density [n] of a single measurement, as the body predicts it; 1 where there is none."""
    row = measured.rows[:, 0]
    variance = np.einsum("ni,nij,nj->n", row, body.cov, row) + measured.variance[:, 0] + measured.shared_variance
    miss = measured.values[:, 0] - np.einsum("ni,ni->n", row, body.mean)
    density = np.exp(-0.5 * miss**2 / variance) / np.sqrt(2 * np.pi * variance)
    return np.where(np.isfinite(density), density, 1.0)
