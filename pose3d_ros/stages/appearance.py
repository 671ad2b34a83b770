"""What people look like, so that they are known again: the colours of their upper body and of their thighs.

Colours are CIE L*a*b*; light changes the first more than the others, so it counts for half.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.skeleton import INDEX

Array = NDArray[np.float64]

_LEAST_SCORE = 0.5
"""Mean score of the joints round a part from which on its colour is looked at."""
_STEPS = np.linspace(0.2, 0.8, 5)
_ALIKE = np.array([0.5, 1.0, 1.0])


def _points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights [2, k, 24] of the joints, whose means k points of both parts are, and of each part's joints [2, 24]."""
    sides = ("left", "right")
    torso, thighs = [], []
    for across in _STEPS:
        for down in _STEPS:
            point = np.zeros(len(INDEX))
            for side, share in zip(sides, (1 - across, across), strict=True):
                point[INDEX[f"{side}_shoulder"]] = share * (1 - down)
                point[INDEX[f"{side}_hip"]] = share * down
            torso.append(point)
    for side in sides:
        for down in np.linspace(0.2, 0.9, len(torso) // 2):
            point = np.zeros(len(INDEX))
            point[[INDEX[f"{side}_hip"], INDEX[f"{side}_knee"]]] = 1 - down, down
            thighs.append(point)
    parts = np.stack([torso[: len(thighs)], thighs])
    used = (parts > 0).any(1)
    return parts, used / used.sum(1, keepdims=True)


_WEIGHTS, _JOINTS = _points()


def appearance(image: NDArray[np.uint8], joints_px: Array, score: Array) -> Array:
    """Colours [n, 2, 3] of the upper body and of the thighs of people with joints [n, 24, 2] and scores [n, 24]; NaN
    where a part is not seen well. image: [h, w, 3] BGR."""
    if not len(joints_px):
        return np.zeros((0, 2, 3))
    height, width = image.shape[:2]
    points = np.einsum("pkj,njc->npkc", _WEIGHTS, joints_px)
    x, y = np.moveaxis(points.round().astype(int), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    colours = image[y.clip(0, height - 1), x.clip(0, width - 1)]
    lab = cv2.cvtColor(colours.reshape(-1, 1, 3).astype(np.float32) / 255, cv2.COLOR_BGR2Lab).reshape(colours.shape)
    seen = (score @ _JOINTS.T >= _LEAST_SCORE) & (inside.mean(-1) >= 0.5)
    return np.where(seen[..., None], np.median(lab, 2), np.nan)


def unlikeness(a: Array, b: Array) -> Array:
    """Mean distance [n, m] of the colours of people [n, 2, 3] and [m, 2, 3], of parts known of both; NaN: of none."""
    distance = np.linalg.norm(_ALIKE * (a[:, None] - b[None]), axis=-1)
    known = np.isfinite(distance)
    total = np.where(known, distance, 0).sum(-1)
    return np.where(known.any(-1), total / known.sum(-1).clip(1), np.nan)


def remembered(before: Array, now: Array, share: float) -> Array:
    """Colours [2, 3] after one more look, which counts for a share where the part was known before."""
    mixed = before + share * (now - before)
    return np.where(np.isfinite(mixed), mixed, np.where(np.isfinite(before), before, now))
