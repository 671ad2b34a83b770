"""2D protocols: which joints of which people count, and against what length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import apply, box_of_joints, crop_transform, inverse, square_of_box, warp
from pose3d_ros.data.lspet import Photos
from pose3d_ros.skeleton import INDEX

_DIAGONALS = tuple((INDEX[a], INDEX[b]) for a, b in (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")))
TORSO = [joint for diagonal in _DIAGONALS for joint in diagonal]
THRESHOLDS = (0.1, 0.2)
RIGHT = 0.2
"""A joint is right within this share of the torso's length: what scores are the probability of."""
MAHALANOBIS_SQUARED = {68: 2.279, 95: 5.991}
"""Per cent of a Gaussian in two dimensions -> the squared Mahalanobis distance within which they lie."""
_BATCH = 50


def torso_length(joints_px: NDArray[np.floating], labelled: NDArray[np.bool_] | None = None) -> NDArray[np.floating]:
    """Mean of the diagonals hip-shoulder [n] of joints [n, 24, 2], pixels.

    With `labelled` [n, 24] only diagonals whose ends are labelled count; NaN where there is none.
    """
    lengths = np.stack([np.linalg.norm(joints_px[:, a] - joints_px[:, b], axis=-1) for a, b in _DIAGONALS], 1)
    if labelled is None:
        return lengths.mean(1)
    known = np.stack([labelled[:, a] & labelled[:, b] for a, b in _DIAGONALS], 1)
    with np.errstate(invalid="ignore"):
        return (lengths * known).sum(1) / known.sum(1)


def leaning_deg(joints_px: NDArray[np.floating]) -> NDArray[np.floating]:
    """Angle [...] between the torso of joints [..., 24, 2] and upright in the picture: 0 standing, 180 upside down."""
    left, right = (
        joints_px[..., INDEX[f"{side}_shoulder"], :] - joints_px[..., INDEX[f"{side}_hip"], :]
        for side in ("left", "right")
    )
    up = left + right
    return np.degrees(np.arctan2(np.abs(up[..., 0]), -up[..., 1]))


def pck(predicted: NDArray[np.floating], truth: NDArray[np.floating], counted: NDArray[np.bool_]) -> dict[float, float]:
    """Share of counted joints [n, 24] within a fraction of the torso of their true place, per threshold.

    Only people whose four torso joints are counted are scored. predicted, truth: [n, 24, 2] pixels.
    """
    scored = np.asarray(counted[:, TORSO].all(1))
    error = np.linalg.norm(predicted - truth, axis=-1) / torso_length(truth)[:, None].clip(1e-6)
    used = counted & scored[:, None]
    return {threshold: float((error <= threshold)[used].mean()) for threshold in THRESHOLDS}


def pck_of_photos(
    locate: Callable[[NDArray[np.uint8]], NDArray[np.floating]], size: int, photos: Photos
) -> dict[float, float]:
    """PCK of a function from crops [n, size, size, 3] to joints [n, 24, 2] in the crops' pixels.

    The crop is made from the labelled joints.
    """
    predicted = np.zeros(photos.joints_px.shape)
    for start in range(0, len(photos), _BATCH):
        rows = range(start, min(start + _BATCH, len(photos)))
        transforms = [
            crop_transform(*square_of_box(box_of_joints(photos.joints_px[i][photos.labelled[i]])), size) for i in rows
        ]
        crops = np.stack([warp(photos.image(i), t, size) for i, t in zip(rows, transforms, strict=True)])
        joints = locate(crops)
        for i, transform, own in zip(rows, transforms, joints, strict=True):
            predicted[i] = apply(inverse(transform), own)
    return pck(predicted, photos.joints_px, photos.labelled)
