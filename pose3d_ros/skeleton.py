"""The 24 joints: names, tree, left/right, and the maps to and from other data sets.

Every joint has one written definition here; readers in ``data/`` map their source to it. Left and right are the
person's own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Joint(NamedTuple):
    """One joint: its parent in the drawing tree ("" for the root) and where on the body it lies."""

    name: str
    parent: str
    definition: str


_TABLE = (
    Joint("pelvis", "", "midpoint of the two hip joints"),
    Joint("right_hip", "pelvis", "centre of the femoral head"),
    Joint("right_knee", "right_hip", "centre of the knee's flexion axis"),
    Joint("right_ankle", "right_knee", "centre of the ankle's flexion axis"),
    Joint("left_hip", "pelvis", "centre of the femoral head"),
    Joint("left_knee", "left_hip", "centre of the knee's flexion axis"),
    Joint("left_ankle", "left_knee", "centre of the ankle's flexion axis"),
    Joint("spine", "pelvis", "inside the body on the spinal line, half-way between pelvis and thorax"),
    Joint("thorax", "spine", "inside the body at the height of C7, 2-3 cm above the line of the shoulders"),
    Joint("neck", "thorax", "base of the skull, upper end of the cervical spine"),
    Joint("head", "neck", "top of the head"),
    Joint("left_shoulder", "thorax", "centre of the humeral head"),
    Joint("left_elbow", "left_shoulder", "centre of the elbow's flexion axis"),
    Joint("left_wrist", "left_elbow", "centre of the wrist"),
    Joint("right_shoulder", "thorax", "centre of the humeral head"),
    Joint("right_elbow", "right_shoulder", "centre of the elbow's flexion axis"),
    Joint("right_wrist", "right_elbow", "centre of the wrist"),
    Joint("nose", "neck", "tip of the nose"),
    Joint("left_eye", "nose", "centre of the eyeball"),
    Joint("right_eye", "nose", "centre of the eyeball"),
    Joint("left_ear", "left_eye", "ear canal, on the skin"),
    Joint("right_ear", "right_eye", "ear canal, on the skin"),
    Joint("left_toe", "left_ankle", "ball of the foot, where the toes begin, 3 cm above the sole"),
    Joint("right_toe", "right_ankle", "ball of the foot, where the toes begin, 3 cm above the sole"),
)

JOINTS: tuple[str, ...] = tuple(joint.name for joint in _TABLE)
DEFINITIONS: dict[str, str] = {joint.name: joint.definition for joint in _TABLE}
NUM_JOINTS = len(JOINTS)
INDEX: dict[str, int] = {name: i for i, name in enumerate(JOINTS)}
PARENTS: tuple[int, ...] = tuple(INDEX.get(joint.parent, -1) for joint in _TABLE)
BONES: tuple[tuple[int, int], ...] = tuple((parent, child) for child, parent in enumerate(PARENTS) if parent >= 0)
ROOT = INDEX["pelvis"]


def mirrored_name(name: str) -> str:
    """The same joint on the other side of the body; the name itself for joints on the midline."""
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


MIRROR: NDArray[np.intp] = np.array([INDEX[mirrored_name(name)] for name in JOINTS])
"""``joints[MIRROR]`` exchanges left and right (after the picture itself was mirrored)."""


def indices(*names: str) -> NDArray[np.intp]:
    """Indices of joints by name. Raises KeyError on an unknown name."""
    return np.array([INDEX[name] for name in names])


# What each data set calls its joints, in its order, as our names.
H36M_17: NDArray[np.intp] = np.arange(17)
COCO_17: NDArray[np.intp] = indices(
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
# Skeleton2D of hri_msgs (REP-155), which has OpenPose's points of COCO: its neck is between the shoulders.
HRI_18: NDArray[np.intp] = indices(
    "nose", "thorax", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "left_eye", "right_eye",
    "left_ear", "right_ear",
)  # fmt: skip
# LSP's "neck" lies 0.19 of the way from the middle of the shoulders to the top of the head (median of 4,564 people);
# in mocap the thorax lies at 0.12 and the neck (skull base) at 0.39: it is our thorax.
LSP_14: NDArray[np.intp] = indices(
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "thorax", "head",
)  # fmt: skip
LIMBS_12: NDArray[np.intp] = indices(
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""Shoulders, elbows, wrists, hips, knees, ankles: the joints that every data set labels."""
