"""CMU motion capture (``cmu_joints.npz``) as our 24 joints.

20 joints are in the file; eyes and ears are put on the head with anthropometric constants (`face_joints`), and arms
get the lengths that people's have (`human_arms`).
The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from
NSF EIA-0196217.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.data.pose_augmentation import scale_bones, stature
from pose3d_ros.skeleton import INDEX, NUM_JOINTS, PARENTS, indices

Array = NDArray[np.float32]

SPLITS = {"train": 0, "val": 1, "test": 2}
FILE_NAME = "mocap/cmu_joints.npz"

# The file's name of each joint that it has. Its "head" is the level of the ears: only the face is built on it.
_SOURCE_NAME = {
    "pelvis": "pelvis", "spine": "spine", "thorax": "thorax", "neck": "neck", "head": "head_top", "nose": "nose",
} | {
    f"{side}_{part}": f"{side[0]}_{part}"
    for side in ("left", "right")
    for part in ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "wrist")
}  # fmt: skip
MOCAP_JOINTS: NDArray[np.intp] = np.sort(indices(*_SOURCE_NAME))
"""The 20 of our joints that the mocap itself has; errors on mocap are averaged over these."""

# Head frame at ear level: forward, left, up in metres, for a head whose top lies 0.12 m above the ears.
# Eyes: the iClone rig's eye joints (0.082 forward, 0.010 up of ear level); pupillary distance 63 mm and
# bitragion breadth 145 mm are adult means (ANSUR).
_HEAD_TOP_M = 0.12
_EYE_M = (0.082, 0.0315, 0.010)
_EAR_M = (0.0, 0.0725, 0.0)

_ARM_OF_STATURE = {"elbow": 0.160, "wrist": 0.153}
"""Upper arm and forearm, from joint centre to joint centre, over stature (de Leva, J. Biomech. 1996; men and women)."""


@dataclass(frozen=True)
class MocapClips:
    """Clips in one array: clip k is ``positions[start[k]:start[k + 1]]`` [F,24,3], metres, z up, 30 Hz."""

    positions: Array
    start: NDArray[np.int64]
    names: tuple[str, ...]
    fps: float

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, k: int) -> Array:
        if not 0 <= k < len(self):
            raise IndexError(k)
        return self.positions[self.start[k] : self.start[k + 1]]


def face_joints(ear_level: Array, head_top: Array, nose: Array) -> dict[str, Array]:
    """Eyes and ears [...,3] from the head's frame: up = ear level to head top, forward = towards the nose."""
    up = head_top - ear_level
    scale = np.linalg.norm(up, axis=-1, keepdims=True)
    up = up / scale
    forward = nose - ear_level
    forward = forward - np.sum(forward * up, axis=-1, keepdims=True) * up
    forward = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    left = np.cross(up, forward)
    scale = scale / _HEAD_TOP_M
    face = {}
    for part, (ahead, aside, above) in (("eye", _EYE_M), ("ear", _EAR_M)):
        middle = ear_level + scale * (ahead * forward + above * up)
        face[f"left_{part}"] = middle + scale * aside * left
        face[f"right_{part}"] = middle - scale * aside * left
    return face


def to_our_joints(positions: Array, names: list[str]) -> Array:
    """[F,J,3] in the file's order to [F,24,3] in ours. Raises ValueError when the file lacks a joint."""
    column = {name: i for i, name in enumerate(names)}
    missing = sorted({*_SOURCE_NAME.values(), "head"} - column.keys())
    if missing:
        raise ValueError(f"the mocap file lacks the joints {missing}; it has {names}")
    joints = np.empty((len(positions), NUM_JOINTS, 3), dtype=np.float32)
    for ours, theirs in _SOURCE_NAME.items():
        joints[:, INDEX[ours]] = positions[:, column[theirs]]
    face = face_joints(positions[:, column["head"]], joints[:, INDEX["head"]], joints[:, INDEX["nose"]])
    for name, points in face.items():
        joints[:, INDEX[name]] = points
    return joints


def human_arms(clip: Array) -> Array:
    """A clip [F,24,3] with upper arms and forearms of human length, pointing where they do.

    CMU's skeletons end the radius a third above the wrist (its forearm is 0.67 of the upper arm, a person's 0.95), the
    avatar's arms are short as a whole.
    """
    height = float(stature(clip[None])[0])
    factors = np.ones((1, NUM_JOINTS), np.float32)
    for part, share in _ARM_OF_STATURE.items():
        for joint in indices(f"left_{part}", f"right_{part}"):
            bone = np.linalg.norm(clip[:, joint] - clip[:, PARENTS[joint]], axis=-1)
            factors[0, joint] = share * height / np.median(bone)
    return scale_bones(clip[None], factors)[0]


def load_mocap(data: Path, split: str) -> MocapClips:
    """Read one split ("train", "val" or "test", by person).

    Args:
        data: the data folder (holding ``mocap/cmu_joints.npz``) or the npz file itself.
        split: which people.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: unknown split, or a file without the joints we need.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown mocap split {split!r}; one of {sorted(SPLITS)}")
    path = data if data.suffix == ".npz" else data / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no mocap file at {path}; give --data the folder that holds {FILE_NAME}")
    with np.load(path, allow_pickle=False) as file:
        joints = to_our_joints(file["positions"], [str(name) for name in file["joint_names"]])
        chosen = np.flatnonzero(file["split"] == SPLITS[split])
        bounds = file["clip_start"]
        names = tuple(str(file["clip_name"][k]) for k in chosen)
        fps = float(file["fps"])
    clips = [human_arms(joints[bounds[k] : bounds[k + 1]]) for k in chosen]
    start = np.concatenate([[0], np.cumsum([len(clip) for clip in clips])]).astype(np.int64)
    return MocapClips(np.concatenate(clips), start, names, fps)


def sample_windows(rng: np.random.Generator, clips: MocapClips, count: int, frames: int) -> Array:
    """Random windows [count, frames, 24, 3] of the clips, clips drawn by length, at 30, 15 or 10 Hz.

    Now and then a frame is skipped, as on a robot that loses one. A window longer than its clip runs back and forth.
    """
    lengths = np.diff(clips.start)
    clip = rng.choice(len(clips), count, p=lengths / lengths.sum())
    length = lengths[clip][:, None]
    pace = rng.choice([1, 2, 3], (count, 1), p=[0.75, 0.15, 0.10])
    step = pace * np.where(rng.random((count, frames)) < 0.05, 2, 1)
    time = rng.integers(0, length) + np.cumsum(step, axis=1) - step[:, :1]
    period = 2 * (length - 1)
    phase = time % period
    frame = np.where(phase < length, phase, period - phase)
    return clips.positions[clips.start[clip][:, None] + frame]
