"""Boxes and square crops of people, shared by training and the robot."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

CROP_MARGIN = 1.25
"""Side of the crop over the longer side of the person's box."""
_JOINTS_TO_BOX = 1.15


def box_of_joints(joints_px: ArrayLike) -> Array:
    """The person's box (x0, y0, x1, y1) from the joints [n, 2] that are known: their extent grown by 15 %."""
    joints = np.asarray(joints_px, float)
    low, high = joints.min(0), joints.max(0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1.0) * _JOINTS_TO_BOX
    return np.concatenate([middle - half, middle + half])


def areas(boxes: Array) -> Array:
    """Areas [...] of boxes [..., 4], pixels²; hardly anything for a box that is turned inside out."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)
    return sides[..., 0] * sides[..., 1]


def shared_areas(a: Array, b: Array) -> Array:
    """Areas [n,m] that boxes [n,4] and [m,4] have in common."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(a: Array, b: Array) -> Array:
    """Intersection over union [n,m] of boxes [n,4] and [m,4]."""
    overlap = shared_areas(a, b)
    return overlap / (areas(a)[:, None] + areas(b)[None] - overlap)


def square_of_box(box: ArrayLike, margin: float = CROP_MARGIN) -> tuple[Array, float]:
    """Centre [2] and side of the square crop round a box (x0, y0, x1, y1), pixels."""
    x0, y0, x1, y1 = np.asarray(box, float)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2]), margin * max(x1 - x0, y1 - y0, 1.0)


def crop_transform(centre: ArrayLike, side: float, size: int, rotation_rad: float = 0.0, mirror: bool = False) -> Array:
    """[2, 3] affine map from image pixels to the pixels of a `size` x `size` crop.

    The crop shows the square of the given centre and side (pixels), turned by `rotation_rad` and, when `mirror` is
    set, with left and right exchanged. Pixel centres lie at whole numbers in both.
    """
    scale = size / side
    c, s = scale * np.cos(rotation_rad), scale * np.sin(rotation_rad)
    linear = np.array([[c, -s], [s, c]])
    if mirror:
        linear[0] *= -1
    middle = (size - 1) / 2
    return np.concatenate([linear, (middle - linear @ np.asarray(centre, float))[:, None]], 1)


def apply(transform: Array, points: ArrayLike) -> Array:
    """Points [..., 2] through an affine map [2, 3]."""
    return np.asarray(points, float) @ transform[:, :2].T + transform[:, 2]


def inverse(transform: Array) -> Array:
    """The affine map [2, 3] that undoes `transform`."""
    return np.asarray(cv2.invertAffineTransform(transform), float)


def warp(image: NDArray[np.uint8], transform: Array, size: int, border: int = cv2.BORDER_CONSTANT) -> NDArray[np.uint8]:
    """The `size` x `size` crop of an image [h, w, 3]; see warp_to."""
    return warp_to(image, transform, size, size, border)


def warp_to(
    image: NDArray[np.uint8], transform: Array, width: int, height: int, border: int = cv2.BORDER_CONSTANT
) -> NDArray[np.uint8]:
    """An image [h, w, 3] through an affine map [2, 3] onto [height, width, 3].

    A map that shrinks the picture twofold or more averages first, so that fine texture does not alias.
    """
    factor = int(1 / max(np.sqrt(abs(np.linalg.det(transform[:, :2]))), 1e-6))
    if factor > 1:
        # Work on the part that is seen only: shrinking a whole 4K image costs more than the network.
        corners = apply(inverse(transform), [[0, 0], [width, 0], [0, height], [width, height]])
        x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int) - 2, 0)
        x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 3, [image.shape[1], image.shape[0]])
        inner_w, inner_h = (x1 - x0) // factor, (y1 - y0) // factor
        if inner_w < 1 or inner_h < 1:
            return np.zeros((height, width, 3), np.uint8)
        # A whole factor: OpenCV averages over parts of pixels four times as slowly.
        region = image[y0 : y0 + factor * inner_h, x0 : x0 + factor * inner_w]
        image = np.asarray(cv2.resize(region, (inner_w, inner_h), interpolation=cv2.INTER_AREA), np.uint8)
        shift = (factor - 1) / 2  # pixel 0 of what is averaged lies between the first ones of the image
        transform = transform @ np.array([[factor, 0, x0 + shift], [0, factor, y0 + shift], [0, 0, 1]])
    warped = cv2.warpAffine(image, transform, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(warped, np.uint8)
