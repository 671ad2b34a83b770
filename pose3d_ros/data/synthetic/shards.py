"""Shards of rendered pictures: one ``.npz`` each, JPEG bytes and labels side by side.

A pixel's middle lies at whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.data.synthetic.render import Label
from pose3d_ros.data.synthetic.types import ByteArray, FloatArray, IntArray
from pose3d_ros.skeleton import NUM_JOINTS


@dataclass(frozen=True)
class Shard:
    """Pictures and the people in them.

    Attributes:
        bytes: uint8, all JPEG files one after the other.
        offset: [images + 1] int64; picture i is ``bytes[offset[i]:offset[i + 1]]``.
        K: [images, 3, 3] float32 intrinsics in pixels.
        image: [N] int32, the picture of each person; sorted. In crops the main person comes first.
        joints_px: [N, 24, 2] float32; joints_m: [N, 24, 3] float32, camera optical frame, metres.
        visibility: [N, 24] uint8: 0 visible, 1 hidden by the person, 2 hidden by something else, 3 outside.
        box: [N, 4] float32 x0 y0 x1 y1 of the whole silhouette clipped to the picture; box_full: not clipped.
        visible_fraction: [N] float32, share of the body inside the picture and not hidden by something else.
    """

    bytes: ByteArray
    offset: NDArray[np.int64]
    K: FloatArray
    image: IntArray
    joints_px: FloatArray
    joints_m: FloatArray
    visibility: ByteArray
    box: FloatArray
    box_full: FloatArray
    visible_fraction: FloatArray

    def __len__(self) -> int:
        return len(self.offset) - 1

    def jpeg(self, i: int) -> ByteArray:
        """The JPEG file of picture i."""
        return self.bytes[self.offset[i] : self.offset[i + 1]]

    def picture(self, i: int) -> ByteArray:
        """Picture i as [H, W, 3] RGB. Raises ValueError when its bytes are damaged."""
        image = cv2.imdecode(self.jpeg(i), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"picture {i} of the shard is not a JPEG")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def people(self, i: int) -> IntArray:
        """Rows of the people in picture i."""
        return np.arange(*np.searchsorted(self.image, [i, i + 1]))


_FIELDS = tuple(Shard.__dataclass_fields__)
_FORM = "form"
_CURRENT_FORM = 2
"""Shards of the first form, which do not tell theirs, have a pixel's middle at one half."""
_IN_PIXELS = ("joints_px", "box", "box_full")


def pack(pictures: Sequence[tuple[bytes, FloatArray, Sequence[Label]]]) -> Shard:
    """Put (JPEG, K, labels) of each picture into a shard."""
    labels = [label for _, _, people in pictures for label in people]
    count = len(labels)
    return Shard(
        bytes=np.frombuffer(b"".join(jpeg for jpeg, _, _ in pictures), np.uint8),
        offset=np.cumsum([0, *(len(jpeg) for jpeg, _, _ in pictures)], dtype=np.int64),
        K=np.array([K for _, K, _ in pictures], np.float32).reshape(-1, 3, 3),
        image=np.repeat(np.arange(len(pictures), dtype=np.int32), [len(people) for _, _, people in pictures]),
        joints_px=np.array([label.joints_px for label in labels], np.float32).reshape(count, NUM_JOINTS, 2),
        joints_m=np.array([label.joints_m for label in labels], np.float32).reshape(count, NUM_JOINTS, 3),
        visibility=np.array([label.visibility for label in labels], np.uint8).reshape(count, NUM_JOINTS),
        box=np.array([label.box for label in labels], np.float32).reshape(count, 4),
        box_full=np.array([label.box_full for label in labels], np.float32).reshape(count, 4),
        visible_fraction=np.array([label.visible_fraction for label in labels], np.float32),
    )


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard; a reader never sees half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        arrays = {name: getattr(shard, name) for name in _FIELDS} | {_FORM: np.array(_CURRENT_FORM)}
        np.savez(stream, **arrays)
    partial.replace(path)


def read_shard(path: str | Path) -> Shard:
    """Read a shard. Raises ValueError when the file is not one."""
    with np.load(path) as data:
        missing = [name for name in _FIELDS if name not in data]
        if missing:
            raise ValueError(f"{path} is not a shard of synthetic people: it lacks {', '.join(missing)}")
        fields = {name: data[name] for name in _FIELDS}
        if _FORM not in data:
            fields["K"][:, :2, 2] -= 0.5
            for name in _IN_PIXELS:
                fields[name] -= 0.5
        return Shard(**fields)


def pictures_in(path: Path) -> int:
    """How many pictures a shard holds; none if it is not there. Reads nothing else of it."""
    if not path.exists():
        return 0
    with np.load(path) as data:
        return len(data["offset"]) - 1
