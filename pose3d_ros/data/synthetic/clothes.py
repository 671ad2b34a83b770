"""Garments cut from the body itself: shirts, trousers, shorts and skirts of any length and looseness.

The MakeHuman outfits are few, so most people wear these. A garment is the body's own surface, smoothed and pushed
outwards; its edges are cut per pixel where ``cut`` changes its sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from pose3d_ros.data.synthetic.assets import Humans
from pose3d_ros.data.synthetic.types import BoolArray, FloatArray, IntArray

ARM_BONES = ("Arm", "ForeArm", "Hand", "FingerBase", "HandFinger1")
LEG_BONES = ("UpLeg", "Leg", "Foot", "ToeBase")


@dataclass(frozen=True)
class BodyMap:
    """Where on the body each base vertex lies (on the unmorphed mesh).

    Attributes:
        arm: [B] -1 off the arm, else 0 at the shoulder, 1 at the elbow, 2 at the wrist and more on the hand.
        leg: [B] -1 off the legs, else 0 at the hip, 1 at the knee, 2 at the ankle and more on the foot.
        height: [B] height above the hips (0) up to the neck's root (1).
        front: [B] how far forward, metres.
        side: [B] distance from the middle, metres.
    """

    arm: FloatArray
    leg: FloatArray
    height: FloatArray
    front: FloatArray
    side: FloatArray


@dataclass(frozen=True)
class CutGarment:
    """A garment before it is put into a person's mesh.

    Attributes:
        vertices: [V, 3] metres, rest pose.
        source: [V] the base vertex each came from (for skin weights).
        triangles: [F, 3] indices into ``vertices``.
        uv: [F, 3, 2]
        cut: [V] positive inside the garment, in metres along the body.
        hidden: base vertices well under the garment.
    """

    vertices: FloatArray
    source: IntArray
    triangles: IntArray
    uv: FloatArray
    cut: FloatArray
    hidden: IntArray


def map_body(humans: Humans) -> BodyMap:
    """Arm, leg and trunk coordinates of every base vertex."""
    index = {bone.name: k for k, bone in enumerate(humans.bones)}
    vertices = humans.base.vertices
    heads = {bone.name: vertices[bone.head_vertices].mean(0) for bone in humans.bones}
    dense = np.zeros((len(vertices), len(humans.bones)), dtype=np.float32)
    np.put_along_axis(dense, humans.bone_index.astype(np.int64), humans.bone_weight, axis=1)

    def limb(bones: tuple[str, ...]) -> FloatArray:
        result = np.full(len(vertices), -1.0, dtype=np.float32)
        for side in ("Left", "Right"):
            names = [f"{side}{bone}" for bone in bones if f"{side}{bone}" in index]
            if bones is ARM_BONES:
                names.append("LThumb" if side == "Left" else "RThumb")
            on_limb = dense[:, [index[name] for name in names]].sum(1) > 0.4
            chain = [heads[side + bone] for bone in bones[:3]]
            upper = _along(vertices, chain[0], chain[1])
            lower = _along(vertices, chain[1], chain[2])
            value = np.where(lower > 0, 1 + lower, np.minimum(upper, 1))
            result[on_limb] = np.maximum(value[on_limb], -0.5)
        return result

    hip = heads["LeftUpLeg"][1]
    neck = heads["Neck"][1]
    return BodyMap(
        arm=limb(ARM_BONES),
        leg=limb(LEG_BONES),
        height=(vertices[:, 1] - hip) / (neck - hip),
        front=vertices[:, 2],
        side=np.abs(vertices[:, 0]),
    )


def _along(points: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    axis = end - start
    return np.asarray((points - start) @ axis / (axis @ axis))


def cut_shirt(where: BodyMap, sleeve: float, hem: float, neck: float, v_neck: float) -> FloatArray:
    """Signed distance [B] (metres, positive inside) of a shirt.

    Args:
        where: the body map.
        sleeve: how far down the arm, 0 (none) … 2 (wrist).
        hem: its lower edge as trunk height, e.g. -0.1.
        neck: its upper edge as trunk height, e.g. 0.97.
        v_neck: how much deeper the neckline is in front, as trunk height.
    """
    trunk_m = 0.5
    neckline = neck - v_neck * np.clip(1 - where.side / 0.07, 0, 1) * (where.front > 0.02)
    trunk = np.minimum(where.height - hem, neckline - where.height) * trunk_m
    on_arm = where.arm > -1
    shirt = np.where(on_arm, np.minimum((sleeve - where.arm) * 0.27, 0.3), trunk)
    # The lower edge runs around the thighs as well: the leg coordinate takes over below the hips.
    return np.asarray(shirt, dtype=np.float32)


def cut_trousers(where: BodyMap, length: float, waist: float) -> FloatArray:
    """Signed distance [B] of trousers that end ``length`` down the leg (0 hip … 2 ankle)."""
    on_leg = where.leg > -1
    below_waist = (waist - where.height) * 0.5
    along = (length - where.leg) * 0.4
    cut = np.where(on_leg, np.minimum(along, below_waist), below_waist)
    return np.asarray(np.where(where.arm > -1, -1.0, cut), dtype=np.float32)


def cut_skirt(where: BodyMap, length: float, waist: float) -> FloatArray:
    """Signed distance [B] of a skirt on the helper mesh; ``length`` in trunk heights below the hips (knee: 0.8)."""
    return np.asarray(np.minimum(waist - where.height, where.height + length) * 0.5, dtype=np.float32)


def make_garment(
    humans: Humans,
    base: FloatArray,
    cut: FloatArray,
    group: str,
    looseness_m: float,
    smoothing: int,
    flare_m: float,
) -> CutGarment:
    """Cut a garment out of the surface ``group`` of a morphed base mesh.

    Args:
        humans: the assets.
        base: [B, 3] morphed base mesh.
        cut: [B] signed distance, positive inside the garment.
        group: OBJ group, "body" or "helper-skirt".
        looseness_m: distance from the skin.
        smoothing: iterations of Laplacian smoothing (more hides the anatomy).
        flare_m: extra distance towards the edges.
    """
    mesh = humans.base
    rows = mesh.groups == mesh.group_names.index(group)
    triangles, uv = mesh.triangles[rows], mesh.uv[rows]
    keep = (cut[triangles] > -0.03).all(1) & (cut[triangles] > 0).any(1)
    triangles, uv = triangles[keep], uv[keep]
    source, local = np.unique(triangles, return_inverse=True)
    triangles = local.reshape(-1, 3).astype(np.int32)
    vertices = base[source].astype(np.float64)
    normals = vertex_normals(vertices, triangles)
    smooth = _smoother(triangles, len(source))
    for _ in range(smoothing):
        vertices = smooth @ vertices
    inside = cut[source]
    push = looseness_m + flare_m * np.exp(-np.maximum(inside, 0) / 0.08)
    for _ in range(3):
        normals = smooth @ normals
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    vertices += normals * push[:, None]
    margin = 0.025
    hidden = np.flatnonzero(cut > margin) if group == "body" else np.zeros(0, dtype=np.int64)
    return CutGarment(vertices.astype(np.float32), source, triangles, uv, inside.astype(np.float32), hidden)


def _smoother(triangles: IntArray, count: int) -> csr_matrix:
    """Row-normalised adjacency with the vertex itself; open edges move little because they keep themselves."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    rows = np.concatenate([edges[:, 0], edges[:, 1], np.arange(count)])
    columns = np.concatenate([edges[:, 1], edges[:, 0], np.arange(count)])
    matrix = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    matrix.data[:] = 1.0
    degree = np.asarray(matrix.sum(1)).ravel()
    return csr_matrix(matrix.multiply(1 / degree[:, None]))


def vertex_normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """Area-weighted unit normals [V, 3]."""
    corners = vertices[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))


def uncovered(triangles: IntArray, hidden: IntArray, count: int) -> BoolArray:
    """[F] False where all three vertices of a triangle are hidden."""
    is_hidden = np.zeros(count, dtype=bool)
    is_hidden[hidden] = True
    return np.asarray(~is_hidden[triangles].all(1))
