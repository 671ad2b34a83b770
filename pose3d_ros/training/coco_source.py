"""People of a COCO keypoints file as a source of stage 1's crops, to fine-tune on pictures of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pose3d_ros.data.coco import CocoPerson
from pose3d_ros.training.crop_data import HIDDEN_WEIGHT, UNLABELLED_WEIGHT, Labels


class CocoSource:
    """People with COCO's keypoints. Joints that are asked for and have no label are mostly, but not surely, hidden."""

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
        located = np.where(person.hidden, HIDDEN_WEIGHT, 1.0) * person.labelled
        visible = (person.labelled & ~person.hidden).astype(float)
        weight = np.where(person.labelled, 1.0, UNLABELLED_WEIGHT * person.asked)
        return Labels(np.asarray(image, np.uint8), person.joints_px, located, visible, weight, person.box)
