"""Poses to render: motion capture, mixed and perturbed, and templates for what it lacks.

A pose is [21, 3] in metres with the joints of ``retarget.MOCAP_JOINTS``; y up, the floor at y = 0.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pose3d_ros.data.synthetic import retarget as r
from pose3d_ros.data.synthetic.types import FloatArray, IntArray

UPPER = np.array([r.SPINE, r.THORAX, r.NECK, r.HEAD, r.HEAD_TOP, r.L_SHOULDER, r.L_ELBOW, r.L_WRIST, r.R_SHOULDER,
                  r.R_ELBOW, r.R_WRIST, r.NOSE])  # fmt: skip
HEAD_GROUP = np.array([r.HEAD, r.HEAD_TOP, r.NOSE])
MIRROR = np.array([
    r.PELVIS, r.L_HIP, r.L_KNEE, r.L_ANKLE, r.L_TOE, r.R_HIP, r.R_KNEE, r.R_ANKLE, r.R_TOE, r.SPINE, r.THORAX, r.NECK,
    r.HEAD, r.HEAD_TOP, r.R_SHOULDER, r.R_ELBOW, r.R_WRIST, r.L_SHOULDER, r.L_ELBOW, r.L_WRIST, r.NOSE,
])  # fmt: skip
ARMS = {"left": (r.L_SHOULDER, r.L_ELBOW, r.L_WRIST), "right": (r.R_SHOULDER, r.R_ELBOW, r.R_WRIST)}
LEGS = {
    "left": (r.L_HIP, r.L_KNEE, r.L_ANKLE, r.L_TOE),
    "right": (r.R_HIP, r.R_KNEE, r.R_ANKLE, r.R_TOE),
}

# Directions of upper arm and forearm in the chest's frame for the left arm (x outwards, y up, z forward).
ARM_TEMPLATES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "hanging": ((0.15, -1.0, 0.0), (0.05, -1.0, 0.2)),
    "hip": ((0.75, -0.8, -0.35), (-0.8, -0.55, 0.45)),
    "phone_ear": ((0.45, -0.85, 0.3), (-0.3, 0.9, 0.3)),
    "phone_read": ((0.2, -1.0, 0.15), (-0.35, 0.45, 0.85)),
    "crossed": ((0.2, -0.9, 0.4), (-1.0, 0.15, 0.35)),
    "carry": ((0.2, -1.0, 0.05), (-0.1, 0.0, 1.0)),
    "raised": ((0.35, 1.0, 0.1), (-0.05, 1.0, 0.1)),
    "wave": ((0.9, 0.1, 0.25), (0.15, 1.0, 0.2)),
    "side": ((1.0, 0.0, 0.1), (1.0, 0.05, 0.1)),
    "point": ((0.2, -0.1, 1.0), (0.1, 0.0, 1.0)),
    "point_side": ((0.8, 0.05, 0.5), (0.8, 0.1, 0.5)),
    "head": ((0.9, 0.5, 0.1), (-0.75, 0.6, -0.1)),
    "chin": ((0.2, -0.8, 0.5), (-0.35, 0.95, 0.25)),
    "stop": ((0.25, -0.3, 0.9), (0.0, 0.6, 0.8)),
    "behind": ((0.3, -0.95, -0.35), (-0.6, -0.6, -0.3)),
    "pocket": ((0.4, -0.9, -0.2), (-0.15, -0.95, 0.25)),
    "table": ((0.2, -0.85, 0.45), (-0.25, -0.15, 1.0)),
    "knee": ((0.1, -0.85, 0.5), (0.0, -0.55, 0.85)),
}


class Mocap:
    """Poses of one split of the CMU motion capture."""

    def __init__(self, root: Path, split: int) -> None:
        data = np.load(root / "mocap" / "cmu_joints.npz")
        names = tuple(str(name) for name in data["joint_names"])
        if names != r.MOCAP_JOINTS:
            raise ValueError(f"mocap joints are {names}, expected {r.MOCAP_JOINTS}")
        # z up → y up, right-handed.
        positions = data["positions"][..., [0, 2, 1]] * [1, 1, -1]
        bounds = list(pairwise(data["clip_start"]))
        for subject in np.unique(data["subject"]):
            frames = np.concatenate([np.arange(*bounds[k]) for k in np.flatnonzero(data["subject"] == subject)])
            positions[frames] = _heads_level(positions[frames])
        mine = np.flatnonzero(data["split"] == split)
        self.clips: list[FloatArray] = [positions[slice(*bounds[k])].astype(np.float32) for k in mine]
        self.names = [str(data["clip_name"][k]) for k in mine]
        self.frames = np.concatenate(self.clips)
        self.upright = _upright_index(self.frames)

    def sample(self, rng: np.random.Generator, upright: bool) -> FloatArray:
        """A random frame; with ``upright``, of somebody who stands or walks."""
        pool = self.upright if upright else np.arange(len(self.frames))
        pose = self.frames[int(rng.choice(pool))].astype(np.float64)
        return mirror(pose) if rng.random() < 0.5 else pose


def _upright_index(frames: FloatArray) -> IntArray:
    trunk = frames[:, r.THORAX] - frames[:, r.PELVIS]
    trunk = trunk / np.linalg.norm(trunk, axis=1, keepdims=True)
    leg = frames[:, r.PELVIS, 1] - frames[:, [r.L_ANKLE, r.R_ANKLE], 1].min(1)
    return np.flatnonzero((trunk[:, 1] > 0.93) & (leg > 0.75))


def _heads_level(frames: FloatArray) -> FloatArray:
    """Frames [T, 21, 3] of one subject, whose head is turned so that it looks straight ahead in the median of those
    upright. What motion capture calls straight ahead differs from subject to subject, by up to 45°."""
    upright = _upright_index(frames)
    if not len(upright):
        return frames
    up, forward = frames[:, r.HEAD_TOP] - frames[:, r.HEAD], frames[:, r.NOSE] - frames[:, r.HEAD]
    right_to_left = np.cross(up, forward)
    right_to_left /= np.linalg.norm(right_to_left, axis=1, keepdims=True)
    ahead = np.cross(right_to_left, up)
    pitch = np.arcsin(ahead[:, 1] / np.linalg.norm(ahead, axis=1))
    levelling = Rotation.from_rotvec(np.median(pitch[upright]) * right_to_left)
    level = frames.copy()
    for joint in HEAD_GROUP:
        level[:, joint] = frames[:, r.NECK] + levelling.apply(frames[:, joint] - frames[:, r.NECK])
    return level


def mirror(pose: FloatArray) -> FloatArray:
    """The pose in a mirror (left and right exchanged)."""
    flipped: FloatArray = pose[MIRROR] * np.array([-1.0, 1.0, 1.0])
    return flipped


def random_pose(rng: np.random.Generator, mocap: Mocap) -> FloatArray:
    """A pose [21, 3], about 60 % of them everyday upright ones, feet or body on the floor, pelvis over the origin."""
    choice = rng.random()
    if choice < 0.30:
        pose = mocap.sample(rng, upright=True)
    elif choice < 0.42:
        pose = _standing(rng, mocap)
    elif choice < 0.62:
        pose = _with_arms(rng, mocap.sample(rng, upright=True))
    elif choice < 0.74:
        pose = _mixed(rng, mocap)
    elif choice < 0.84:
        pose = mocap.sample(rng, upright=False)
    else:
        pose = _template(rng, mocap)
    if rng.random() < 0.7:
        pose = _perturb(rng, pose)
    if rng.random() < 0.5:
        pose = _turn_head(rng, pose)
    pose = pose - [pose[r.PELVIS, 0], 0, pose[r.PELVIS, 2]]
    return pose @ r.axis_rotation(np.array([0.0, 1.0, 0.0]), float(rng.uniform(-np.pi, np.pi))).T


def acrobatic_pose(rng: np.random.Generator, mocap: Mocap) -> FloatArray:
    """Somebody who jumps, turns a somersault or a cartwheel, stands on their hands, does the splits, falls: trunk,
    arms and legs far from rest, and the whole body turned; pelvis over the origin."""
    pose = mocap.sample(rng, upright=rng.random() < 0.5)
    if rng.random() < 0.7:
        pose = _lean(rng, pose, float(np.clip(rng.normal(0.3, 0.7), -0.6, 2.2)))
    if rng.random() < 0.75:
        frame = _pelvis_frame(pose)
        together = rng.random() < 0.35
        ahead, aside, bend = rng.normal(0.4, 0.8), rng.uniform(0, 1.0), abs(rng.normal(0, 0.7))
        for side, sign in (("left", 1.0), ("right", -1.0)):
            if not together:
                ahead, aside, bend = rng.normal(0.3, 0.9), rng.uniform(-0.1, 1.3), abs(rng.normal(0, 0.8))
            thigh = _swung(sign, ahead, aside)
            _set_leg(pose, side, frame, thigh, _swung(sign, ahead - bend, aside), _swung(sign, ahead + 0.4, aside))
    if rng.random() < 0.75:
        frame = _chest_frame(pose)
        together, ahead, aside = rng.random() < 0.5, rng.uniform(-0.8, 3.2), rng.uniform(0, 1.2)
        for side, sign in (("left", 1.0), ("right", -1.0)):
            if not together:
                ahead, aside = rng.uniform(-0.8, 3.2), rng.uniform(-0.2, 1.5)
            _set_arm(
                pose, side, frame, _swung(sign, ahead, aside), _swung(sign, ahead + abs(rng.normal(0, 0.6)), aside)
            )
    if rng.random() < 0.7:
        pose = _perturb(rng, pose)
    if rng.random() < 0.7:
        pose = _turn_head(rng, pose)
    frame = _yaw_frame(pose)
    over, sideways = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.6)
    if rng.random() < 0.3:  # a cartwheel rather than a somersault
        over, sideways = sideways, over
    turn = r.axis_rotation(frame[:, 2], float(sideways)) @ r.axis_rotation(frame[:, 0], float(over))
    yaw = r.axis_rotation(np.array([0.0, 1.0, 0.0]), float(rng.uniform(-np.pi, np.pi)))
    return (pose - pose[r.PELVIS]) @ (yaw @ turn).T


def _swung(side: float, ahead: float, aside: float) -> FloatArray:
    """The direction of a hanging limb swung forward and outward, in its body's frame; side: 1 left, -1 right."""
    return np.array([side * np.sin(aside), -np.cos(aside) * np.cos(ahead), np.cos(aside) * np.sin(ahead)])


def _pelvis_frame(pose: FloatArray) -> FloatArray:
    x = pose[r.L_HIP] - pose[r.R_HIP]
    x = x / np.linalg.norm(x)
    y = pose[r.SPINE] - pose[r.PELVIS]
    y = y - x * (x @ y)
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _chest_frame(pose: FloatArray) -> FloatArray:
    y = pose[r.THORAX] - pose[r.SPINE]
    y = y / np.linalg.norm(y)
    x = pose[r.L_SHOULDER] - pose[r.R_SHOULDER]
    x = x - y * (x @ y)
    x = x / np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _mixed(rng: np.random.Generator, mocap: Mocap) -> FloatArray:
    """The upper body of one frame on the legs of another."""
    lower, upper = mocap.sample(rng, upright=rng.random() < 0.7), mocap.sample(rng, upright=False)
    turn = _pelvis_frame(lower) @ _pelvis_frame(upper).T
    pose = lower.copy()
    pose[UPPER] = (upper[UPPER] - upper[r.PELVIS]) @ turn.T + lower[r.PELVIS]
    return pose


def _standing(rng: np.random.Generator, mocap: Mocap) -> FloatArray:
    """Standing still: legs of a template, weight on one or both."""
    pose = mocap.sample(rng, upright=True)
    frame = _pelvis_frame(pose)
    spread = float(rng.uniform(0.0, 0.2))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        thigh = np.array([sign * spread + rng.normal(0, 0.04), -1.0, rng.normal(0.02, 0.07)])
        shin = np.array([sign * spread * 0.5 + rng.normal(0, 0.04), -1.0, rng.normal(-0.06, 0.07)])
        toe = np.array([sign * rng.uniform(0.0, 0.6), -0.35, 1.0])
        _set_leg(pose, side, frame, thigh, shin, toe)
    if rng.random() < 0.75:
        pose = _with_arms(rng, pose)
    return pose


def _set_leg(pose: FloatArray, side: str, frame: FloatArray, *directions: FloatArray) -> None:
    chain = LEGS[side]
    lengths = [np.linalg.norm(pose[b] - pose[a]) for a, b in pairwise(chain)]
    for (a, b), direction, length in zip(pairwise(chain), directions, lengths, strict=True):
        pose[b] = pose[a] + frame @ (direction / np.linalg.norm(direction)) * length


def _set_arm(pose: FloatArray, side: str, frame: FloatArray, upper: FloatArray, lower: FloatArray) -> None:
    s, e, w = ARMS[side]
    first, second = np.linalg.norm(pose[e] - pose[s]), np.linalg.norm(pose[w] - pose[e])
    pose[e] = pose[s] + frame @ (upper / np.linalg.norm(upper)) * first
    pose[w] = pose[e] + frame @ (lower / np.linalg.norm(lower)) * second


def _with_arms(rng: np.random.Generator, pose: FloatArray) -> FloatArray:
    """Replace one or both arms by templates with noise."""
    pose = pose.copy()
    frame = _chest_frame(pose)
    names = list(ARM_TEMPLATES)
    both = str(rng.choice(names))
    same = rng.random() < 0.35
    for side, sign in (("left", 1.0), ("right", -1.0)):
        if not same and rng.random() < 0.25:
            continue
        name = both if same else ("hanging" if rng.random() < 0.3 else str(rng.choice(names)))
        upper, lower = (np.array(v) * [sign, 1, 1] for v in ARM_TEMPLATES[name])
        upper = upper / np.linalg.norm(upper) + rng.normal(0, 0.13, 3)
        lower = lower / np.linalg.norm(lower) + rng.normal(0, 0.16, 3)
        _set_arm(pose, side, frame, upper, lower)
    return pose


def _template(rng: np.random.Generator, mocap: Mocap) -> FloatArray:
    """Sitting, kneeling, crouching, lying, bending."""
    pose = mocap.sample(rng, upright=True)
    kind = str(rng.choice(["sit", "sit_floor", "kneel", "half_kneel", "crouch", "lie", "bend"],
                          p=[0.42, 0.08, 0.08, 0.08, 0.14, 0.1, 0.1]))  # fmt: skip
    if kind == "bend":
        pose = _lean(rng, pose, float(rng.uniform(0.4, 1.3)))
        return _with_arms(rng, pose) if rng.random() < 0.5 else pose
    lean = {"sit": 0.1, "sit_floor": -0.2, "kneel": 0.05, "half_kneel": 0.15, "crouch": 0.6, "lie": 0.0}[kind]
    pose = _lean(rng, pose, float(rng.normal(lean, 0.18)))
    upright = _yaw_frame(pose)
    pelvis = upright
    crossed = rng.random() < 0.15
    knee_out = float(rng.normal(0.1, 0.15))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        n = rng.normal(0, 0.12, (3, 3))
        if kind == "sit":
            thigh = np.array([sign * (0.1 + knee_out), rng.normal(-0.05, 0.12), 1.0])
            shin = np.array([sign * rng.normal(0, 0.15), -1.0, rng.normal(0, 0.3)])
            if crossed and side == "left":
                thigh, shin = np.array([-0.2, 0.25, 1.0]), np.array([-0.5, -0.8, 0.4])
            toe = np.array([sign * 0.2, -0.3, 1.0])
        elif kind == "sit_floor":
            thigh = np.array([sign * 0.5, 0.2 + abs(n[0, 0]) * 3, 1.0])
            shin = np.array([-sign * rng.uniform(0, 1.0), -0.5, rng.uniform(-0.5, 0.8)])
            toe = np.array([sign * 0.2, 0.1, 1.0])
        elif kind == "kneel" or (kind == "half_kneel" and side == "left"):
            thigh = np.array([sign * 0.15, -1.0, rng.uniform(-0.05, 0.5)])
            shin = np.array([0.0, -0.1, -1.0])
            toe = np.array([0.0, -0.8, -0.6])
        elif kind == "half_kneel":
            thigh, shin, toe = np.array([-0.15, 0.05, 1.0]), np.array([0, -1.0, 0.05]), np.array([0, -0.2, 1.0])
        elif kind == "crouch":
            thigh, shin = np.array([sign * 0.3, rng.uniform(-0.3, 0.4), 1.0]), np.array([0.0, -1.0, -0.6])
            toe = np.array([sign * 0.2, -0.2, 1.0])
        else:  # lying; turned over below
            bend = abs(rng.normal(0, 0.5))
            thigh, shin = np.array([sign * 0.12, -1.0, bend]), np.array([0.0, -1.0, -bend])
            toe = np.array([sign * 0.3, -0.6, 1.0])
        _set_leg(pose, side, pelvis, thigh + n[0], shin + n[1] * 0.5, toe + n[2])
    if rng.random() < 0.8:
        pose = _with_arms(rng, pose)
    if kind == "lie":
        centre = pose[r.PELVIS].copy()
        x = upright[:, 0]
        over = r.axis_rotation(x, float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.1)))
        roll = r.axis_rotation(np.array([0.0, 1.0, 0.0]), float(rng.choice([0, np.pi / 2, -np.pi / 2, np.pi])))
        pose = (pose - centre) @ roll.T @ over.T + centre
    return pose


def _yaw_frame(pose: FloatArray) -> FloatArray:
    x = pose[r.L_HIP] - pose[r.R_HIP]
    x = x * [1, 0, 1]
    x = x / np.linalg.norm(x)
    y = np.array([0.0, 1.0, 0.0])
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _lean(rng: np.random.Generator, pose: FloatArray, angle: float) -> FloatArray:
    """Bend the trunk forward by ``angle`` radians at the hips, and a little to the side."""
    frame = _yaw_frame(pose)
    turn = r.axis_rotation(frame[:, 0], angle) @ r.axis_rotation(frame[:, 2], float(rng.normal(0, 0.08)))
    result = pose.copy()
    result[UPPER] = (pose[UPPER] - pose[r.PELVIS]) @ turn.T + pose[r.PELVIS]
    return result


def _perturb(rng: np.random.Generator, pose: FloatArray) -> FloatArray:
    """Turn upper arms, forearms and legs by a few degrees; elbows and knees are never bent backwards by more."""
    pose = pose.copy()
    for chain in (*ARMS.values(), *LEGS.values()):
        deviation = 0.2 if len(chain) == 3 else 0.1
        for k in range(len(chain) - 1):
            turn = _small_rotation(rng, deviation)
            pivot = pose[chain[k]].copy()
            for joint in chain[k + 1 :]:
                pose[joint] = (pose[joint] - pivot) @ turn.T + pivot
    return pose


def _turn_head(rng: np.random.Generator, pose: FloatArray) -> FloatArray:
    """Nod, turn and tilt the head."""
    pose = pose.copy()
    up = pose[r.HEAD_TOP] - pose[r.HEAD]
    up = up / np.linalg.norm(up)
    forward = pose[r.NOSE] - pose[r.HEAD]
    side = np.cross(up, forward)
    side = side / np.linalg.norm(side)
    turn = (
        r.axis_rotation(up, float(rng.normal(0, 0.45)))
        @ r.axis_rotation(side, float(rng.normal(0, 0.25)))
        @ _small_rotation(rng, 0.08)
    )
    pose[HEAD_GROUP] = (pose[HEAD_GROUP] - pose[r.NECK]) @ turn.T + pose[r.NECK]
    return pose


def _small_rotation(rng: np.random.Generator, deviation: float) -> FloatArray:
    vector = rng.normal(0, deviation / np.sqrt(3), 3)
    angle = float(np.linalg.norm(vector))
    return np.asarray(r.axis_rotation(vector / max(angle, 1e-9), angle))
