"""People of a COCO keypoints file as a source of stage 1's crops, to fine-tune on pictures of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.data.coco import CocoPerson
from pose3d_ros.data.lspet import Photos
from pose3d_ros.skeleton import COCO_17
from pose3d_ros.training.crop_data import UNLABELLED_WEIGHT, Labels

_HELD_OUT_EVERY = 10


def held_out(people: Sequence[CocoPerson]) -> tuple[list[CocoPerson], list[CocoPerson]]:
    """The people to train on, and those of every tenth photo to measure on."""
    paths = sorted({person.path for person in people})
    measured = set(paths[::_HELD_OUT_EVERY]) if len(paths) >= _HELD_OUT_EVERY else set()
    return [p for p in people if p.path not in measured], [p for p in people if p.path in measured]


def as_photos(people: Sequence[CocoPerson]) -> Photos:
    """The people one by one, each with the whole photo."""
    return Photos(
        [person.path.read_bytes() for person in people],
        [person.path.name for person in people],
        np.array([person.joints_px for person in people], np.float32),
        np.array([person.labelled for person in people]),
    )


class CocoSource:
    """People with COCO's 17 keypoints. Joints without a label are mostly, but not surely, hidden ones."""

    def __init__(self, people: Sequence[CocoPerson]) -> None:
        self._people = people

    def __len__(self) -> int:
        return len(self._people)

    def labels(self, i: int, rng: np.random.Generator) -> Labels:
        """Person i. Raises ValueError when the photo cannot be read."""
        person = self._people[i]
        image = cv2.imread(str(person.path))
        if image is None:
            raise ValueError(f"{person.path} cannot be read: photos lie in the folder images beside the annotations")
        located = person.labelled.astype(float)
        visible = (person.labelled & ~person.hidden).astype(float)
        weight: NDArray[np.float64] = np.zeros(len(located))
        weight[COCO_17] = np.where(located[COCO_17] > 0, 1.0, UNLABELLED_WEIGHT)
        return Labels(np.asarray(image, np.uint8), person.joints_px, located, visible, weight, person.box)
