"""Rendered people as sources of stage 1's crops and of the finder's scenes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import box_of_joints, warp_to
from pose3d_ros.data.synthetic.shards import Shard, read_shard
from pose3d_ros.skeleton import INDEX
from pose3d_ros.training.crop_data import HIDDEN_WEIGHT, Labels
from pose3d_ros.training.scene_data import Scene, clipped_box

_VISIBLE, _SELF_OCCLUDED, _HIDDEN, _OUTSIDE = range(4)
_LEAST_VISIBLE_FRACTION = 0.3
_LEAST_VISIBLE_JOINTS = 6
_LEAST_HEIGHT_PX = 12


class _Shards:
    """All shards of a folder; raises FileNotFoundError when there are none."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("*.npz"))
        if not paths:
            raise FileNotFoundError(f"no rendered shards (*.npz) in {folder}: make them with `pose3d render`")
        self.shards = [read_shard(path) for path in paths]


def _picture(shard: Shard, i: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(shard.jpeg(i), cv2.IMREAD_COLOR), np.uint8)


class SyntheticSource:
    """Rendered people, one crop each."""

    def __init__(self, folder: Path) -> None:
        self._shards = _Shards(folder).shards
        self._rows = [
            (s, int(row))
            for s, shard in enumerate(self._shards)
            for row in np.flatnonzero(
                (shard.visible_fraction >= _LEAST_VISIBLE_FRACTION)
                & ((shard.visibility == _VISIBLE).sum(1) >= _LEAST_VISIBLE_JOINTS)
                & (shard.box[:, 3] - shard.box[:, 1] > 60)
            )
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def labels(self, i: int, rng: np.random.Generator) -> Labels:
        """Person i of those that show enough of themselves."""
        s, row = self._rows[i]
        shard = self._shards[s]
        state = shard.visibility[row]
        located = np.choose(state, [1.0, 1.0, HIDDEN_WEIGHT, 0.0])
        visible = (state == _VISIBLE).astype(float)
        image = _picture(shard, int(shard.image[row]))
        return Labels(image, shard.joints_px[row], located, visible, np.ones_like(visible), shard.box[row])


class SyntheticSceneSource:
    """Rendered scenes with several people."""

    def __init__(self, folder: Path) -> None:
        self._shards = _Shards(folder).shards

    def scene(self, width: int, height: int, rng: np.random.Generator) -> Scene:
        """A random scene, mirrored, and zoomed in now and then."""
        shard = self._shards[int(rng.integers(len(self._shards)))]
        i = int(rng.integers(len(shard)))
        picture = _picture(shard, i)
        h, w = picture.shape[:2]
        zoom = np.exp(rng.uniform(0, 0.5)) if rng.random() < 0.5 else 1.0
        scale = min(width / w, height / h) * zoom
        slack = np.maximum(np.array([w, h]) * scale - [width, height], 0)
        mirror = rng.random() < 0.5
        linear = scale * np.array([[-1.0 if mirror else 1.0, 0.0], [0.0, 1.0]])
        offset = -rng.uniform(0, 1, 2) * slack + np.array([scale * (w - 1) if mirror else 0.0, 0.0])
        transform = np.concatenate([linear, offset[:, None]], 1)
        image = warp_to(picture, transform, width, height)
        trust = np.ones((height, width), np.float32)
        boxes, hidden = _people(shard, i, transform, width, height)
        # A person who hardly shows is neither to be found nor to be called empty.
        for x0, y0, x1, y1 in hidden.astype(int):
            trust[y0:y1, x0:x1] = 0
        return Scene(image, boxes, trust)


def labelled_scenes(folder: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray, NDArray]]:
    """Every rendered scene of a folder as it is: image [h, w, 3], boxes [n, 4] of those who show enough of themselves
    to be found, and [m, 4] of the others."""
    for shard in _Shards(folder).shards:
        for i in range(len(shard)):
            picture = _picture(shard, i)
            yield picture, *_people(shard, i, np.eye(2, 3), picture.shape[1], picture.shape[0])


def _people(shard: Shard, i: int, transform: NDArray, width: int, height: int) -> tuple[NDArray, NDArray]:
    """Boxes of a picture's people in a window of it, as far as they lie in it: [n, 4] of those who are to be found,
    [m, 4] of the others."""
    boxes, hidden = [], []
    corners = np.array([width - 1, height - 1, width - 1, height - 1])
    for row in shard.people(i):
        box = _box(shard, int(row), transform)
        shown = clipped_box(box, (0, 0, width - 1, height - 1))
        clear = shard.visible_fraction[row] >= _LEAST_VISIBLE_FRACTION and box[3] - box[1] >= _LEAST_HEIGHT_PX
        if shown is not None and clear:
            boxes.append(shown)
        else:
            hidden.append(np.clip(box, 0, corners))
    return np.array(boxes).reshape(-1, 4), np.array(hidden).reshape(-1, 4)


_LSP_LIKE = [i for name, i in INDEX.items() if not name.endswith(("eye", "ear", "toe")) and name != "nose"]


def _box(shard: Shard, row: int, transform: NDArray) -> NDArray[np.floating]:
    """The person's box as real photos give it: round the joints that they label."""
    joints = shard.joints_px[row][_LSP_LIKE] @ transform[:, :2].T + transform[:, 2]
    return box_of_joints(joints)
