"""Puts a second person beside, behind or before the one who is meant, or another picture behind them.

The photos for training show mostly one person, so that a network learns to take any limb for theirs; in a crowd the
crop's middle says who is meant. Nobody has cut those people out: a body's outline is drawn round its joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import apply, box_of_joints, warp_to
from pose3d_ros.evaluation.pose2d import torso_length
from pose3d_ros.skeleton import INDEX, indices

_TORSO = indices("left_shoulder", "right_shoulder", "right_hip", "left_hip")
_SHOULDERS = _TORSO[:2]
_LIMBS = [
    indices(*(f"{side}_{joint}" for joint in limb))
    for side in ("left", "right")
    for limb in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
]
_LEAST_JOINTS = 6
_BEHIND = 0.6
"""How often the second person is the farther one."""


class Person(NamedTuple):
    """Somebody in a picture: joints [24, 2] in its pixels, which of them are known [24], and the torso's length."""

    joints: NDArray[np.floating]
    known: NDArray[np.bool_]
    torso: float


def person(joints: NDArray[np.floating], known: NDArray[np.bool_]) -> Person | None:
    """A person whose torso is known; None otherwise, or when few joints are."""
    if known.sum() < _LEAST_JOINTS or not known[_TORSO].all():
        return None
    torso = float(torso_length(joints[None])[0])
    return Person(joints, known, torso) if torso > 1 else None


class Neighbour(NamedTuple):
    """Who was painted beside somebody: joints [24, 2], which joints [24] of the other they hide, and the share of
    themselves that shows."""

    joints: NDArray[np.floating]
    hides: NDArray[np.bool_]
    shown: float


def outline(who: Person, width: int, height: int) -> NDArray[np.float32]:
    """[height, width] where the person is, 0...1 with a soft edge."""
    shape = np.zeros((height, width), np.uint8)
    corners = who.joints[_TORSO].round().astype(np.int32)
    cv2.fillConvexPoly(shape, cv2.convexHull(corners), 255, cv2.LINE_AA)
    cv2.polylines(shape, [corners], True, 255, _width(0.3 * who.torso), cv2.LINE_AA)
    if who.known[INDEX["head"]]:
        _line(shape, [who.joints[_SHOULDERS].mean(0), who.joints[INDEX["head"]]], 0.42 * who.torso)
    for limb in _LIMBS:
        for near, far in pairwise(limb):
            if who.known[[near, far]].all():
                bone = who.joints[far] - who.joints[near]
                beyond = 0.35 if far == limb[-1] else 0.0  # hand and foot
                _line(shape, [who.joints[near], who.joints[far] + beyond * bone], 0.26 * who.torso)
    soft = cv2.GaussianBlur(shape, (0, 0), max(0.03 * who.torso, 0.6))
    return np.asarray(soft, np.float32) / np.float32(255)


def _line(shape: NDArray[np.uint8], ends: Sequence[NDArray], thickness: float) -> None:
    (x0, y0), (x1, y1) = np.clip(ends, -4000, 4000).round().astype(int).tolist()
    cv2.line(shape, (x0, y0), (x1, y1), 255, _width(thickness), cv2.LINE_AA)


def _width(thickness: float) -> int:
    return min(max(round(thickness), 1), 255)


def add_neighbour(
    picture: NDArray[np.uint8],
    meant: Person | None,
    image: NDArray[np.uint8],
    other: Person | None,
    rng: np.random.Generator,
) -> Neighbour | None:
    """Paints another image's person into a picture [h, w, 3], which it changes.

    Returns None, and nothing is painted, when either is None or most of the one who is meant would be hidden.
    """
    if meant is None or other is None:
        return None
    height, width = picture.shape[:2]
    x0, _, x1, bottom = box_of_joints(meant.joints[meant.known])
    box = box_of_joints(other.joints[other.known])
    scale = meant.torso / other.torso * np.exp(rng.uniform(np.log(0.6), np.log(1.3)))
    aside = rng.uniform(0.35, 1.0) * (x1 - x0 + scale * (box[2] - box[0])) / 2 * rng.choice([-1, 1])
    # Those who stand beside each other stand on the same floor, more or less.
    goal = [(x0 + x1) / 2 + aside, bottom - scale * (box[3] - box[1]) / 2 + rng.normal(0, 0.2) * meant.torso]
    linear = scale * np.diag([-1.0 if rng.random() < 0.5 else 1.0, 1.0])
    transform = np.column_stack([linear, goal - linear @ (box[:2] + box[2:]) / 2])
    joints = apply(transform, other.joints)
    whole = outline(other._replace(joints=joints, torso=scale * other.torso), width, height)
    there = whole * covered(image.shape, transform, width, height)
    hidden = np.zeros(len(meant.joints), bool)
    if rng.random() < _BEHIND:
        there *= 1 - outline(meant, width, height)
    else:
        x, y = meant.joints.round().astype(int).clip(0, [width - 1, height - 1]).T
        hidden = there[y, x] > 0.5
        if (meant.known & ~hidden).sum() < _LEAST_JOINTS:
            return None
    _paint(picture, warp_to(image, transform, width, height), there)
    return Neighbour(joints, hidden, float(there.sum() / max(whole.sum(), 1)))


def change_background(
    picture: NDArray[np.uint8], who: Person, background: NDArray[np.uint8], where: NDArray[np.uint8]
) -> None:
    """Paints a background [h, w, 3] round a picture's person, into the part of it where [h, w] is 1."""
    _paint(picture, background, where * (1 - outline(who, *where.shape[::-1])))


def _paint(picture: NDArray[np.uint8], other: NDArray[np.uint8], share: NDArray[np.float32]) -> None:
    """Mixes another picture [h, w, 3] into one, by its share [h, w]."""
    picture[:] = (picture + share[..., None] * (other - picture.astype(np.float32))).clip(0, 255)


def covered(shape: tuple[int, ...], transform: NDArray[np.float64], width: int, height: int) -> NDArray[np.uint8]:
    """[height, width] 1 where a picture [h, w, …] lies after the transform."""
    h, w = shape[:2]
    corners = apply(transform, [[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]])
    covered = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(covered, corners.round().clip(-30000, 30000).astype(np.int32), 1)
    return covered
