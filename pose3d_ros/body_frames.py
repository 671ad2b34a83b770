"""Which way the links of a body are turned, and the angles of its joints, from the places of the joints alone.

Links and angles are those of ROS4HRI's model of a human (REP-155; the URDF of the package human_description). A link
has x ahead, y to the person's left and z up while the person stands upright with hanging arms. The rule, whatever
frame the joints are given in:

* **Trunk** (`body` at the pelvis, `torso` at the thorax): one piece, since places do not tell how the pelvis is tilted.
  z from the pelvis to the thorax; y along the lines of hips and shoulders, both from right to left, added up (or the
  one that is known), square to z. The model's only angle between the two, `waist`, is 0.
* **Head** (midway between the ears): y from the right to the left ear; x towards the middle of nose and eyes, square to
  y, which is level where the face looks straight ahead.
* **Upper arm, thigh** (`shoulder`, `hip`): -z along the limb. The hinge below shows how it is twisted: an elbow bends
  the forearm towards x, a knee the shank away from x. Where the limb is straight, or folded, to STRAIGHT_DEG, or its
  end is not known, the hinge is not seen: x is the trunk's then, carried along the shortest way from the hanging limb.
* **Forearm, shank** (`elbow`, `knee`): -z along the limb, y that of the link above, square to z. `wrist` and `ankle`
  are turned likewise: hands and feet are not seen.

Angles in radians; a limb is turned against the trunk by R, s is 1 on the left and -1 on the right:

* Shoulder: R = Rz(-s y) Rx(s p) Rz(s r): p raises the arm sideways, y brings it ahead, r twists it. Of the two
  solutions, that whose y lies within 90° of the middle of the model's range. Of an arm that hangs or points up,
  y and r turn about the same axis.
* Hip: R = Rz(-y) Rx(s p) Ry(-r): r raises the thigh ahead, p spreads it, y twists it.
* Elbow (0 to π) and knee (-π to 0): how far the limb bends about its hinge; 0 is straight.
* Head: R = Rx(r) Rz(y) Ry(-p): y turns it to the left, p lifts the chin, r tilts it to the right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.skeleton import INDEX, ROOT, indices

Array = NDArray[np.float64]

STRAIGHT_DEG = 20.0
"""An error of 5 cm in the elbow bends a straight arm as far: to which side a limb bends less than that says nothing."""
MAX_SIGMA_M = 0.1
"""Joints with a larger sigma, relative to the pelvis, are not known: a forearm would be off by more than 30° then."""

_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_LIMBS = [[f"{side}_{part}" for part in limb] for side in ("left", "right") for limb in (_ARM, _LEG)]
_LIMB_JOINTS = np.array([indices(*limb) for limb in _LIMBS])
_TOWARDS_X = np.array([[1.0], [-1.0], [1.0], [-1.0]])  # or away from x: where a limb's hinge bends it
_SIGN = np.array([1.0, -1.0])  # left, right

_BETWEEN = [("pelvis", "pelvis"), ("thorax", "thorax"), ("left_ear", "right_ear")]
_ORIGINS = np.array([indices(*pair) for pair in _BETWEEN] + [[joint] * 2 for joint in _LIMB_JOINTS.ravel()])
LINKS: tuple[str, ...] = (
    *("body", "torso", "head"),
    *(name.replace("left", "l").replace("right", "r") for limb in _LIMBS for name in limb),
)
"""The model's links whose places are known; l_ and r_: the person's left and right."""
_OF_A_SIDE = ("y_shoulder", "p_shoulder", "r_shoulder", "elbow", "y_hip", "p_hip", "r_hip", "knee")
ANGLES: tuple[str, ...] = (
    *("waist", "r_head", "y_head", "p_head"),
    *(f"{side}_{name}" for side in "lr" for name in _OF_A_SIDE),
)
"""The model's joints that turn."""

_LEAST_M = 1e-6
_MIDDLE_OF_Y_SHOULDER = 0.4  # of the model's range, -1.1 to 1.9


def known_joints(joints_m: ArrayLike, cov: ArrayLike) -> Array:
    """Joints [..., 24, 3], metres, with NaN for those whose sigma relative to the pelvis is larger than MAX_SIGMA_M.

    cov: [..., 24, 3, 3] metres². How well the pelvis is placed is part of every joint's, and does not matter here.
    sigma: root mean square over the axes.
    """
    joints, variance = np.asarray(joints_m, np.float64), np.trace(np.asarray(cov, np.float64), axis1=-2, axis2=-1) / 3
    relative = variance - variance[..., ROOT, None]
    return np.where((relative <= MAX_SIGMA_M**2)[..., None], joints, np.nan)


def origins_of(joints_m: ArrayLike) -> Array:
    """[..., 15, 3] metres: where each of LINKS is, by the joints [..., 24, 3]."""
    return np.asarray(np.asarray(joints_m, np.float64)[..., _ORIGINS, :].mean(-2))


def turns_of(joints_m: ArrayLike) -> Array:
    """[..., 15, 3, 3]: the x, y and z, in columns, of each of LINKS in the frame of the joints [..., 24, 3], metres.

    NaN where the joints do not tell, because they are NaN or in one place.
    """
    joints = np.asarray(joints_m, np.float64)
    at = {name: joints[..., k, :] for name, k in INDEX.items()}
    trunk = _trunk(at)
    upper, lower = _limbs(trunk, joints)
    limbs = np.stack([upper, lower, lower], -3)
    middle = np.stack([trunk, trunk, _head(at)], -3)
    turns = np.concatenate([middle, limbs.reshape(*limbs.shape[:-4], 12, 3, 3)], -3)
    turns[np.isnan(turns).any((-2, -1))] = np.nan  # one axis is no rotation
    return turns


def tree_of(origins_m: ArrayLike, turns: ArrayLike) -> tuple[Array, Array]:
    """Origins [..., 15, 3] and turns [..., 15, 3, 3] of LINKS, all but the body (the first) relative to the body."""
    origins, turns = np.asarray(origins_m, np.float64), np.asarray(turns, np.float64)
    to_body = np.swapaxes(turns[..., :1, :, :], -1, -2)
    places = (to_body @ (origins[..., 1:, :] - origins[..., :1, :])[..., None])[..., 0]
    return (
        np.concatenate([origins[..., :1, :], places], -2),
        np.concatenate([turns[..., :1, :, :], to_body @ turns[..., 1:, :, :]], -3),
    )


def angles_of(turns: ArrayLike) -> Array:
    """[..., 20] radians: each of ANGLES, by the turns [..., 15, 3, 3] of LINKS.

    NaN where these are not known, and for what turns nothing that is known: the twist of an arm without a forearm.
    """
    turns = np.asarray(turns, np.float64)
    trunk, head = turns[..., 0, :, :], turns[..., 2, :, :]
    to_trunk = np.swapaxes(trunk, -1, -2)
    limbs = turns[..., 3:, :, :].reshape(*turns.shape[:-3], 2, 2, 3, 3, 3)  # side, arm or leg, link
    upper, lower = limbs[..., 0, :, :], limbs[..., 1, :, :]
    arm, leg = np.moveaxis(to_trunk[..., None, None, :, :] @ upper, -3, 0)
    elbow, knee = np.moveaxis(_bend(upper, lower), -1, 0)
    y, p, r = _shoulder_angles(arm)
    of_sides = np.stack([y, p, r + 0 * elbow, elbow, *_hip_angles(leg), -knee], -1)
    middle = np.stack([0 * trunk[..., 0, 0], *_head_angles(to_trunk @ head)], -1)
    return np.concatenate([middle, of_sides.reshape(*middle.shape[:-1], 16)], -1)


def _trunk(at: dict[str, Array]) -> Array:
    z = _unit(at["thorax"] - at["pelvis"])
    lines = [at[f"left_{part}"] - at[f"right_{part}"] for part in ("hip", "shoulder")]
    y = _unit(_aside(np.nansum(lines, axis=0), z))
    return np.stack([np.cross(y, z), y, z], -1)


def _head(at: dict[str, Array]) -> Array:
    y = _unit(at["left_ear"] - at["right_ear"])
    face = at["nose"] / 2 + (at["left_eye"] + at["right_eye"]) / 4
    x = _unit(_aside(face - (at["left_ear"] + at["right_ear"]) / 2, y))
    return np.stack([x, y, np.cross(x, y)], -1)


def _limbs(trunk: Array, joints: Array) -> tuple[Array, Array]:
    """The turns [..., 4, 3, 3] of the upper and the lower links of _LIMBS."""
    root, hinge, end = np.moveaxis(joints[..., _LIMB_JOINTS, :], -2, 0)
    upper, lower = _unit(hinge - root), _unit(end - hinge)
    bend = _TOWARDS_X * _aside(lower, upper)
    is_seen = np.linalg.norm(bend, axis=-1, keepdims=True) > np.sin(np.radians(STRAIGHT_DEG))
    x = np.where(is_seen, _unit(bend), _carried(trunk[..., None, :, :], upper))
    y = np.cross(x, upper)
    lower_y = _unit(_aside(y, lower))
    return np.stack([x, y, -upper], -1), np.stack([np.cross(lower, lower_y), lower_y, -lower], -1)


def _carried(trunk: Array, along: Array) -> Array:
    """The trunk's x after the shortest turn of its -z to `along`; to the opposite, that about x."""
    x, z = trunk[..., 0], trunk[..., 2]
    once = 1 - _dot(z, along)
    share = _dot(x, along) / np.maximum(once, 1e-12)
    return np.where(once > 1e-9, _unit(_aside(x - share * (along - z), along)), x)


def _shoulder_angles(R: Array) -> tuple[Array, Array, Array]:
    ahead, outward = -R[..., 0, 2], -_SIGN * R[..., 1, 2]  # of the upper arm, -z
    aside = np.hypot(ahead, outward)
    y = np.where(aside <= 1e-6, 0.0, np.arctan2(ahead, outward))
    p = np.arctan2(aside, R[..., 2, 2])
    off = y - _MIDDLE_OF_Y_SHOULDER
    is_other = np.abs(off) > np.pi / 2
    y, p = np.where(is_other, y - np.copysign(np.pi, off), y), np.where(is_other, -p, p)
    # How far x lies from that of Rz(-s y) Rx(s p), towards its y.
    along = np.cos(y) * R[..., 0, 0] - _SIGN * np.sin(y) * R[..., 1, 0]
    across = _SIGN * np.sin(y) * R[..., 0, 0] + np.cos(y) * R[..., 1, 0]
    return y, p, _SIGN * np.arctan2(np.cos(p) * across + _SIGN * np.sin(p) * R[..., 2, 0], along)


def _hip_angles(R: Array) -> tuple[Array, Array, Array]:
    # Rz(a) Rx(b) Ry(c): its last row is -cos b sin c, sin b, cos b cos c; its y begins with -sin a cos b, cos a cos b.
    p = _SIGN * np.arcsin(np.clip(R[..., 2, 1], -1, 1))
    return np.arctan2(R[..., 0, 1], R[..., 1, 1]), p, np.arctan2(R[..., 2, 0], R[..., 2, 2])


def _head_angles(R: Array) -> tuple[Array, Array, Array]:
    # Rx(a) Rz(b) Ry(c): its first row is cos b cos c, -sin b, cos b sin c; its y ends with cos a cos b, sin a cos b.
    y = np.arcsin(np.clip(-R[..., 0, 1], -1, 1))
    return np.arctan2(R[..., 2, 1], R[..., 1, 1]), y, -np.arctan2(R[..., 0, 2], R[..., 0, 0])


def _bend(upper: Array, lower: Array) -> Array:
    """[..., 2, 2], 0...π: by how much each side's elbow and knee are bent; those bent otherwise count as straight."""
    along = -lower[..., 2]
    towards_x = _TOWARDS_X.reshape(2, 2) * _dot(along, upper[..., 0])[..., 0]
    return np.arctan2(np.maximum(towards_x, 0.0), -_dot(along, upper[..., 2])[..., 0])


def _dot(one: Array, other: Array) -> Array:
    """[..., 1] of vectors [..., 3]."""
    return (one * other).sum(-1, keepdims=True)


def _unit(vector: Array) -> Array:
    """Vectors [..., 3] of length 1; NaN for those without a length."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.divide(vector, length, out=np.full(vector.shape, np.nan), where=length > _LEAST_M)


def _aside(vector: Array, axis: Array) -> Array:
    """The part of vectors [..., 3] that is square to unit axes [..., 3]."""
    return vector - _dot(vector, axis) * axis
