"""People with COCO keypoints (Lin et al., ECCV 2014): COCO's own, those of tools that write its format, and the hard
frames that the node keeps."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import box_of_joints
from pose3d_ros.data.lspet import Photos
from pose3d_ros.skeleton import COCO_17, INDEX, JOINTS, NUM_JOINTS

_HIDDEN = 1  # of a keypoint's third number: 0 not labelled, 1 labelled but not to be seen, 2 to be seen
_COCO_NAMES = [JOINTS[joint] for joint in COCO_17]
_HELD_OUT_EVERY = 10


class CocoPerson(NamedTuple):
    """path: of the photo. box: x0, y0, x1, y1 pixels. joints_px: [24, 2]. asked: [24] which joints the file is about.
    labelled: [24], hidden ones included. hidden: [24] the labelled ones that are not to be seen."""

    path: Path
    box: NDArray[np.float64]
    joints_px: NDArray[np.float64]
    asked: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    hidden: NDArray[np.bool_]


def read_coco(annotations: Path) -> list[CocoPerson]:
    """The people of an annotation file, or of all those in a folder, who have at least one labelled joint.

    Photos lie in the folder `images` beside the file, or beside it. Keypoints are COCO's 17 unless the file's category
    names them; those that we have no joint for, and crowds, are left out. Who has no box has that of the joints.
    Raises ValueError naming the file and what it lacks, photos too.
    """
    if annotations.is_dir():
        return [person for file in sorted(annotations.glob("*.json")) for person in read_coco(file)]
    try:
        content = json.loads(annotations.read_text())
        folder = annotations.parent / "images"
        folder = folder if folder.is_dir() else annotations.parent
        path_of = {image["id"]: folder / image["file_name"] for image in content["images"]}
        names = next((c["keypoints"] for c in content.get("categories", ()) if c.get("keypoints")), _COCO_NAMES)
        entries = [entry for entry in content["annotations"] if not entry.get("iscrowd")]
        people = [_person(entry, path_of[entry["image_id"]], names) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{annotations} has no COCO keypoints: {type(error).__name__} {error}") from error
    if INDEX.keys().isdisjoint(names):
        raise ValueError(f"{annotations} names none of our joints but {', '.join(names)}; ours are {', '.join(JOINTS)}")
    labelled = [person for person in people if person.labelled.any()]
    missing = {person.path for person in labelled if not person.path.is_file()}
    if missing:
        raise ValueError(f"{annotations} tells of {len(missing)} photos that are not there, as {min(missing)}")
    return labelled


def _person(entry: dict[str, Any], path: Path, names: Sequence[str]) -> CocoPerson:
    keypoints = np.asarray(entry.get("keypoints") or np.zeros(3 * len(names)), float).reshape(len(names), 3)
    known = [i for i, name in enumerate(names) if name in INDEX]
    ours = [INDEX[names[i]] for i in known]
    joints = np.zeros((NUM_JOINTS, 2))
    asked, labelled, hidden = np.zeros((3, NUM_JOINTS), bool)
    joints[ours] = keypoints[known, :2]
    asked[ours] = True
    labelled[ours] = keypoints[known, 2] > 0
    hidden[ours] = keypoints[known, 2] == _HIDDEN
    x, y, width, height = entry.get("bbox") or (0, 0, 0, 0)
    box = np.array([x, y, x + width, y + height], float)
    if labelled.any() and not (width > 0 and height > 0):
        box = box_of_joints(joints[labelled])
    return CocoPerson(path, box, joints, asked, labelled, hidden)


def held_out(people: Sequence[CocoPerson]) -> tuple[list[CocoPerson], list[CocoPerson]]:
    """The people to train on, and those of about every tenth photo, of ten and more, to measure and calibrate on.

    A photo's name decides, so that it stays on its side when others come and go.
    """
    order = {person.path: zlib.crc32(person.path.name.encode()) for person in people}
    measured: set[Path] = set()
    if len(order) >= _HELD_OUT_EVERY:
        measured = {path for path, number in order.items() if number % _HELD_OUT_EVERY == 0}
        measured = measured or {min(order, key=lambda path: order[path])}
    return [p for p in people if p.path not in measured], [p for p in people if p.path in measured]


def as_photos(people: Sequence[CocoPerson]) -> Photos:
    """The people one by one, each with the whole photo."""
    return Photos(
        [person.path.read_bytes() for person in people],
        [person.path.name for person in people],
        np.array([person.joints_px for person in people], np.float32),
        np.array([person.labelled for person in people]),
    )
