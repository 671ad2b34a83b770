"""New bodies and poses from mocap sequences: sizes, mixed halves, leans, bows, balancing, sitting, free arms. NumPy,
vectorised.

The mocap is mostly upright people walking; robots meet people of every size who sit, crouch, lie and gesture. All
functions take and return sequences [B,T,24,3] in metres, z up, and are smooth in time, so that the motion that a
recurrent network sees stays plausible.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.skeleton import INDEX, MIRROR, NUM_JOINTS, PARENTS, ROOT, indices

Array = NDArray[np.floating]

REFERENCE_STATURE_M = 1.70
_SOLE_M = 0.06  # ankle to sole, less what a standing body's curved chain of bones is longer than its height
_CHILD_STATURE_M = (0.95, 1.45)

_UPPER = indices(
    "spine", "thorax", "neck", "head", "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
    "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
_ABOVE_SPINE = _UPPER[INDEX["spine"] != _UPPER]
_HEAD = indices("head", "nose", "left_eye", "right_eye", "left_ear", "right_ear")
_LEFT_LEG = indices("left_knee", "left_ankle", "left_toe")
_RIGHT_LEG = indices("right_knee", "right_ankle", "right_toe")
_ALL_BUT_LEFT_LEG = np.setdiff1d(np.arange(NUM_JOINTS), _LEFT_LEG)
_STATURE_CHAIN = indices("right_knee", "right_ankle", "spine", "thorax", "neck", "head")

# Limb groups whose lengths vary together: (joints whose bone to the parent it is, sd of the log length, child's ratio).
_GROUPS: tuple[tuple[NDArray[np.intp], float, float], ...] = (
    (indices("left_hip", "right_hip"), 0.10, 1.0),
    (indices("left_knee", "right_knee"), 0.05, 0.90),
    (indices("left_ankle", "right_ankle"), 0.05, 0.90),
    (indices("left_toe", "right_toe"), 0.08, 1.0),
    (indices("spine", "thorax"), 0.05, 1.0),
    (indices("neck"), 0.08, 1.0),
    (_HEAD, 0.06, 1.35),
    (indices("left_shoulder", "right_shoulder"), 0.08, 1.0),
    (indices("left_elbow", "right_elbow"), 0.06, 0.95),
    (indices("left_wrist", "right_wrist"), 0.06, 0.95),
)


def scale_bones(joints: Array, factors: Array) -> Array:
    """Multiply each joint's bone to its parent by ``factors`` [B,24], keeping all directions."""
    scaled = np.empty_like(joints)
    for child, parent in enumerate(PARENTS):
        if parent < 0:
            scaled[..., child, :] = joints[..., child, :]
        else:
            bone = joints[..., child, :] - joints[..., parent, :]
            scaled[..., child, :] = scaled[..., parent, :] + bone * factors[:, None, child, None]
    return scaled


def stature(joints: Array) -> Array:
    """Standing height [B] in metres, from the mean lengths of one leg, the trunk and the head."""
    parents = np.asarray(PARENTS)[_STATURE_CHAIN]
    bones = joints[..., _STATURE_CHAIN, :] - joints[..., parents, :]
    return _SOLE_M + np.linalg.norm(bones, axis=-1).mean(axis=1).sum(axis=-1)


def resize(joints: Array, stature_m: Array) -> Array:
    """Scale whole bodies, path included, to a stature [B] in metres."""
    return joints * (stature_m / stature(joints)).astype(np.float32)[:, None, None, None]


def vary_body(rng: np.random.Generator, joints: Array, child_fraction: float = 0.08) -> Array:
    """Random proportions; adults come out at the reference stature, children at theirs.

    Rays cannot tell a person's size from the distance, so spreading adult statures here would only add noise to the
    target; the size's own uncertainty is added to the network's scale in closed form (`networks.lifter`).
    """
    count = len(joints)
    child = rng.random(count) < child_fraction
    factors = np.ones((count, NUM_JOINTS), np.float32)
    for group, spread, child_ratio in _GROUPS:
        factor = np.exp(rng.normal(0.0, spread, count)) * np.where(child, child_ratio, 1.0)
        factors[:, group] = factor[:, None]
    target = np.where(child, rng.uniform(*_CHILD_STATURE_M, count), REFERENCE_STATURE_M)
    return resize(scale_bones(joints, factors), target)


def yaw_rotation(angle: Array) -> Array:
    """Rotation matrices [...,3,3] about the vertical (z) axis."""
    c, s = np.cos(angle), np.sin(angle)
    o, i = np.zeros_like(c), np.ones_like(c)
    return np.stack([c, -s, o, s, c, o, o, o, i], axis=-1).reshape(*c.shape, 3, 3).astype(np.float32)


def axis_rotation(axis: Array, angle: Array) -> Array:
    """Rotation matrices [B,3,3] about unit axes [B,3] (Rodrigues)."""
    x, y, z = axis[:, 0], axis[:, 1], axis[:, 2]
    o = np.zeros_like(x)
    k = np.stack([o, -z, y, z, o, -x, -y, x, o], axis=-1).reshape(-1, 3, 3)
    s, c = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return (np.eye(3) + s * k + (1 - c) * (k @ k)).astype(np.float32)


def _facing(joints: Array) -> Array:
    """Angle [B,T] of the line from the right to the left hip, seen from above."""
    across = joints[..., INDEX["left_hip"], :] - joints[..., INDEX["right_hip"], :]
    return np.arctan2(across[..., 1], across[..., 0])


def mix_halves(joints: Array, other: Array) -> Array:
    """Put the upper bodies of ``other`` on the legs of ``joints``, turned to face the same way."""
    turn = yaw_rotation(_facing(joints) - _facing(other))
    upper = other[..., _UPPER, :] - other[..., ROOT, None, :]
    mixed = joints.copy()
    mixed[..., _UPPER, :] = joints[..., ROOT, None, :] + upper @ np.swapaxes(turn, -1, -2)
    return mixed


def lean(rng: np.random.Generator, joints: Array, lying_fraction: float) -> Array:
    """Tilt each whole sequence about a horizontal axis: usually some degrees, sometimes until the person lies."""
    count = len(joints)
    angle = rng.normal(0.0, np.radians(3.0), count)
    lying = rng.random(count) < lying_fraction
    far = rng.uniform(np.radians(30), np.radians(110), count)
    heading = rng.uniform(0, 2 * np.pi, count)
    axis = np.stack([np.cos(heading), np.sin(heading), np.zeros(count)], axis=-1)
    root = joints[..., ROOT, None, :]
    return root + (joints - root) @ np.swapaxes(axis_rotation(axis, np.where(lying, far, angle)), -1, -2)[:, None]


def _unit(vector: Array) -> Array:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-6)


def _frame(joints: Array, left: str, right: str, low: str, high: str) -> Array:
    """Body-part frames [B,T,3,3] whose rows are forward, left, up."""
    across = _unit(joints[..., INDEX[left], :] - joints[..., INDEX[right], :])
    spine = joints[..., INDEX[high], :] - joints[..., INDEX[low], :]
    up = _unit(spine - np.sum(spine * across, -1, keepdims=True) * across)
    return np.stack([np.cross(across, up), across, up], axis=-2)


def _between(rng: np.random.Generator, count: int, frames: int, low: float, high: float) -> Array:
    """Angles [B,T] in radians from degrees: a smooth, slow way from one random value to another and back."""
    first, second = rng.uniform(np.radians(low), np.radians(high), (2, count, 1))
    period = rng.uniform(0.7, 3.0, (count, 1)) * 30  # frames
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    blend = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / period + phase)
    blend = np.where(rng.random((count, 1)) < 0.5, blend, 0.0)  # half of them hold still
    return first + blend * (second - first)


def _set_limb(joints: Array, chain: tuple[str, str, str], directions: tuple[Array, Array]) -> None:
    """Point the two bones of a limb along unit directions [B,T,3], in place, keeping the bones' lengths."""
    points = [joints[..., INDEX[name], :].copy() for name in chain]
    lengths = [np.linalg.norm(end - start, axis=-1, keepdims=True) for start, end in pairwise(points)]
    for (start, end), length, direction in zip(pairwise(chain), lengths, directions, strict=True):
        joints[..., INDEX[end], :] = joints[..., INDEX[start], :] + length * direction


def _pitched(flexion: Array, splay: Array, side: float) -> Array:
    """Direction in a part's frame: hanging down, raised forward by ``flexion``, turned outward by ``splay``."""
    forward = np.sin(flexion)
    return np.stack([forward * np.cos(splay), side * forward * np.sin(splay), -np.cos(flexion)], axis=-1)


def bend_legs(rng: np.random.Generator, joints: Array) -> Array:
    """Sit, crouch, kneel or raise a leg: procedural thighs and shanks in the pelvis' frame."""
    out = joints.copy()
    count, frames = joints.shape[:2]
    frame = _frame(joints, "left_hip", "right_hip", "pelvis", "spine")
    symmetric = rng.random((count, 1)) < 0.6
    sitting = rng.random((count, 1)) < 0.6
    previous: tuple[Array, Array] | None = None
    for name, side in (("left", 1.0), ("right", -1.0)):
        thigh = np.where(sitting, _between(rng, count, frames, 70, 105), _between(rng, count, frames, -45, 125))
        knee = np.where(sitting, _between(rng, count, frames, 60, 110), _between(rng, count, frames, 0, 145))
        if previous is not None:
            jitter = rng.normal(0, np.radians(6), (2, count, 1))
            thigh = np.where(symmetric, previous[0] + jitter[0], thigh)
            knee = np.where(symmetric, previous[1] + jitter[1], knee)
        previous = (thigh, knee)
        splay = np.where(symmetric, _between(rng, count, frames, -8, 35), _between(rng, count, frames, -15, 70))
        upper = np.einsum("btk,btkc->btc", _pitched(thigh, splay, side), frame)
        lower = np.einsum("btk,btkc->btc", _pitched(thigh - knee, splay, side), frame)
        foot_pitch = _between(rng, count, frames, 55, 100)
        foot = np.einsum("btk,btkc->btc", _pitched(thigh - knee + foot_pitch, splay, side), frame)
        toe = out[..., INDEX[f"{name}_toe"], :] - out[..., INDEX[f"{name}_ankle"], :]
        _set_limb(out, (f"{name}_hip", f"{name}_knee", f"{name}_ankle"), (upper, lower))
        length = np.linalg.norm(toe, axis=-1, keepdims=True)
        out[..., INDEX[f"{name}_toe"], :] = out[..., INDEX[f"{name}_ankle"], :] + length * foot
    return out


def _turn(axes: Array, forward: Array, sideways: Array, twist: Array) -> Array:
    """Rotations [B,T,3,3] of a part whose frame is ``axes`` [B,T,3,3]: first ``twist`` about its own length, then
    ``sideways`` to its right, then ``forward``; angles [B,T] in radians."""
    forward_axis, left_axis, up_axis = (axes[..., k, :].reshape(-1, 3) for k in range(3))
    steps = ((left_axis, forward), (forward_axis, sideways), (up_axis, twist))
    third, second, first = (axis_rotation(axis, angle.ravel()) for axis, angle in steps)
    return (third @ second @ first).reshape(axes.shape)


def _turn_about(joints: Array, pivot: str, part: NDArray[np.intp], turn: Array) -> None:
    """Turn the joints ``part`` about the joint ``pivot``, in place."""
    centre = joints[..., INDEX[pivot], None, :].copy()
    joints[..., part, :] = centre + (joints[..., part, :] - centre) @ np.swapaxes(turn, -1, -2)


def bow(rng: np.random.Generator, joints: Array) -> Array:
    """Bend over standing legs, as for what lies on the floor or beside: three quarters at the hips, the rest in the
    spine."""
    count, frames = joints.shape[:2]
    axes = _frame(joints, "left_hip", "right_hip", "pelvis", "spine")
    forward = _between(rng, count, frames, -15, 105)
    sideways = np.where(rng.random((count, 1)) < 0.5, _between(rng, count, frames, -60, 60), 0.0)
    twist = rng.normal(0.0, np.radians(12.0), (count, 1)) * np.ones(frames)
    out = joints.copy()
    for pivot, part, share in (("pelvis", _UPPER, 0.75), ("spine", _ABOVE_SPINE, 0.25)):
        _turn_about(out, pivot, part, _turn(axes, share * forward, share * sideways, share * twist))
    return out


def balance(rng: np.random.Generator, joints: Array) -> Array:
    """Tip over the left leg, as who reaches far, kicks, or balances: the pelvis turns with the trunk.

    The right leg goes with the pelvis, or hangs as it did; the chest turns against the pelvis.
    """
    count, frames = joints.shape[:2]
    axes = _frame(joints, "left_hip", "right_hip", "pelvis", "spine")
    forward = _between(rng, count, frames, -25, 95)
    sideways = _between(rng, count, frames, -75, 40)
    twist = _between(rng, count, frames, -35, 35)
    out = joints.copy()
    _turn_about(out, "left_hip", _ALL_BUT_LEFT_LEG, _turn(axes, forward, sideways, twist))
    spine = (_between(rng, count, frames, -most, most) for most in (25, 25, 35))
    tipped = _frame(out, "left_hip", "right_hip", "pelvis", "spine")
    _turn_about(out, "pelvis", _UPPER, _turn(tipped, *spine))
    hangs = rng.random((count, 1, 1, 1)) < 0.4
    hip = INDEX["right_hip"]
    hanging = out[..., hip, None, :] + joints[..., _RIGHT_LEG, :] - joints[..., hip, None, :]
    out[..., _RIGHT_LEG, :] = np.where(hangs, hanging, out[..., _RIGHT_LEG, :])
    return out


def look_about(rng: np.random.Generator, joints: Array) -> Array:
    """Turn heads: down or up, to a side, tilted."""
    count, frames = joints.shape[:2]
    axes = _frame(joints, "left_shoulder", "right_shoulder", "thorax", "neck")
    nod, tilt, yaw = (_between(rng, count, frames, -most, most) for most in (35, 25, 50))
    out = joints.copy()
    _turn_about(out, "neck", _HEAD, _turn(axes, nod, tilt, yaw))
    return out


def free_arms(rng: np.random.Generator, joints: Array) -> Array:
    """Procedural arms in the chest's frame: anywhere in front, up or beside, elbow bent by 0 to 145 degrees."""
    out = joints.copy()
    count, frames = joints.shape[:2]
    frame = _frame(joints, "left_shoulder", "right_shoulder", "spine", "thorax")
    for name, side in (("left", 1.0), ("right", -1.0)):
        moved = rng.random((count, 1, 1)) < 0.75
        raised = _between(rng, count, frames, -20, 165)
        upper = _pitched(raised, _between(rng, count, frames, -25, 100), side)
        # The elbow bends in a plane through the upper arm, towards the front, the middle or above.
        towards = _unit(rng.normal((0.7, -0.5 * side, 0.5), 0.5, (count, 1, 3)))
        towards = _unit(towards - np.sum(towards * upper, -1, keepdims=True) * upper)
        bend = _between(rng, count, frames, 0, 145)[..., None]
        lower = np.cos(bend) * upper + np.sin(bend) * towards
        limb = out.copy()
        directions = tuple(np.einsum("btk,btkc->btc", d, frame) for d in (upper, lower))
        _set_limb(limb, (f"{name}_shoulder", f"{name}_elbow", f"{name}_wrist"), (directions[0], directions[1]))
        arm = indices(f"{name}_elbow", f"{name}_wrist")
        out[..., arm, :] = np.where(moved[..., None], limb[..., arm, :], out[..., arm, :])
    return out


def mirror(joints: Array) -> Array:
    """The mirror image, left and right exchanged."""
    return joints[..., MIRROR, :] * np.array([-1, 1, 1], np.float32)


def augment(rng: np.random.Generator, joints: Array, strength: float = 1.0) -> Array:
    """All of the above, each on a random part of the batch; ``strength`` scales how much of it."""

    def some(fraction: float) -> NDArray[np.intp]:
        return np.flatnonzero(rng.random(len(joints)) < fraction * strength)

    joints = joints.copy()
    rows = some(0.20)
    joints[rows] = mix_halves(joints[rows], joints[rng.permutation(len(joints))[: len(rows)]])
    for fraction, change in ((0.20, bend_legs), (0.20, bow), (0.20, balance), (0.20, look_about), (0.22, free_arms)):
        rows = some(fraction)
        if len(rows):
            joints[rows] = change(rng, joints[rows])
    rows = some(0.5)
    joints[rows] = lean(rng, joints[rows], lying_fraction=0.15)
    rows = some(0.5 / max(strength, 1e-6))
    joints[rows] = mirror(joints[rows])
    turn = yaw_rotation(rng.uniform(0, 2 * np.pi, len(joints)))
    return vary_body(rng, (joints @ np.swapaxes(turn, -1, -2)[:, None]).astype(np.float32))
