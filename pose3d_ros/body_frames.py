"""Which way the body's links are turned, and the angles of its joints, from the positions of the joints alone.

Links and angles are those of REP-155's kinematic model (the URDF of `human_description`). A link's frame has x forward,
y to the person's left and z up while the person stands upright with the arms hanging down. The rule, for joints in any
frame:

* **Trunk** (`body` at the pelvis, `torso` at the thorax; one rotation): z from the pelvis to the thorax; y along the
  sum of the lines right hip - left hip and right shoulder - left shoulder, perpendicular to z; x = y × z. Positions do
  not show how the pelvis is tilted, and the model has no joint for a trunk that is twisted or bent sideways: it is one
  piece, and the angle `waist` is 0.
* **Head** (midway between the ears): y from the right to the left ear; x from there to midway between the nose and the
  middle of the eyes, perpendicular to y, which is level where the face looks straight ahead; z = x × y.
* **Upper limbs' links** (`shoulder`, `hip`): -z along the upper arm or thigh. Their twist is that of the hinge: x is
  where the forearm bends to, and away from where the shank bends to, perpendicular to z. Where elbow or knee are bent
  by less than STRAIGHT_DEG, the hinge is not seen, and x is the trunk's, carried along on the shortest way from the
  hanging limb to where it is.
* **Lower limbs' links** (`elbow`, `knee`): -z along the forearm or shank; y is that of the link above, made
  perpendicular to z. `wrist` and `ankle` are turned as they are. What hands and feet do is not seen.

Angles, in radians, positive as the model has them; each limb's three make up its rotation R against the trunk, s = 1 on
the left and -1 on the right:

* Shoulder: R = Rz(-s y) Rx(s p) Rz(s r). p raises the arm sideways, y then brings it forward, r twists it. Of the two
  solutions, that with y within ±90° of 23°, the middle of the model's range. Of an arm that hangs down or points up, y
  and r are one: y is 0.
* Hip: R = Rz(-y) Rx(s p) Ry(-r). r raises the thigh forward, p spreads it, y twists it.
* Elbow 0 to π; knee -π to 0; 0 is straight.
* Head: R = Rx(r) Rz(y) Ry(-p). y turns it to the left, p lifts the chin, r tilts it to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.skeleton import INDEX

Array = NDArray[np.float64]

STRAIGHT_DEG = 10.0

_ORIGINS = {
    "body": ("pelvis",),
    "torso": ("thorax",),
    "head": ("left_ear", "right_ear"),
    **{
        f"{side[0]}_{part}": (f"{side}_{part}",)
        for side in ("left", "right")
        for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}
LINKS: tuple[str, ...] = tuple(_ORIGINS)
"""REP-155's links that the joints show; l_ and r_ are the person's left and right."""
_SHOULDER_AND_ELBOW = ("y_shoulder", "p_shoulder", "r_shoulder", "elbow")
_HIP_AND_KNEE = ("y_hip", "p_hip", "r_hip", "knee")
ANGLES: tuple[str, ...] = (
    "waist", "r_head", "y_head", "p_head",
    *(f"{side}_{name}" for side in "lr" for name in _SHOULDER_AND_ELBOW),
    *(f"{side}_{name}" for side in "lr" for name in _HIP_AND_KNEE),
)  # fmt: skip
"""REP-155's joints that turn."""

_LEAST_LENGTH_M = 1e-6
_MIDDLE_OF_Y_SHOULDER = 0.4  # between the model's limits, -1.1 and 1.9


class Links(NamedTuple):
    """Of each of LINKS: origin_m [15, 3] metres, and turn [15, 3, 3], whose columns are its x, y and z.

    NaN where joints that tell them are not known, or coincide.
    """

    origin_m: Array
    turn: Array


def links_of(joints_m: ArrayLike) -> Links:
    """The links of a person whose joints [24, 3] are given in metres, by the rule above; in the joints' frame."""
    at = dict(zip(INDEX, np.asarray(joints_m, np.float64), strict=True))
    trunk = _trunk(at)
    turn = {"body": trunk, "torso": trunk, "head": _head(at)}
    for side in ("left", "right"):
        arm = [at[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist")]
        leg = [at[f"{side}_{part}"] for part in ("hip", "knee", "ankle")]
        turn[f"{side[0]}_shoulder"], turn[f"{side[0]}_elbow"] = _limb(trunk, arm, bends_to=1)
        turn[f"{side[0]}_hip"], turn[f"{side[0]}_knee"] = _limb(trunk, leg, bends_to=-1)
        turn[f"{side[0]}_wrist"], turn[f"{side[0]}_ankle"] = turn[f"{side[0]}_elbow"], turn[f"{side[0]}_knee"]
    origin = [np.mean([at[name] for name in names], axis=0) for names in _ORIGINS.values()]
    turns = np.stack([turn[link] for link in LINKS])
    turns[np.isnan(turns).any((1, 2))] = np.nan  # one axis is no rotation
    return Links(np.stack(origin), turns)


def angles_of(links: Links) -> Array:
    """[20] radians of each of ANGLES, by the rule above; NaN where links are not known."""
    turn = dict(zip(LINKS, links.turn, strict=True))
    against_trunk = {link: turn["body"].T @ turn[link] for link in LINKS}
    angles = {"waist": 0.0 * turn["body"][0, 0]}  # NaN if the trunk is
    angles |= dict(zip(("r_head", "y_head", "p_head"), _head_angles(against_trunk["head"]), strict=True))
    for side, sign in (("l", 1), ("r", -1)):
        elbow = _angle_between(turn[f"{side}_shoulder"], turn[f"{side}_elbow"])
        knee = -_angle_between(turn[f"{side}_hip"], turn[f"{side}_knee"])
        arm = (*_shoulder_angles(against_trunk[f"{side}_shoulder"], sign), elbow)
        leg = (*_hip_angles(against_trunk[f"{side}_hip"], sign), knee)
        angles |= {f"{side}_{name}": angle for name, angle in zip(_SHOULDER_AND_ELBOW, arm, strict=True)}
        angles |= {f"{side}_{name}": angle for name, angle in zip(_HIP_AND_KNEE, leg, strict=True)}
    return np.array([angles[name] for name in ANGLES])


def _trunk(at: dict[str, Array]) -> Array:
    z = _unit(at["thorax"] - at["pelvis"])
    across = at["left_hip"] - at["right_hip"] + at["left_shoulder"] - at["right_shoulder"]
    y = _unit(_aside(across, z))
    return np.stack([np.cross(y, z), y, z], 1)


def _head(at: dict[str, Array]) -> Array:
    middle = (at["left_ear"] + at["right_ear"]) / 2
    y = _unit(at["left_ear"] - at["right_ear"])
    face = (at["nose"] + (at["left_eye"] + at["right_eye"]) / 2) / 2
    x = _unit(_aside(face - middle, y))
    return np.stack([x, y, np.cross(x, y)], 1)


def _limb(trunk: Array, ends: Sequence[Array], bends_to: int) -> tuple[Array, Array]:
    """The turns of a limb's upper and lower link, which have three ends.

    bends_to: 1 if its hinge bends it to x, -1 if away from x.
    """
    root, hinge, end = ends
    upper, lower = _unit(hinge - root), _unit(end - hinge)
    bend = bends_to * _aside(lower, upper)
    is_bent = np.arctan2(np.linalg.norm(bend), lower @ upper) >= np.radians(STRAIGHT_DEG)
    # A limb folded upon itself has no plane either.
    is_seen = is_bent and np.linalg.norm(bend) > _LEAST_LENGTH_M
    x = _unit(bend) if is_seen else _carried(trunk, upper)
    y = np.cross(-upper, x)
    lower_y = _unit(_aside(y, lower))
    return np.stack([x, y, -upper], 1), np.stack([np.cross(lower_y, -lower), lower_y, -lower], 1)


def _carried(trunk: Array, along: Array) -> Array:
    """The trunk's x after the shortest turn of its -z to `along`; of the many to the opposite, the one about x."""
    x, down = trunk[:, 0], -trunk[:, 2]
    once = 1 + down @ along
    if once < 1e-9:
        return x
    return _unit(_aside(x - (x @ along) / once * (down + along), along))


def _shoulder_angles(R: Array, sign: int) -> tuple[float, float, float]:
    forward, outward = -R[0, 2], -sign * R[1, 2]  # of the upper arm, -z
    aside = np.hypot(forward, outward)
    y = np.arctan2(forward, outward) if aside > 1e-6 else 0.0 * aside
    p = np.arctan2(aside, R[2, 2])
    if abs(y - _MIDDLE_OF_Y_SHOULDER) > np.pi / 2:
        y, p = y - np.copysign(np.pi, y - _MIDDLE_OF_Y_SHOULDER), -p
    twist = (_about_z(-sign * y) @ _about_x(sign * p)).T @ R
    return float(y), float(p), float(sign * np.arctan2(twist[1, 0], twist[0, 0]))


def _hip_angles(R: Array, sign: int) -> tuple[float, float, float]:
    # R = Rz(a) Rx(b) Ry(c): the last row is (-cos b sin c, sin b, cos b cos c), the y column begins with
    # (-sin a cos b, cos a cos b).
    p = sign * np.arcsin(np.clip(R[2, 1], -1, 1))
    return float(-np.arctan2(-R[0, 1], R[1, 1])), float(p), float(-np.arctan2(-R[2, 0], R[2, 2]))


def _head_angles(R: Array) -> tuple[float, float, float]:
    # R = Rx(a) Rz(b) Ry(c): the first row is (cos b cos c, -sin b, cos b sin c), the y column
    # (-sin b, cos a cos b, sin a cos b).
    y = np.arcsin(np.clip(-R[0, 1], -1, 1))
    return float(np.arctan2(R[2, 1], R[1, 1])), float(y), float(-np.arctan2(R[0, 2], R[0, 0]))


def _angle_between(upper: Array, lower: Array) -> float:
    """Of two links' z axes, 0...π; exact also where they are nearly parallel."""
    one, other = upper[:, 2], lower[:, 2]
    return float(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other))


def _about_x(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def _about_z(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0], [0, 0, 1]])


def _unit(vector: Array) -> Array:
    """NaN if the vector has no length."""
    length = np.linalg.norm(vector)
    return vector / length if length > _LEAST_LENGTH_M else np.full(3, np.nan)


def _aside(vector: Array, axis: Array) -> Array:
    """The part of a vector that is perpendicular to a unit axis."""
    return np.asarray(vector - (vector @ axis) * axis)
