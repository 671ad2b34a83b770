"""Reads the CC0 MakeHuman assets: base mesh, morph targets, rig, skin weights, garments, textures.

Everything leaves this module in metres, y up, the body facing +z (the files are in decimetres).
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.data.synthetic.types import FloatArray, IntArray

METRES_PER_UNIT = 0.1
HUMANS_VERSION = 1
TEXTURE_SIZE = 512
TEST_OUTFITS = ("male_casualsuit03", "female_sportsuit01")
TEST_HDRIS = ("lebombo_1k", "forest_slope_1k")
TEST_BACKGROUNDS = ("classroom", "pier", "straw")
CROWDED_HDRIS = ("venice_sunset_1k", "potsdamer_platz_1k")
"""Panoramas in which small real people can be seen: used as light, never as a background."""


@dataclass(frozen=True)
class Mesh:
    """Triangles with texture coordinates per corner.

    Attributes:
        vertices: [V, 3] metres.
        triangles: [F, 3] vertex indices.
        uv: [F, 3, 2] texture coordinates, v down (as image rows), 0…1.
        groups: [F] index into ``group_names``.
        group_names: names of the OBJ groups.
    """

    vertices: FloatArray
    triangles: IntArray
    uv: FloatArray
    groups: IntArray
    group_names: tuple[str, ...]


@dataclass(frozen=True)
class Garment:
    """A mesh that follows the base mesh: each vertex hangs on three base vertices.

    Attributes:
        name: folder name of the asset.
        mesh: its own mesh; only the topology and uv matter.
        anchors: [V, 3] base vertices.
        blend: [V, 3] their weights.
        offset: [V, 3] offset in units of the axis scales.
        scale_refs: three (vertex, vertex, denominator) for x, y, z.
        hidden: base vertices that lie under the garment.
    """

    name: str
    mesh: Mesh
    anchors: IntArray
    blend: FloatArray
    offset: FloatArray
    scale_refs: tuple[tuple[int, int, float], ...]
    hidden: IntArray

    def fit(self, base: FloatArray) -> FloatArray:
        """Vertices [V, 3] in metres on a morphed base mesh [B, 3]."""
        scale = np.array(
            [abs(base[a, k] - base[b, k]) / (d * METRES_PER_UNIT) for k, (a, b, d) in enumerate(self.scale_refs)]
        )
        position = (base[self.anchors] * self.blend[..., None]).sum(1)
        fitted: FloatArray = (position + self.offset * scale * METRES_PER_UNIT).astype(np.float32)
        return fitted


@dataclass(frozen=True)
class Bone:
    """A bone of the rig: its name, its parent's index (-1 for the root) and the base vertices at its head."""

    name: str
    parent: int
    head_vertices: IntArray


@dataclass(frozen=True)
class Humans:
    """All body assets.

    Attributes:
        base: the base mesh with its helper geometry.
        target_names: K names of the morph targets.
        target_ptr, target_index, target_delta: targets as sparse rows, deltas in metres.
        bones: the rig, parents first.
        bone_index, bone_weight: [B, 4] skin weights of every base vertex.
        groups: base vertices of every OBJ group by name.
        garments: outfits, shoes, hair, eyebrows and eyes by name.
        textures: [T, 512, 512, 4] RGBA.
        texture_ids: texture index by file stem.
        state: of the files that they were read from, see ``files_state``.
    """

    base: Mesh
    target_names: dict[str, int]
    target_ptr: IntArray
    target_index: IntArray
    target_delta: FloatArray
    bones: tuple[Bone, ...]
    bone_index: NDArray[np.uint8]
    bone_weight: FloatArray
    groups: Mapping[str, IntArray]
    garments: dict[str, dict[str, Garment]]
    textures: NDArray[np.uint8]
    texture_ids: dict[str, int]
    state: str


def read_obj(path: Path) -> Mesh:
    """Read an OBJ file of triangles and quads. Raises ValueError when a face has no texture coordinates."""
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    corners: list[list[tuple[int, int]]] = []
    face_groups: list[int] = []
    names: dict[str, int] = {}
    group = names.setdefault("", 0)
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if not fields:
            continue
        if fields[0] == "v":
            vertices.append([float(x) for x in fields[1:4]])
        elif fields[0] == "vt":
            texture.append([float(x) for x in fields[1:3]])
        elif fields[0] == "g":
            group = names.setdefault(fields[1], len(names))
        elif fields[0] == "f":
            face = []
            for corner in fields[1:]:
                parts = corner.split("/")
                if len(parts) < 2 or not parts[1]:
                    raise ValueError(f"{path}: face without texture coordinates: {line!r}")
                face.append((int(parts[0]) - 1, int(parts[1]) - 1))
            for k in range(2, len(face)):
                corners.append([face[0], face[k - 1], face[k]])
                face_groups.append(group)
    index = np.array(corners, dtype=np.int32)
    uv = np.array(texture, dtype=np.float32)[index[..., 1]]
    uv[..., 1] = 1.0 - uv[..., 1]
    return Mesh(
        vertices=np.array(vertices, dtype=np.float32) * METRES_PER_UNIT,
        triangles=np.ascontiguousarray(index[..., 0]),
        uv=uv,
        groups=np.array(face_groups, dtype=np.int32),
        group_names=tuple(names),
    )


def read_garment(folder: Path, name: str) -> Garment:
    """Read ``name``.obj and ``name``.mhclo from a folder."""
    mesh = read_obj(folder / f"{name}.obj")
    refs: dict[str, tuple[int, int, float]] = {}
    rows: list[list[float]] = []
    hidden: list[int] = []
    section = ""
    for line in (folder / f"{name}.mhclo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if not fields or fields[0] == "#":
            continue
        if fields[0] in ("x_scale", "y_scale", "z_scale"):
            refs[fields[0][0]] = (int(fields[1]), int(fields[2]), float(fields[3]))
        elif fields[0] in ("verts", "delete_verts"):
            section = fields[0]
        elif section == "verts" and fields[0][0].isdigit():
            values = [float(x) for x in fields]
            rows.append(values if len(values) == 9 else [values[0]] * 3 + [1.0, 0.0, 0.0] + [0.0] * 3)
        elif section == "delete_verts" and fields[0][0].isdigit():
            hidden += _ranges(fields)
    table = np.array(rows, dtype=np.float64)
    return Garment(
        name=name,
        mesh=mesh,
        anchors=table[:, :3].astype(np.int32),
        blend=table[:, 3:6].astype(np.float32),
        offset=table[:, 6:].astype(np.float32),
        scale_refs=tuple(refs[axis] for axis in "xyz"),
        hidden=np.array(hidden, dtype=np.int32),
    )


def _ranges(fields: Sequence[str]) -> list[int]:
    """``['3', '-', '6', '9']`` → ``[3, 4, 5, 6, 9]``."""
    values: list[int] = []
    k = 0
    while k < len(fields):
        if k + 2 < len(fields) and fields[k + 1] == "-":
            values += range(int(fields[k]), int(fields[k + 2]) + 1)
            k += 3
        else:
            values.append(int(fields[k]))
            k += 1
    return values


def read_texture(path: Path, size: int = TEXTURE_SIZE) -> NDArray[np.uint8]:
    """RGBA texture [size, size, 4]. Raises FileNotFoundError when the picture cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FileNotFoundError(f"texture {path} is missing or not a picture")
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), dtype=np.uint8)


def load_humans(root: Path, cache: Path | None = None) -> Humans:
    """Load everything under ``<root>/humans`` (about 10 s; under 1 s from ``cache``, where the files are the same).

    Raises:
        FileNotFoundError: the folder is missing.
    """
    folder, fabrics = root / "humans", root / "scenes" / "textures"
    if not (folder / "base.obj").is_file():
        raise FileNotFoundError(f"no MakeHuman assets at {folder}: give --assets or set POSE3D_DATA")
    state = files_state(folder, fabrics)
    cached = cache / f"humans-v{HUMANS_VERSION}-{state}.pickle" if cache is not None else None
    if cached is not None and cached.is_file():
        with cached.open("rb") as stream:
            humans: Humans = pickle.load(stream)
        return humans
    humans = _read_humans(folder, fabrics, state)
    if cached is not None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".partial")
        with partial.open("wb") as stream:
            pickle.dump(humans, stream, protocol=5)
        partial.replace(cached)
    return humans


def files_state(*folders: Path) -> str:
    """Eight digits that are others as soon as a file in the folders has another name, size or time of change."""
    files = ((folder, path) for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    listing = [
        (folder.name, path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for folder, path in files
    ]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:8]


def _read_humans(folder: Path, fabric_folder: Path, state: str) -> Humans:
    base = read_obj(folder / "base.obj")
    targets = np.load(folder / "targets.npz")
    names = {str(name): k for k, name in enumerate(targets["names"])}
    groups = {
        name: np.unique(base.triangles[base.groups == k]).astype(np.int32) for k, name in enumerate(base.group_names)
    }
    bones, order = _read_bones(folder, groups)
    index, weight = _read_weights(folder, order, len(base.vertices))
    garments: dict[str, dict[str, Garment]] = {}
    textures: list[NDArray[np.uint8]] = []
    texture_ids: dict[str, int] = {}

    def add_texture(path: Path) -> None:
        texture_ids[path.stem] = len(textures)
        textures.append(read_texture(path))

    for kind in ("outfits", "shoes", "hair", "eyebrows"):
        garments[kind] = {}
        for sub in sorted((folder / kind).iterdir()):
            garments[kind][sub.name] = read_garment(sub, sub.name)
            for path in sorted(sub.glob("*_diffuse.*")):
                add_texture(path)
    garments["eyes"] = {"low-poly": read_garment(folder / "eyes", "low-poly")}
    for path in sorted((folder / "eyes").glob("*.jpg")) + sorted((folder / "skins").glob("*.jpg")):
        add_texture(path)
    for path in sorted(fabric_folder.glob("*.jpg")):
        add_texture(path)
    return Humans(
        base=base,
        target_names=names,
        target_ptr=targets["ptr"],
        target_index=targets["index"].astype(np.int32),
        target_delta=targets["delta_milli"].astype(np.float32) * (METRES_PER_UNIT / 1000.0),
        bones=bones,
        bone_index=index,
        bone_weight=weight,
        groups=groups,
        garments=garments,
        textures=np.stack(textures),
        texture_ids=texture_ids,
        state=state,
    )


def _read_bones(folder: Path, groups: Mapping[str, IntArray]) -> tuple[tuple[Bone, ...], dict[str, int]]:
    table = json.loads((folder / "rig.cmu_mb.json").read_text(encoding="utf-8"))
    table = table.get("bones", table)
    order: dict[str, int] = {}
    while len(order) < len(table):  # parents first, whatever the file's order
        for name, bone in table.items():
            if name not in order and (not bone["parent"] or bone["parent"] in order):
                order[name] = len(order)
    bones = []
    for name in order:
        head = table[name]["head"]
        if head["strategy"] == "CUBE":
            vertices = groups[head["cube_name"]]
        elif head["strategy"] == "VERTEX":
            vertices = np.array([head["vertex_index"]], dtype=np.int32)
        else:
            vertices = np.array(head["vertex_indices"], dtype=np.int32)
        bones.append(Bone(name, order.get(table[name]["parent"], -1), vertices))
    return tuple(bones), order


def _read_weights(folder: Path, order: dict[str, int], count: int) -> tuple[NDArray[np.uint8], FloatArray]:
    """The four strongest bones of every base vertex; vertices without weight go to the hips."""
    data = np.load(folder / "weights.cmu_mb.npz")
    to_bone = np.array([order[str(name)] for name in data["bone_names"]])
    dense = np.zeros((count, len(order)), dtype=np.float32)
    np.add.at(dense, (data["vertex"], to_bone[data["bone"]]), data["weight"])
    dense[dense.sum(1) == 0, order["Hips"]] = 1.0
    return strongest_four(dense)


def strongest_four(dense: FloatArray) -> tuple[NDArray[np.uint8], FloatArray]:
    """Indices and normalised weights [V, 4] of the four strongest bones from dense weights [V, bones]."""
    top = np.argsort(-dense, axis=1)[:, :4]
    weight = np.take_along_axis(dense, top, axis=1)
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
    return top.astype(np.uint8), weight.astype(np.float32)
