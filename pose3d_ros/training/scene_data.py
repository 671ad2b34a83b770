"""Endless augmented scenes for the person finder: whole rendered pictures, and real photos put on others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from pose3d_ros.crop import apply, box_of_joints, warp_to
from pose3d_ros.data.clutter import clutter
from pose3d_ros.data.lspet import Photos
from pose3d_ros.networks.finder import FINDER_STRIDE
from pose3d_ros.training.bystanders import Bystanders
from pose3d_ros.training.crop_data import Augmentation, recoloured
from pose3d_ros.training.neighbours import add_neighbour, person

Image = NDArray[np.uint8]

MOST_PEOPLE = 24
_CLUTTERED = 0.4
"""Share of the pictures without people that are made, not photographs."""
_BYSTANDER_WEIGHT = 0.15
"""How far a photo's background is trusted to be empty: only one person of each photo is labelled."""
_LEAST_VISIBLE = 0.25
"""Share of a person's box that must be left in the picture."""
_FILLING = 0.5
"""Share of the photos that fill their part of the picture."""
_NEIGHBOUR = 0.45
"""How often another photo's person is painted beside somebody: beside a photo's own, and beside whoever was painted."""
_NOBODY = np.zeros((0, 4))


class Scene(NamedTuple):
    """image: [h, w, 3] BGR. boxes: [m, 4] of its people. trust: [h, w] that what is outside the boxes is empty.
    doubtful: [k, 4] boxes of what may be people or not."""

    image: Image
    boxes: NDArray[np.floating]
    trust: NDArray[np.float32]
    doubtful: NDArray[np.floating] = _NOBODY


class SceneSource(Protocol):
    """Makes scenes of any size."""

    def scene(self, width: int, height: int, rng: np.random.Generator) -> Scene:
        """A random scene."""


class EmptySource:
    """Pictures without people: photographs, where there are any, and clutter of our own making."""

    def __init__(self, pictures: Sequence[Image]) -> None:
        self._pictures = pictures

    def scene(self, width: int, height: int, rng: np.random.Generator) -> Scene:
        """Clutter, or a random part of a random picture, now and then noise."""
        trust = np.ones((height, width), np.float32)
        if rng.random() < _CLUTTERED or not self._pictures:
            return Scene(clutter(rng, width, height), _NOBODY, trust)
        picture = self._pictures[int(rng.integers(len(self._pictures)))]
        h, w = picture.shape[:2]
        scale = max(width / w, height / h) * np.exp(rng.uniform(0, 1.2))
        origin = rng.uniform(0, 1, 2) * (np.array([w, h]) * scale - [width, height])
        image = warp_to(picture, np.array([[scale, 0, -origin[0]], [0, scale, -origin[1]]]), width, height)
        if rng.random() < 0.05:
            image = rng.integers(0, 256, image.shape, np.uint8)
        return Scene(image, _NOBODY, trust)


class PhotoSceneSource:
    """One to four photos of one labelled person each, side by side or on a picture without people.

    bystanders: who else is in the photos.
    """

    def __init__(self, photos: Photos, empty: EmptySource, bystanders: Bystanders | None = None) -> None:
        self._photos, self._empty, self._bystanders = photos, empty, bystanders
        self._usable = np.flatnonzero(photos.labelled.sum(1) >= 10)

    def scene(self, width: int, height: int, rng: np.random.Generator) -> Scene:
        """A random scene."""
        image, _, trust, _ = self._empty.scene(width, height, rng)
        if rng.random() < 0.4:
            image = np.full_like(image, 118)
        image = image.copy()
        columns, rows = ((1, 1), (1, 1), (2, 1), (2, 2))[int(rng.integers(4))]
        cell = np.array([width / columns, height / rows])
        placed = [
            self._place(image, trust, cell, cell * [column, row], rng)
            for column in range(columns)
            for row in range(rows)
        ]
        people, doubtful = (np.concatenate(boxes) for boxes in zip(*placed, strict=True))
        return Scene(image, people, trust, doubtful)

    def _place(
        self, image: Image, trust: NDArray, cell: NDArray, origin: NDArray, rng: np.random.Generator
    ) -> tuple[NDArray, NDArray]:
        """Puts a photo into a cell (size and origin in pixels); returns the boxes of its people, as far as enough of
        them shows, and of those who may be people or not."""
        k = int(self._usable[int(rng.integers(len(self._usable)))])
        photo = self._photos.image(k)
        h, w = photo.shape[:2]
        # Filling its cell, a photo has no frame to tell people by.
        if rng.random() < _FILLING:
            scale = max(cell[0] / w, cell[1] / h) * np.exp(rng.uniform(0.0, 0.5))
        else:
            scale = min(cell[0] / w, cell[1] / h) * np.exp(rng.uniform(-0.8, 0.4))
        middle = origin + cell / 2 + rng.normal(0, 0.12, 2) * cell
        mirror = -1 if rng.random() < 0.5 else 1
        linear = scale * np.array([[mirror, 0], [0, 1]])
        transform = np.concatenate([linear, (middle - linear @ [(w - 1) / 2, (h - 1) / 2])[:, None]], 1)
        x0, y0 = np.clip((middle - scale * np.array([w, h]) / 2), origin, origin + cell).astype(int)
        x1, y1 = np.clip((middle + scale * np.array([w, h]) / 2), origin, origin + cell).astype(int)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return _NOBODY, _NOBODY
        shifted = transform - np.array([[0, 0, x0], [0, 0, y0]])
        image[y0:y1, x0:x1] = warp_to(photo, shifted, int(x1 - x0), int(y1 - y0))
        trust[y0:y1, x0:x1] = _BYSTANDER_WEIGHT
        people, doubtful = self._boxes(k)
        beside, hardly = self._beside(image[y0:y1, x0:x1], k, shifted, rng)
        window, corner = (x0, y0, x1, y1), np.array([x0, y0, x0, y0])
        return (
            _clipped_boxes(np.concatenate([_moved(people, transform), corner + beside]), window),
            _clipped_boxes(np.concatenate([_moved(doubtful, transform), corner + hardly]), window),
        )

    def _beside(self, picture: Image, k: int, transform: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Now and then paints other photos' people in a row with that of photo k; boxes [m, 4] of whom shows enough,
        and of whom hardly anything does."""
        beside, hardly = [], []
        last = person(apply(transform, self._photos.joints_px[k]), self._photos.labelled[k])
        while rng.random() < _NEIGHBOUR:
            other = int(self._usable[int(rng.integers(len(self._usable)))])
            known = self._photos.labelled[other]
            second = person(self._photos.joints_px[other], known)
            painted = add_neighbour(picture, last, self._photos.image(other), second, rng)
            if painted is None:
                break
            box = box_of_joints(painted.joints[known])
            if painted.shown < _LEAST_VISIBLE:
                hardly.append(box)
                break
            beside.append(box)
            last = person(painted.joints, known)
        return np.reshape(beside, (-1, 4)), np.reshape(hardly, (-1, 4))

    def _boxes(self, k: int) -> tuple[NDArray, NDArray]:
        """Boxes [m, 4] of the people in photo k, the labelled one first, and of those who may be people or not."""
        labelled = box_of_joints(self._photos.joints_px[k][self._photos.labelled[k]])[None]
        if self._bystanders is None:
            return labelled, _NOBODY
        here = self._bystanders.photo == k
        boxes, person = self._bystanders.boxes_px[here], self._bystanders.person[here]
        return np.concatenate([labelled, boxes[person]]), boxes[~person]


def _moved(boxes: NDArray, transform: NDArray) -> NDArray:
    """Boxes [m, 4] through an affine map that does not turn."""
    corners = apply(transform, boxes.reshape(-1, 2, 2))
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def _clipped_boxes(boxes: NDArray, window: tuple[float, float, float, float]) -> NDArray:
    """What a window leaves of boxes [m, 4], of those of whom it is enough."""
    left = (clipped_box(box, window) for box in boxes)
    return np.reshape([box for box in left if box is not None], (-1, 4))


def clipped_box(box: NDArray, window: tuple[float, float, float, float]) -> NDArray | None:
    """What a window (x0, y0, x1, y1) leaves of a box, None when that is too little to tell a person by."""
    low, high = np.maximum(box[:2], window[:2]), np.minimum(box[2:], window[2:])
    left = np.clip(high - low, 0, None).prod()
    return np.concatenate([low, high]) if left >= _LEAST_VISIBLE * (box[2:] - box[:2]).prod() else None


class SceneSample(NamedTuple):
    """image: [h, w, 3] BGR. boxes: [MOST_PEOPLE, 4], zero where there is nobody. weight: [h/8, w/8] of empty cells."""

    image: Image
    boxes: NDArray[np.float32]
    weight: NDArray[np.float32]


class SceneStream(IterableDataset[SceneSample]):
    """An endless stream of augmented scenes; see CropStream."""

    def __init__(
        self, sources: Sequence[SceneSource], shares: Sequence[float], size: tuple[int, int], seed: int
    ) -> None:
        self._sources = sources
        self._shares = np.asarray(shares, float) / np.sum(shares)
        self._width, self._height = size
        self._seed = seed

    def __iter__(self) -> Iterator[SceneSample]:
        cv2.setNumThreads(0)
        worker = get_worker_info()
        rng = np.random.default_rng([self._seed, worker.id if worker else 0])
        how = Augmentation()
        while True:
            source = self._sources[int(rng.choice(len(self._sources), p=self._shares))]
            image, boxes, trust, doubtful = source.scene(self._width, self._height, rng)
            padded = np.zeros((MOST_PEOPLE, 4), np.float32)
            padded[: min(len(boxes), MOST_PEOPLE)] = boxes[:MOST_PEOPLE]
            for x0, y0, x1, y1 in boxes.astype(int).clip(0):
                trust[y0:y1, x0:x1] = 1
            for x0, y0, x1, y1 in doubtful.astype(int).clip(0):
                trust[y0:y1, x0:x1] = 0
            weight = trust[FINDER_STRIDE // 2 :: FINDER_STRIDE, FINDER_STRIDE // 2 :: FINDER_STRIDE]
            yield SceneSample(recoloured(image, how, rng), padded, np.ascontiguousarray(weight))
