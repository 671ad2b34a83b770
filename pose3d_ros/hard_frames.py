"""Pictures in which the networks do badly, kept in a bounded folder to train them further.

Each is a JPEG and a JSON file of the same name in the form of COCO's keypoints, with our own estimate as a label to be
corrected: `keypoints` [x, y, v] of all 24 joints, v being 2 for visible, 1 for inferred and 0 for predicted ones. They
show people: see docs/privacy.md.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.model_health import bone_lengths
from pose3d_ros.person import Frame, JointState, Person
from pose3d_ros.skeleton import BONES, JOINTS

_ONE_AT_A_TIME = Lock()  # cameras share a folder, and its bound
_OURS = re.compile(r"(hard_\w*\d{19})\.(jpg|json)(\.part)?")
_MB = 1_000_000
_JPEG_QUALITY = 95
_PERIOD_NS = 5_000_000_000
_LOW_SCORE = 0.6
_FOLLOWED_FRAMES = 10
_JUMP = 0.3
_COCO_VISIBILITY = {JointState.VISIBLE: 2, JointState.INFERRED: 1, JointState.PREDICTED: 0}


class HardFrame(NamedTuple):
    """A frame to keep. camera: name, or empty. reasons: why it is hard. networks: which ones said what `people` are."""

    frame: Frame
    camera: str
    people: Sequence[Person]
    reasons: Sequence[str]
    networks: str


class HardFramePicker:
    """Tells the hard frames of a camera, no more than one in five seconds of its stamps."""

    def __init__(self) -> None:
        self._picked_ns: int | None = None
        self._followed: dict[int, tuple[int, NDArray[np.float64]]] = {}

    def reasons(self, stamp_ns: int, people: Sequence[Person], drift: Sequence[str]) -> list[str]:
        """Why a frame is to be kept; empty if it is not. drift: what is worse than the networks' reference."""
        reasons = [f"drift: {text}" for text in drift] if people else []
        followed = {}
        for person in people:
            frames, bones = self._followed.get(person.id, (0, np.full(1, np.nan)))
            now = bone_lengths(person)
            followed[person.id] = frames + 1, now
            if frames >= _FOLLOWED_FRAMES and person.joint_score.mean() < _LOW_SCORE:
                reasons.append(f"person {person.id}: mean score {person.joint_score.mean():.2f}")
            if (np.abs(now / bones - 1) > _JUMP).any():
                reasons.append(f"person {person.id}: a bone's length jumped")
        self._followed = followed
        if not reasons or (self._picked_ns is not None and 0 <= stamp_ns - self._picked_ns < _PERIOD_NS):
            return []
        self._picked_ns = stamp_ns
        return reasons


class HardFrameFolder:
    """A folder of hard frames of no more than max_mb megabytes. Other files in it are neither counted nor touched.

    path: is made, for its owner only, when the first frame is written.
    """

    def __init__(self, path: Path, max_mb: int) -> None:
        self.path = path
        self._max_bytes = max_mb * _MB

    def write(self, hard: HardFrame) -> Path:
        """Writes a frame, after the oldest were removed as far as needed; returns the picture's path.

        Raises OSError, and leaves no half of it, where that cannot be done.
        """
        stem = "_".join(filter(None, ("hard", hard.camera, f"{hard.frame.stamp_ns:019d}")))
        encoded = cv2.imencode(".jpg", hard.frame.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
        label = json.dumps(coco_label(hard, f"{stem}.jpg"), allow_nan=False).encode()
        size = len(encoded) + len(label)
        if size > self._max_bytes:
            raise OSError(f"a picture of {size / _MB:.1f} MB is more than hard_frames_max_mb allows: raise it")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _ONE_AT_A_TIME:
            self._make_room(self._max_bytes - size)
            # The label last: where it is, the picture is too.
            _write(self.path / f"{stem}.jpg", encoded)
            _write(self.path / f"{stem}.json", label)
        return self.path / f"{stem}.jpg"

    def _make_room(self, most_bytes: int) -> None:
        frames: dict[str, list[Path]] = {}
        sizes: dict[str, int] = {}
        newest_ns: dict[str, int] = {}
        for entry in self.path.iterdir():
            name = _OURS.fullmatch(entry.name)
            try:
                found = entry.lstat()
            except FileNotFoundError:  # another node's folder too, which has just made room
                continue
            if name and stat.S_ISREG(found.st_mode):
                stem = name[1]
                frames.setdefault(stem, []).append(entry)
                sizes[stem] = sizes.get(stem, 0) + found.st_size
                newest_ns[stem] = max(newest_ns.get(stem, 0), found.st_mtime_ns)
        oldest = sorted(frames, key=lambda stem: (newest_ns[stem], stem))
        total = sum(sizes.values())
        while total > most_bytes and oldest:
            stem = oldest.pop(0)
            for file in frames[stem]:
                file.unlink(missing_ok=True)
            total -= sizes[stem]


def coco_label(hard: HardFrame, file_name: str) -> dict[str, Any]:
    """The frame's label: people with a keypoint outside the reach of numbers, or none at all, are left out."""
    height, width = hard.frame.image.shape[:2]
    return {
        "info": {
            "description": "estimated by pose3d_ros, not checked by anybody",
            "reasons": list(hard.reasons),
            "networks": hard.networks,
            "camera": hard.camera,
            "stamp_ns": hard.frame.stamp_ns,
        },
        "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
        "annotations": [
            _annotation(i, person) for i, person in enumerate(hard.people, 1) if np.isfinite(person.joints_px).all()
        ],
        "categories": [
            {
                "id": 1,
                "name": "person",
                "keypoints": list(JOINTS),
                "skeleton": [[parent + 1, child + 1] for parent, child in BONES],
            }
        ],
    }


def _annotation(number: int, person: Person) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(float(value), 1) for value in person.box)
    visibility = [_COCO_VISIBILITY[JointState(int(state))] for state in person.joint_state]
    keypoints = [
        value
        for (x, y), v in zip(person.joints_px, visibility, strict=True)
        for value in (round(float(x), 1), round(float(y), 1), v)
    ]
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x0, y0, round(x1 - x0, 1), round(y1 - y0, 1)],
        "area": round((x1 - x0) * (y1 - y0), 1),
        "keypoints": keypoints,
        "num_keypoints": sum(v > 0 for v in visibility),
        "keypoint_scores": [round(float(score), 3) for score in person.joint_score],
        "score": round(float(person.score), 3),
        "track_id": person.id,
    }


def _write(path: Path, content: bytes) -> None:
    """All of the file or nothing, for its owner only."""
    part = path.with_name(f"{path.name}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
