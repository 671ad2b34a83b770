"""Puts a rig into a pose that is given as joint positions of somebody else's body.

Bone lengths stay the rig's own; only directions are taken over. Axes: y up, +z forward, +x the person's left.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pose3d_ros.data.synthetic.assets import Bone
from pose3d_ros.data.synthetic.body import Rig
from pose3d_ros.data.synthetic.types import FloatArray, IntArray
from pose3d_ros.skeleton import INDEX

MOCAP_JOINTS = (
    "pelvis", "r_hip", "r_knee", "r_ankle", "r_toe", "l_hip", "l_knee", "l_ankle", "l_toe", "spine", "thorax", "neck",
    "head", "head_top", "l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist", "nose",
)  # fmt: skip
(
    PELVIS, R_HIP, R_KNEE, R_ANKLE, R_TOE, L_HIP, L_KNEE, L_ANKLE, L_TOE, SPINE, THORAX, NECK, HEAD, HEAD_TOP,
    L_SHOULDER, L_ELBOW, L_WRIST, R_SHOULDER, R_ELBOW, R_WRIST, NOSE,
) = range(21)  # fmt: skip

# Segments whose rotation the pose determines.
SEGMENTS = (
    "hips", "chest", "head", "l_clavicle", "l_arm", "l_forearm", "r_clavicle", "r_arm", "r_forearm",
    "l_thigh", "l_shin", "l_foot", "r_thigh", "r_shin", "r_foot",
)  # fmt: skip
_CHEST, _HEAD = 1, 2


@njit(cache=True)
def _unit(v: FloatArray) -> FloatArray:
    return v / max(np.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]), 1e-9)


@njit(cache=True)
def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


@njit(cache=True)
def _frame(first: FloatArray, second: FloatArray) -> FloatArray:
    """Rotation whose first column is ``first`` and whose second lies in the plane of both."""
    a = _unit(first)
    c = _unit(_cross(a, second))
    b = _cross(c, a)
    frame = np.empty((3, 3))
    frame[:, 0] = a
    frame[:, 1] = b
    frame[:, 2] = c
    return frame


@njit(cache=True)
def axis_rotation(axis: FloatArray, angle: float) -> FloatArray:
    """Rotation matrix of ``angle`` radians about a unit axis (Rodrigues)."""
    x, y, z = axis[0], axis[1], axis[2]
    c, s = np.cos(angle), np.sin(angle)
    d = 1 - c
    return np.array(
        [
            [c + x * x * d, x * y * d - z * s, x * z * d + y * s],
            [y * x * d + z * s, c + y * y * d, y * z * d - x * s],
            [z * x * d - y * s, z * y * d + x * s, c + z * z * d],
        ]
    )


@njit(cache=True)
def _minimal(a: FloatArray, b: FloatArray) -> FloatArray:
    """The smallest rotation that turns direction a into b."""
    a = _unit(a)
    b = _unit(b)
    axis = _cross(a, b)
    sine = np.sqrt((axis * axis).sum())
    cosine = (a * b).sum()
    if sine < 1e-8:
        if cosine > 0:
            return np.eye(3)
        side = np.array([1.0, 0.0, 0.0]) if abs(a[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
        return axis_rotation(_unit(_cross(a, side)), np.pi)
    return axis_rotation(axis / sine, np.arctan2(sine, cosine))


@njit(cache=True)
def _between(a: FloatArray, b: FloatArray, t: float) -> FloatArray:
    """Spherical interpolation from rotation a to b."""
    r = b @ a.T
    angle = np.arccos(min(1.0, max(-1.0, (r[0, 0] + r[1, 1] + r[2, 2] - 1) / 2)))
    if angle < 1e-6:
        return a.copy()
    axis = _unit(np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]))
    return axis_rotation(axis, angle * t) @ a


@njit(cache=True)
def _limb(
    parent: FloatArray,
    upper: FloatArray,
    lower: FloatArray,
    rest_upper: FloatArray,
    rest_lower: FloatArray,
    rest_normal: FloatArray,
    hint: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Rotations of a two-bone limb.

    The hinge's axis is the normal of the plane of both bones. When the limb is nearly straight that plane is
    undefined, so it fades to the axis carried along by the parent (and ``hint``, when not zero).
    """
    u, w = _unit(upper), _unit(lower)
    hinge = _cross(u, w)
    bend = np.sqrt((hinge * hinge).sum())
    carried = _minimal(parent @ _unit(rest_upper), u) @ (parent @ rest_normal)
    fallback = _unit(carried + hint)
    t = min(1.0, max(0.0, (bend - 0.12) / 0.3))
    if bend > 1e-6 and (hinge * fallback).sum() < -0.3 * bend:
        t = t * 0.6  # bent the wrong way: half trust
    normal = fallback * (1 - t)
    if bend > 1e-6:
        normal = normal + hinge / bend * t
    rest_a = _frame(rest_upper, rest_normal)
    rest_b = _frame(rest_lower, rest_normal)
    return _frame(u, normal) @ rest_a.T, _frame(w, normal) @ rest_b.T


@njit(cache=True)
def _segments(p: FloatArray, rest: FloatArray) -> FloatArray:
    """Rotations [15, 3, 3] of ``SEGMENTS`` from the rest pose [21, 3] to the pose [21, 3]."""
    out = np.empty((15, 3, 3))
    zero = np.zeros(3)
    x_axis = np.array([1.0, 0.0, 0.0])
    out[0] = (
        _frame(p[L_HIP] - p[R_HIP], p[SPINE] - p[PELVIS])
        @ _frame(rest[L_HIP] - rest[R_HIP], rest[SPINE] - rest[PELVIS]).T
    )
    out[1] = (
        _frame(p[THORAX] - p[SPINE], p[L_SHOULDER] - p[R_SHOULDER])
        @ _frame(rest[THORAX] - rest[SPINE], rest[L_SHOULDER] - rest[R_SHOULDER]).T
    )
    out[2] = (
        _frame(p[HEAD_TOP] - p[HEAD], p[NOSE] - p[HEAD])
        @ _frame(rest[HEAD_TOP] - rest[HEAD], rest[NOSE] - rest[HEAD]).T
    )
    for side in range(2):
        s, e, w = (L_SHOULDER, L_ELBOW, L_WRIST) if side == 0 else (R_SHOULDER, R_ELBOW, R_WRIST)
        h, k, a, t = (L_HIP, L_KNEE, L_ANKLE, L_TOE) if side == 0 else (R_HIP, R_KNEE, R_ANKLE, R_TOE)
        arm = 3 + 3 * side
        clavicle = _minimal(out[1] @ (rest[s] - rest[THORAX]), p[s] - p[THORAX])
        out[arm] = _between(np.eye(3), clavicle, 0.8) @ out[1]
        rest_normal = _unit(_cross(rest[e] - rest[s], rest[w] - rest[e]))
        upper, lower = _limb(out[1], p[e] - p[s], p[w] - p[e], rest[e] - rest[s], rest[w] - rest[e], rest_normal, zero)
        out[arm + 1] = upper
        out[arm + 2] = lower
        leg = 9 + 3 * side
        foot = p[t] - p[a]
        hint = _cross(p[a] - p[k], foot)
        hint = -_unit(hint) * 0.7
        # A knee bends about the body's left-right axis; in the rest pose the legs are too straight to tell.
        rest_axis = _frame(rest[k] - rest[h], x_axis)[:, 1]
        if (hint * (out[0] @ x_axis)).sum() < 0:
            hint = zero
        upper, lower = _limb(out[0], p[k] - p[h], p[a] - p[k], rest[k] - rest[h], rest[a] - rest[k], rest_axis, hint)
        out[leg] = upper
        out[leg + 1] = lower
        normal = lower @ rest_axis
        out[leg + 2] = _frame(foot, normal) @ _frame(rest[t] - rest[a], rest_axis).T
    return out


def rest_pose(rig: Rig) -> FloatArray:
    """The rig's own rest pose [21, 3] in the mocap's joints."""
    j = rig.joints
    left_right = {"l": "left", "r": "right"}
    pose = np.zeros((21, 3))
    for k, name in enumerate(MOCAP_JOINTS):
        side, _, part = name.partition("_")
        ours = f"{left_right[side]}_{part}" if side in left_right and part else name
        if ours in INDEX and name not in ("head", "nose"):
            pose[k] = j[INDEX[ours]]
    # Ear level, and the crown and nose as the mocap constructs them from the head's axes.
    pose[HEAD] = (j[INDEX["left_ear"]] + j[INDEX["right_ear"]]) / 2
    pose[HEAD_TOP] = pose[HEAD] + [0, 0.12, 0]
    pose[NOSE] = pose[HEAD] + [0, -0.02, 0.115]
    return pose


def bone_rotations(
    rng: np.random.Generator, bones: tuple[Bone, ...], rig: Rig, pose: FloatArray, relaxed: bool = False
) -> FloatArray:
    """Global rotations [bones, 3, 3] of a pose [21, 3] (metres, y up).

    Wrists and fingers, which the pose does not hold, are bent at random unless ``relaxed``.
    """
    seg = _segments(np.ascontiguousarray(pose, dtype=np.float64), rest_pose(rig))
    by_name = dict(zip(SEGMENTS, seg, strict=True))
    noise = 0.0 if relaxed else 1.0
    result = np.tile(np.eye(3), (len(bones), 1, 1))
    index = {bone.name: k for k, bone in enumerate(bones)}
    rotation: dict[str, FloatArray] = {
        "Hips": by_name["hips"],
        "LHipJoint": by_name["hips"],
        "RHipJoint": by_name["hips"],
        "LowerBack": _between(by_name["hips"], by_name["chest"], 0.33),
        "Spine": _between(by_name["hips"], by_name["chest"], 0.67),
        "Spine1": by_name["chest"],
        "Neck": _between(by_name["chest"], by_name["head"], 0.33),
        "Neck1": _between(by_name["chest"], by_name["head"], 0.67),
        "Head": by_name["head"],
    }
    for side, short in (("Left", "l"), ("Right", "r")):
        rotation[f"{side}Shoulder"] = by_name[f"{short}_clavicle"]
        rotation[f"{side}Arm"] = by_name[f"{short}_arm"]
        rotation[f"{side}ForeArm"] = by_name[f"{short}_forearm"]
        rotation[f"{side}UpLeg"] = by_name[f"{short}_thigh"]
        rotation[f"{side}Leg"] = by_name[f"{short}_shin"]
        rotation[f"{side}Foot"] = by_name[f"{short}_foot"]
        rotation[f"{side}ToeBase"] = by_name[f"{short}_foot"]
        fore = rig.heads[index[f"{side}Hand"]] - rig.heads[index[f"{side}ForeArm"]]
        fore = fore / np.linalg.norm(fore)
        thumb = rig.heads[index[f"{short.upper()}Thumb"]] - rig.heads[index[f"{side}Hand"]]
        across = thumb - fore * (thumb @ fore)
        across = across / np.linalg.norm(across)
        palm = np.cross(fore, across)
        twist = axis_rotation(fore, float(rng.normal(0, 0.6)) * noise)
        bend = axis_rotation(across, float(rng.normal(0, 0.25)) * noise)
        deviate = axis_rotation(palm, float(rng.normal(0, 0.15)) * noise)
        hand = by_name[f"{short}_forearm"] @ twist @ bend @ deviate
        rotation[f"{side}Hand"] = hand
        sign = -1.0 if side == "Left" else 1.0
        curl = float(rng.uniform(0.1, 0.9)) if not relaxed else 0.4
        fingers = hand @ axis_rotation(across, sign * curl)
        rotation[f"{side}FingerBase"] = fingers
        rotation[f"{side}HandFinger1"] = fingers @ axis_rotation(across, sign * curl)
        rotation[f"{short.upper()}Thumb"] = hand
    for name, matrix in rotation.items():
        result[index[name]] = matrix
    return result


def forward_kinematics(rig: Rig, rotations: FloatArray) -> FloatArray:
    """Bone transforms [bones, 3, 4]: ``x -> R x + t`` from rest to pose, the hips' head staying where it is."""
    heads = rig.heads
    posed = np.empty_like(heads)
    transforms = np.empty((len(heads), 3, 4))
    for k, parent in enumerate(rig.parents):
        if parent < 0:
            posed[k] = heads[k]
        else:
            posed[k] = posed[parent] + rotations[parent] @ (heads[k] - heads[parent])
        transforms[k, :, :3] = rotations[k]
        transforms[k, :, 3] = posed[k] - rotations[k] @ heads[k]
    return transforms


def pose_joints(rig: Rig, transforms: FloatArray) -> FloatArray:
    """The 24 joints [24, 3] under bone transforms [bones, 3, 4]."""
    own = transforms[rig.joint_bones]  # [24, 2, 3, 4]
    moved = np.einsum("jbik,jk->jbi", own[..., :3], rig.joints) + own[..., 3]
    return np.asarray(moved.mean(1))


@njit(cache=True, fastmath=True)
def skin(vertices: FloatArray, bone_index: IntArray, bone_weight: FloatArray, transforms: FloatArray) -> FloatArray:
    """Linear blend skinning: [V, 3] vertices, [V, 4] bones and weights, [bones, 3, 4] transforms → [V, 3]."""
    out = np.empty(vertices.shape, np.float32)
    for v in range(len(vertices)):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        a = np.float32(0.0)
        b = np.float32(0.0)
        c = np.float32(0.0)
        for k in range(4):
            w = bone_weight[v, k]
            if w > 0:
                m = transforms[bone_index[v, k]]
                a += w * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
                b += w * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
                c += w * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
        out[v, 0] = a
        out[v, 1] = b
        out[v, 2] = c
    return out
