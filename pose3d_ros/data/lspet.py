"""Leeds Sports Pose Extended (Johnson and Everingham, CVPR 2011): photos of one labelled person each."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.skeleton import LSP_14, NUM_JOINTS

_TRAIN, _VALIDATION = 0, 1
_CALIBRATION_EVERY = 20


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos with one labelled person each.

    jpegs: encoded photos. names: their file names.
    joints_px: [n, 24, 2] pixels. labelled: [n, 24] bool.
    """

    jpegs: list[bytes]
    names: list[str]
    joints_px: NDArray[np.float32]
    labelled: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.jpegs)

    def image(self, i: int) -> NDArray[np.uint8]:
        """Photo i, BGR. Raises ValueError when it cannot be decoded."""
        image = cv2.imdecode(np.frombuffer(self.jpegs[i], np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{self.names[i]} is not a readable JPEG")
        return np.asarray(image, np.uint8)

    def thinned(self, count: int) -> Photos:
        """So many of them, evenly spaced. Raises ValueError when there are fewer."""
        if not 0 < count <= len(self):
            raise ValueError(f"{count} photos of {len(self)} were asked for")
        kept = np.arange(count) * len(self) // count
        jpegs, names = [self.jpegs[i] for i in kept], [self.names[i] for i in kept]
        return Photos(jpegs, names, self.joints_px[kept], self.labelled[kept])


def read_lspet(folder: Path, split: str) -> Photos:
    """The photos of a split from labels.npz and the .tar files in `folder`.

    `val` is the data set's own. Every 20th of its training photos is kept from training to calibrate scores on:
    `calibration`; the others are `train`.

    Raises FileNotFoundError when the files are not there, ValueError on another split.
    """
    with np.load(folder / "labels.npz") as labels:
        kind = labels["split"]
        kept = np.arange(len(kind)) % _CALIBRATION_EVERY == 0
        rows_of = {
            "train": (kind == _TRAIN) & ~kept,
            "calibration": (kind == _TRAIN) & kept,
            "val": kind == _VALIDATION,
        }
        if split not in rows_of:
            raise ValueError(f"LSPET has no split '{split}': choose one of {sorted(rows_of)}")
        files, joints = labels["files"][rows_of[split]], labels["joints"][rows_of[split]]
    archives = sorted(folder.glob("val-*.tar" if split == "val" else "train-*.tar"))
    if not archives:
        raise FileNotFoundError(f"no photos of LSPET (train-*.tar, val-*.tar) in {folder}")
    jpeg_of = {}
    for archive in archives:
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    jpeg_of[Path(member.name).name] = content.read()
    joints_px = np.zeros((len(files), NUM_JOINTS, 2), np.float32)
    labelled = np.zeros((len(files), NUM_JOINTS), bool)
    joints_px[:, LSP_14] = joints[..., :2]
    labelled[:, LSP_14] = joints[..., 2] > 0
    return Photos([jpeg_of[name] for name in files], [str(name) for name in files], joints_px, labelled)
