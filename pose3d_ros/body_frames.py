"""How a person is turned: axes of the trunk and of the head from the places of joints.

x points ahead, y to the person's left, z up along the body (REP-103's axes of a body).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.skeleton import INDEX

Array = NDArray[np.float64]

_LEAST_M = 1e-3


def trunk_axes(joints_m: ArrayLike) -> Array | None:
    """[3, 3] whose columns are the trunk's x, y, z in the frame of joints_m [24, 3].

    z from the pelvis to the thorax; y from the right to the left hip, square to it. None if the joints do not tell.
    """
    joints = np.asarray(joints_m, np.float64)
    return _axes(joints[INDEX["thorax"]] - joints[INDEX["pelvis"]], _across(joints, "hip"))


def head_axes(joints_m: ArrayLike) -> Array | None:
    """Likewise of the head: y from the right to the left ear, z square to the way from their middle to the nose."""
    joints = np.asarray(joints_m, np.float64)
    across = _across(joints, "ear")
    ahead = joints[INDEX["nose"]] - (joints[INDEX["left_ear"]] + joints[INDEX["right_ear"]]) / 2
    return _axes(np.cross(ahead, across), across)


def _across(joints: Array, part: str) -> Array:
    return np.asarray(joints[INDEX[f"left_{part}"]] - joints[INDEX[f"right_{part}"]])


def _axes(up: Array, left: Array) -> Array | None:
    """Columns x, y, z: z along `up`, y along what of `left` is square to it."""
    height = np.linalg.norm(up)
    if not height > _LEAST_M**2:
        return None
    z = up / height
    left = left - (left @ z) * z
    width = np.linalg.norm(left)
    if not width > _LEAST_M:
        return None
    y = left / width
    return np.stack([np.cross(y, z), y, z], axis=1)
