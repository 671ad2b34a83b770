"""People with COCO keypoints (Lin et al., ECCV 2014): a JSON file of annotations beside a folder `images`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.skeleton import COCO_17, NUM_JOINTS

_HIDDEN = 1  # of a keypoint's third number: 0 not labelled, 1 labelled but not to be seen, 2 to be seen


class CocoPerson(NamedTuple):
    """path: of the photo. box: x0, y0, x1, y1 pixels. joints_px: [24, 2]. labelled: [24], hidden ones included.
    hidden: [24] the labelled ones that are not to be seen."""

    path: Path
    box: NDArray[np.float64]
    joints_px: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    hidden: NDArray[np.bool_]


def read_coco(annotations: Path) -> list[CocoPerson]:
    """The people of an annotation file that have at least one labelled joint; crowds are left out.

    Raises ValueError naming the file and what it lacks.
    """
    try:
        content = json.loads(annotations.read_text())
        path_of = {image["id"]: annotations.parent / "images" / image["file_name"] for image in content["images"]}
        entries = [entry for entry in content["annotations"] if not entry.get("iscrowd")]
        people = [_person(entry, path_of[entry["image_id"]]) for entry in entries]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{annotations} has no COCO keypoints: {type(error).__name__} {error}") from error
    return [person for person in people if person.labelled.any()]


def _person(entry: dict[str, Any], path: Path) -> CocoPerson:
    keypoints = np.asarray(entry.get("keypoints") or np.zeros(3 * len(COCO_17)), float).reshape(len(COCO_17), 3)
    joints = np.zeros((NUM_JOINTS, 2))
    labelled, hidden = np.zeros((2, NUM_JOINTS), bool)
    joints[COCO_17] = keypoints[:, :2]
    labelled[COCO_17] = keypoints[:, 2] > 0
    hidden[COCO_17] = keypoints[:, 2] == _HIDDEN
    x, y, width, height = entry["bbox"]
    return CocoPerson(path, np.array([x, y, x + width, y + height]), joints, labelled, hidden)
