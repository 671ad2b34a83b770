"""People with COCO keypoints (Lin et al., ECCV 2014): a JSON file of annotations beside a folder `images`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.skeleton import COCO_17, NUM_JOINTS


class CocoPerson(NamedTuple):
    """path: of the photo. box: x0, y0, x1, y1 pixels. joints_px: [24, 2]. labelled: [24], hidden ones included."""

    path: Path
    box: NDArray[np.float64]
    joints_px: NDArray[np.float64]
    labelled: NDArray[np.bool_]


def read_coco(annotations: Path) -> list[CocoPerson]:
    """The people of an annotation file that have at least one labelled joint; crowds are left out."""
    content = json.loads(annotations.read_text())
    path_of = {image["id"]: annotations.parent / "images" / image["file_name"] for image in content["images"]}
    people = []
    for entry in content["annotations"]:
        keypoints = np.asarray(entry.get("keypoints", []), float).reshape(-1, 3)
        if entry.get("iscrowd") or not (keypoints[:, 2] > 0).any():
            continue
        joints, labelled = np.zeros((NUM_JOINTS, 2)), np.zeros(NUM_JOINTS, bool)
        joints[COCO_17] = keypoints[:, :2]
        labelled[COCO_17] = keypoints[:, 2] > 0
        x, y, width, height = entry["bbox"]
        people.append(CocoPerson(path_of[entry["image_id"]], np.array([x, y, x + width, y + height]), joints, labelled))
    return people
