"""Draws posed people and boxes with one camera, and tells which joints can be seen.

World frame: y up, metres, the floor at y = 0. Camera frame: optical (x right, y down, z forward).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pose3d_ros import skeleton
from pose3d_ros.data.synthetic import raster
from pose3d_ros.data.synthetic.lighting import Light
from pose3d_ros.data.synthetic.types import BoolArray, ByteArray, FloatArray, IntArray

VISIBLE, SELF_OCCLUDED, OCCLUDED, OUTSIDE = range(4)
SHADOW_SIZE = 144  # coarse enough for the people's vertices to close the surface, see ``_shadow_map``
DENSE_VERTICES = 5000
SUPERSAMPLING = 2
# A joint lies inside the body: how far behind the surface it still counts as visible.
_DEPTH_TOLERANCE_M = np.full(skeleton.NUM_JOINTS, 0.12)
_DEPTH_TOLERANCE_M[skeleton.indices("pelvis", "spine", "thorax", "right_hip", "left_hip")] = 0.20
_DEPTH_TOLERANCE_M[skeleton.indices("nose", "left_eye", "right_eye", "left_ear", "right_ear")] = 0.06


@dataclass(frozen=True)
class Solid:
    """A posed mesh in the world, person or thing.

    Attributes:
        vertices: [V, 3] world, metres.
        rest: [V, 3] metres, coordinates for patterns.
        cut: [V] see ``person.Person``.
        triangles: [F, 3]; uv: [F, 3, 2]; part: [F] row of ``materials``.
        materials: [M, MATERIAL_COLUMNS].
        joints: [24, 3] world, or None for a thing.
    """

    vertices: FloatArray
    rest: FloatArray
    cut: FloatArray
    triangles: IntArray
    uv: FloatArray
    part: ByteArray
    materials: FloatArray
    joints: FloatArray | None


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: ``x_camera = rotation @ (x_world - position)``.

    The middle of its first pixel is 0, as everywhere in the package but in the rasteriser's buffers, where it is 0.5.
    """

    K: FloatArray
    rotation: FloatArray
    position: FloatArray
    width: int
    height: int

    def from_world(self, points: FloatArray) -> FloatArray:
        """World [..., 3] → camera [..., 3]."""
        moved: FloatArray = (points - self.position) @ self.rotation.T
        return moved

    def shows(self, px: FloatArray) -> BoolArray:
        """Which pixels [N, 2] lie in the picture."""
        return np.asarray(((px >= -0.5) & (px < np.array([self.width, self.height]) - 0.5)).all(1))


@dataclass(frozen=True)
class Rendering:
    """One rendered picture before the camera's imperfections.

    Attributes:
        colour: [H, W, 3] linear RGB, premultiplied; coverage: [H, W].
        depth: [sH, sW] 1/z of the supersampled buffer; solid: [sH, sW] index of the solid seen, -1 none.
        floor_shadow: [H, W] share of the light that reaches the floor (1 where there is no floor).
    """

    colour: FloatArray
    coverage: FloatArray
    depth: FloatArray
    solid: IntArray
    floor_shadow: FloatArray


@dataclass(frozen=True)
class Label:
    """What is known of one person in a picture; fields as in ``shards``."""

    joints_px: FloatArray
    joints_m: FloatArray
    visibility: ByteArray
    box: FloatArray
    box_full: FloatArray
    visible_fraction: float


def extent(points: FloatArray) -> FloatArray:
    """The lower and the upper corner [2, K] of points [N, K]; ten times as fast as NumPy along the long axis."""
    points = np.ascontiguousarray(points)
    return np.concatenate([cv2.reduce(points, 0, cv2.REDUCE_MIN), cv2.reduce(points, 0, cv2.REDUCE_MAX)])


def look_at(position: FloatArray, target: FloatArray, roll: float) -> FloatArray:
    """Rotation world → camera [3, 3] of a camera at ``position`` that looks at ``target``."""
    z = target - position
    z = z / np.linalg.norm(z)
    x = np.cross(z, np.array([0.0, 1.0, 0.0]))
    x = x / max(float(np.linalg.norm(x)), 1e-6)
    y = np.cross(z, x)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * x + s * y, -s * x + c * y, z])


def box_solid(corners: FloatArray, materials: FloatArray) -> Solid:
    """A box from its eight corners [8, 3] (x fastest, then y, then z)."""
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    vertices = corners[quads].reshape(-1, 3).astype(np.float32)
    triangles = np.concatenate([[[4 * k, 4 * k + 1, 4 * k + 2], [4 * k, 4 * k + 2, 4 * k + 3]] for k in range(6)])
    return Solid(
        vertices=vertices,
        rest=vertices - vertices.mean(0),
        cut=np.ones(len(vertices), np.float32),
        triangles=triangles.astype(np.int32),
        uv=np.zeros((len(triangles), 3, 2), np.float32),
        part=np.zeros(len(triangles), np.uint8),
        materials=materials[None].astype(np.float32),
        joints=None,
    )


def draw(solids: list[Solid], camera: Camera, light: Light, textures: ByteArray) -> Rendering:
    """Rasterise and shade all solids with supersampling and a shadow map."""
    s = SUPERSAMPLING
    height, width = camera.height * s, camera.width * s
    K = _of_buffer(camera.K, s).astype(np.float32)
    depth = np.zeros((height, width), np.float32)
    owner = np.full((height, width), -1, np.int32)
    out = np.zeros((height, width, 4), np.float32)
    if not solids:
        floor = np.ones((camera.height, camera.width), np.float32)
        empty = np.zeros((camera.height, camera.width), np.float32)
        return Rendering(out[::s, ::s, :3], empty, depth, owner, floor)
    # int32 throughout: 64 bits would be copied back
    starts = np.cumsum([0] + [len(solid.vertices) for solid in solids], dtype=np.int32)
    vertices = np.empty((starts[-1], 3), np.float32)
    to_camera = np.column_stack([camera.rotation, -camera.rotation @ camera.position]).astype(np.float32)
    for solid, start, end in zip(solids, starts, starts[1:], strict=False):
        raster.transform(solid.vertices, to_camera, vertices[start:end])
    triangles = np.concatenate([solid.triangles + start for solid, start in zip(solids, starts, strict=False)])
    uv = np.concatenate([solid.uv for solid in solids])
    rows = np.cumsum([0] + [len(solid.materials) for solid in solids], dtype=np.int32)
    material = np.concatenate([solid.part.astype(np.int32) + row for solid, row in zip(solids, rows, strict=False)])
    materials = np.concatenate([solid.materials for solid in solids])
    cut = np.concatenate([solid.cut for solid in solids])
    rest = np.concatenate([solid.rest for solid in solids])
    points = raster.project(vertices, K)
    raster.rasterise(points, triangles, uv, material, cut, materials, textures, depth, owner)
    normal = raster.normals(vertices, triangles)
    shadow, to_shadow = _shadow_map(solids, vertices, starts, light)
    raster.shade(
        K, depth, owner, points, normal, rest, triangles, uv, material, materials, textures,
        light.harmonics.astype(np.float32), light.sun_direction.astype(np.float32),
        light.sun_colour.astype(np.float32), shadow, to_shadow, raster.srgb_table(), out,
    )  # fmt: skip
    small = np.asarray(cv2.resize(out, (camera.width, camera.height), interpolation=cv2.INTER_AREA), np.float32)
    faces = [len(solid.triangles) for solid in solids]
    solid_of_face = np.repeat(np.array([*range(len(solids)), -1], np.int32), [*faces, 1])  # the last: of nobody, -1
    floor = _floor_shadow(camera, light, shadow, to_shadow)
    return Rendering(small[..., :3], small[..., 3], depth, solid_of_face[owner], floor)


def _of_buffer(K: FloatArray, scale: float) -> FloatArray:
    """The intrinsics [3, 3] of a buffer that is so many times as large as the camera's picture."""
    K = K.copy()
    K[:2, 2] += 0.5
    K[:2] *= scale
    return K


def _shadow_map(
    solids: list[Solid], vertices: FloatArray, starts: IntArray, light: Light
) -> tuple[FloatArray, FloatArray]:
    """Orthographic depth along the light around all vertices, and the map [3, 4] from camera frame to it.

    ``vertices`` are those of all solids in the camera frame; solid k has rows ``starts[k]:starts[k + 1]``.
    """
    z = -light.sun_direction
    side = np.array([1.0, 0, 0]) if abs(z[0]) < 0.9 else np.array([0, 1.0, 0])
    x = np.cross(side, z)
    x = x / np.linalg.norm(x)
    axes = np.stack([x, np.cross(z, x), z])
    turned = np.empty_like(vertices)
    raster.transform(vertices, np.column_stack([axes, np.zeros(3)]).astype(np.float32), turned)
    low, high = extent(turned)
    scale = (SHADOW_SIZE - 8) / max(float((high - low)[:2].max()), 0.1)
    to_shadow = np.zeros((3, 4), np.float32)
    to_shadow[:2, :3] = axes[:2] * scale
    to_shadow[:2, 3] = 4 - low[:2] * scale
    to_shadow[2, :3] = axes[2]
    shadow = np.full((SHADOW_SIZE, SHADOW_SIZE), 1e9, np.float32)
    raster.transform(vertices, to_shadow, turned)
    for solid, start, end in zip(solids, starts, starts[1:], strict=False):
        if len(solid.vertices) > DENSE_VERTICES:
            raster.splat_depth(turned[start:end], shadow)
        else:
            raster.rasterise_depth(turned[start:end], solid.triangles, shadow)
    return shadow, to_shadow


def _floor_shadow(camera: Camera, light: Light, shadow: FloatArray, to_shadow: FloatArray) -> FloatArray:
    """Share of the light [H, W] on the floor y = 0, computed at half size and blurred."""
    down = camera.rotation @ np.array([0.0, -1.0, 0.0])
    w, h = camera.width // 2, camera.height // 2
    lit = np.ones((h, w), np.float32)
    _cast_floor(_of_buffer(camera.K, 0.5), down, float(camera.position[1]), shadow, to_shadow, lit)
    sun, ambient = float(light.sun_colour.mean()), float(light.harmonics[0].mean())
    strength = min(0.8, sun / max(sun + ambient, 1e-6) + 0.15)
    soft = cv2.GaussianBlur(1 - strength * (1 - lit), (0, 0), 1.2)
    return np.asarray(cv2.resize(soft, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR), np.float32)


@raster.njit(cache=True, fastmath=True)
def _cast_floor(
    K: FloatArray, down: FloatArray, eye_height: float, shadow: FloatArray, to_shadow: FloatArray, lit: FloatArray
) -> None:
    """Shadow of every pixel's point on the floor; [H, W] ``lit`` is changed in place."""
    for y in range(lit.shape[0]):
        for x in range(lit.shape[1]):
            gx, gy = (x + 0.5 - K[0, 2]) / K[0, 0], (y + 0.5 - K[1, 2]) / K[1, 1]
            fall = gx * down[0] + gy * down[1] + down[2]
            if fall > 0.02:
                t = eye_height / fall
                lit[y, x] = raster.shadow_at(shadow, to_shadow, gx * t, gy * t, t, 0.02)


def label(solids: list[Solid], k: int, camera: Camera, rendering: Rendering) -> Label:
    """The label of solid ``k``, which must be a person."""
    solid = solids[k]
    if solid.joints is None:
        raise ValueError(f"solid {k} is not a person")
    joints = camera.from_world(solid.joints)
    in_front = joints[:, 2] > raster.NEAR_M
    z = np.where(in_front, joints[:, 2], 1.0)
    px = joints[:, :2] / z[:, None] * np.diag(camera.K)[:2] + camera.K[:2, 2]
    inside = in_front & camera.shows(px)
    seen, surface = _sample(rendering, px)
    visibility = np.full(skeleton.NUM_JOINTS, VISIBLE, np.uint8)
    nearer = surface < joints[:, 2] - 0.01
    visibility[(seen == k) & (surface < joints[:, 2] - _DEPTH_TOLERANCE_M)] = SELF_OCCLUDED
    visibility[(seen != k) & (seen >= 0) & nearer] = OCCLUDED
    visibility[~inside] = OUTSIDE
    some = solid.vertices[:: max(1, len(solid.vertices) // 1500)]
    points = camera.from_world(some)
    points = points[points[:, 2] > raster.NEAR_M]
    if len(points) < 4:
        nowhere = np.zeros(4, np.float32)
        return Label(px.astype(np.float32), joints.astype(np.float32), visibility, nowhere, nowhere, 0.0)
    at = points[:, :2] / points[:, 2:] * np.diag(camera.K)[:2] + camera.K[:2, 2]
    box_full = extent(at).ravel()
    box = np.clip(box_full, -0.5, np.tile([camera.width - 0.5, camera.height - 0.5], 2))
    within = camera.shows(at)
    seen, surface = _sample(rendering, at)
    # A point on the person's far side is covered by the person, which does not count.
    free = (seen == k) | (seen < 0) | (surface > points[:, 2])
    fraction = float((within & free).sum() / len(some))
    return Label(
        px.astype(np.float32), joints.astype(np.float32), visibility, box.astype(np.float32),
        box_full.astype(np.float32), fraction,
    )  # fmt: skip


def _sample(rendering: Rendering, px: FloatArray) -> tuple[IntArray, FloatArray]:
    """Index of the solid seen at pixels [N, 2] and its depth in metres (infinite where there is none)."""
    height, width = rendering.depth.shape
    x, y = np.floor((px.T + 0.5) * SUPERSAMPLING).astype(np.int64)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    inverse = rendering.depth[y, x]
    return rendering.solid[y, x], np.where(inverse > 0, 1 / np.maximum(inverse, 1e-9), np.inf)
