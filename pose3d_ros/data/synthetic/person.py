"""A pool of people: body, clothes, shoes and hair in one mesh each, in the rest pose, ready to be posed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pose3d_ros.data.synthetic import body, clothes
from pose3d_ros.data.synthetic.assets import TEST_OUTFITS, Garment, Humans, strongest_four
from pose3d_ros.data.synthetic.types import ByteArray, FloatArray, IntArray

PARTS = ("skin", "eyes", "brows", "hair", "shoes", "top", "bottom", "hat", "bag")
SKIN, EYES, BROWS, HAIR, SHOES, TOP, BOTTOM, HAT, BAG = range(9)
ARRAYS = ("vertices", "bone_index", "bone_weight", "cut", "triangles", "uv", "part", "heads", "joints", "joint_bones")
POOL_VERSION = 6


@dataclass(frozen=True)
class Person:
    """A dressed person in the rest pose.

    Attributes:
        vertices: [V, 3] metres.
        bone_index, bone_weight: [V, 4]
        cut: [V] metres; a garment is drawn where this is positive.
        triangles: [F, 3]
        uv: [F, 3, 2]
        part: [F] index into ``PARTS``.
        heads: [bones, 3] bone heads.
        joints: [24, 3], joint_bones: [24, 2] see ``body.Rig``.
        looks: names of textures and traits that a material needs.
    """

    vertices: FloatArray
    bone_index: ByteArray
    bone_weight: FloatArray
    cut: FloatArray
    triangles: IntArray
    uv: FloatArray
    part: ByteArray
    heads: FloatArray
    joints: FloatArray
    joint_bones: IntArray
    looks: dict[str, str]


class _Assembler:
    """Collects meshes into one."""

    def __init__(self, humans: Humans, base: FloatArray) -> None:
        self.humans = humans
        self.base = base
        self.pieces: list[tuple[NDArray[Any], ...]] = []
        self.count = 0

    def add(
        self,
        vertices: FloatArray,
        weights: tuple[ByteArray, FloatArray],
        triangles: IntArray,
        uv: FloatArray,
        part: int | IntArray,
        cut: FloatArray | None = None,
    ) -> None:
        """Append a mesh; vertices that no triangle uses are dropped."""
        used, local = np.unique(triangles, return_inverse=True)
        parts = np.broadcast_to(np.asarray(part, dtype=np.uint8), (len(triangles),))
        inside = np.ones(len(used), dtype=np.float32) if cut is None else cut[used]
        self.pieces.append(
            (
                vertices[used].astype(np.float32),
                weights[0][used],
                weights[1][used],
                inside.astype(np.float32),
                (local.reshape(-1, 3) + self.count).astype(np.int32),
                uv.astype(np.float32),
                parts,
            )
        )
        self.count += len(used)

    def add_asset(self, garment: Garment, part: int | IntArray, below: float | None = None) -> None:
        """Append a MakeHuman garment; its skin weights are those of the vertices it hangs on.

        With ``below`` (metres) only triangles that reach below that height are kept.
        """
        dense = np.zeros((len(garment.anchors), len(self.humans.bones)), dtype=np.float32)
        rows = np.arange(len(dense))[:, None]
        for k in range(3):
            anchor = garment.anchors[:, k]
            np.add.at(
                dense,
                (rows, self.humans.bone_index[anchor]),
                self.humans.bone_weight[anchor] * garment.blend[:, k : k + 1],
            )
        weights = strongest_four(np.maximum(dense, 0))
        vertices = garment.fit(self.base)
        triangles, uv = garment.mesh.triangles, garment.mesh.uv
        if below is not None:
            keep = (vertices[triangles, 1] < below + 0.01).any(1)
            triangles, uv = triangles[keep], uv[keep]
        self.add(vertices, weights, triangles, uv, part)

    def add_rigid(self, vertices: FloatArray, triangles: IntArray, bone: int, part: int) -> None:
        """Append a mesh that follows one bone."""
        index = np.zeros((len(vertices), 4), np.uint8)
        index[:, 0] = bone
        weight = np.zeros((len(vertices), 4), np.float32)
        weight[:, 0] = 1
        self.add(vertices, (index, weight), triangles, np.zeros((len(triangles), 3, 2), np.float32), part)


def make_person(rng: np.random.Generator, humans: Humans, where: clothes.BodyMap, split: str) -> Person:
    """A random dressed person (about 0.2 s)."""
    shape = body.random_shape(rng, humans)
    base = body.morph(humans, shape)
    rig = body.fit_rig(humans, base)
    assembler = _Assembler(humans, base)
    looks = {"female": str(int(shape.female)), "dark": str(int(shape.dark))}
    hidden: list[IntArray] = []

    outfits = [name for name in humans.garments["outfits"] if (name in TEST_OUTFITS) == (split == "test")]
    if rng.random() < 0.35:
        fitting = [name for name in outfits if name.startswith("female") == shape.female] or outfits
        outfit = humans.garments["outfits"][str(rng.choice(fitting))]
        looks["outfit"] = f"{outfit.name}_diffuse"
        assembler.add_asset(outfit, _outfit_parts(outfit, humans))
        hidden.append(outfit.hidden)
    else:
        _dress(rng, humans, base, where, assembler, hidden, shape.female)

    if rng.random() < 0.93:
        shoe = humans.garments["shoes"][str(rng.choice(list(humans.garments["shoes"])))]
        looks["shoes"] = f"{shoe.name}_diffuse"
        assembler.add_asset(shoe, SHOES)
        hidden.append(shoe.hidden)
    styles = list(humans.garments["hair"])
    long_hair = [name for name in styles if name.startswith(("bob", "braid"))]
    short_hair = [name for name in styles if name.startswith("short")]
    hat_level = base[body.CROWN_VERTEX, 1] - float(rng.uniform(0.075, 0.11)) if rng.random() < 0.13 else None
    if rng.random() < (0.97 if shape.female else 0.85):
        choices = long_hair if shape.female and rng.random() < 0.7 else short_hair
        hair = humans.garments["hair"][str(rng.choice(choices))]
        looks["hair"] = f"{hair.name}_diffuse"
        assembler.add_asset(hair, HAIR, below=hat_level)
    if hat_level is not None:
        _wear_hat(rng, humans, base, hat_level, assembler)
    if rng.random() < 0.1:
        _carry_backpack(rng, humans, base, rig, assembler)
    brow = humans.garments["eyebrows"][str(rng.choice(list(humans.garments["eyebrows"])))]
    looks["brows"] = f"{brow.name}_diffuse"
    assembler.add_asset(brow, BROWS)
    assembler.add_asset(humans.garments["eyes"]["low-poly"], EYES)

    mesh = humans.base
    skin = mesh.groups == mesh.group_names.index("body")
    triangles, uv = mesh.triangles[skin], mesh.uv[skin]
    keep = clothes.uncovered(triangles, np.concatenate([*hidden, np.zeros(0, np.int64)]).astype(np.int64), len(base))
    assembler.add(base, (humans.bone_index, humans.bone_weight), triangles[keep], uv[keep], SKIN)

    stacked = [np.concatenate(column) for column in zip(*assembler.pieces, strict=True)]
    arrays = dict(zip(ARRAYS, [*stacked, rig.heads, rig.joints, rig.joint_bones], strict=True))
    return Person(looks=looks, **arrays)


def _outfit_parts(outfit: Garment, humans: Humans) -> IntArray:
    """Part of every triangle: connected pieces below the waist are trousers."""
    triangles = outfit.mesh.triangles
    count = len(outfit.anchors)
    edges = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    height = humans.base.vertices[outfit.anchors[:, 0], 1]
    mean = np.bincount(label, weights=height) / np.maximum(np.bincount(label), 1)
    return np.where(mean[label[triangles[:, 0]]] < 0.1, BOTTOM, TOP)


def _dress(
    rng: np.random.Generator,
    humans: Humans,
    base: FloatArray,
    where: clothes.BodyMap,
    assembler: _Assembler,
    hidden: list[IntArray],
    female: bool,
) -> None:
    """A random shirt or coat over random trousers, shorts or a skirt."""
    weights = (humans.bone_index, humans.bone_weight)

    def wear(garment: clothes.CutGarment, part: int) -> None:
        own = (weights[0][garment.source], weights[1][garment.source])
        assembler.add(garment.vertices, own, garment.triangles, garment.uv, part, garment.cut)
        hidden.append(garment.hidden)

    waist = float(rng.uniform(0.12, 0.25))
    skirt = rng.random() < (0.3 if female else 0.0)
    coat = rng.random() < 0.12  # a skirt of the shirt's own cloth: a dress or a coat
    if skirt or coat:
        cut = clothes.cut_skirt(where, float(rng.uniform(0.25, 1.3)), waist)
        wear(clothes.make_garment(humans, base, cut, "helper-skirt", 0.015, 2, 0.0), TOP if coat else BOTTOM)
    if not (skirt or (coat and female and rng.random() < 0.5)) or rng.random() < 0.2:
        length = float(rng.choice([rng.uniform(0.35, 0.6), rng.uniform(0.7, 1.2), rng.uniform(1.8, 2.0)],
                                  p=[0.12, 0.14, 0.74]))  # fmt: skip
        cut = clothes.cut_trousers(where, length, waist)
        loose = float(rng.choice([rng.uniform(0.006, 0.02), rng.uniform(0.02, 0.04)], p=[0.7, 0.3]))
        garment = clothes.make_garment(humans, base, cut, "body", loose, int(rng.integers(3, 15)),
                                       float(rng.uniform(0, 0.02)))  # fmt: skip
        wear(garment, BOTTOM)
    sleeve = float(rng.choice([0.05, rng.uniform(0.25, 0.8), rng.uniform(1.0, 1.6), rng.uniform(1.85, 2.0)],
                              p=[0.12, 0.4, 0.08, 0.4]))  # fmt: skip
    cut = clothes.cut_shirt(
        where,
        sleeve,
        hem=float(rng.uniform(-0.28, 0.12)),
        neck=float(rng.uniform(0.9, 1.03)),
        v_neck=float(rng.choice([0.0, rng.uniform(0.02, 0.2)])),
    )
    garment = clothes.make_garment(humans, base, cut, "body", float(rng.uniform(0.012, 0.04)),
                                   int(rng.integers(5, 25)), float(rng.uniform(0, 0.03)))  # fmt: skip
    wear(garment, TOP)


def _wear_hat(rng: np.random.Generator, humans: Humans, base: FloatArray, level: float, assembler: _Assembler) -> None:
    """A cap, a woollen hat or a hat with a brim, down to ``level`` metres."""
    on_head = np.zeros(len(base), bool)
    on_head[humans.groups["body"]] = True
    cut = np.where(on_head, base[:, 1] - level, -1.0).astype(np.float32)
    shell = clothes.make_garment(humans, base, cut, "body", float(rng.uniform(0.012, 0.03)), 8, 0.0)
    weights = (humans.bone_index[shell.source], humans.bone_weight[shell.source])
    assembler.add(shell.vertices, weights, shell.triangles, shell.uv, HAT, shell.cut)
    kind = rng.random()
    if kind < 0.35:  # without a brim
        return
    ring = shell.vertices[np.abs(shell.vertices[:, 1] - level) < 0.02]
    centre = (ring.min(0) + ring.max(0)) / 2
    radius = (ring.max(0) - ring.min(0)) / 2
    reach = 1.0 if kind < 0.7 else 0.45  # all round, or a peak in front
    width = float(rng.uniform(0.04, 0.08))
    angles = np.linspace(-np.pi * reach, np.pi * reach, 33)
    around = np.stack([np.sin(angles), np.zeros(33), np.cos(angles)], axis=1)
    inner = centre + around * radius * 0.97
    taper = 1.0 if reach == 1.0 else np.cos(angles / reach / 2)[:, None] ** 0.5
    outer = centre + around * (radius + width * taper) - [0, 0.012, 0]
    k = np.arange(32)
    triangles = np.concatenate([np.stack([k, k + 1, k + 33], 1), np.stack([k + 1, k + 34, k + 33], 1)])
    head = [bone.name for bone in humans.bones].index("Head")
    vertices = np.concatenate([inner, outer])
    vertices[:, 1] = np.minimum(vertices[:, 1], level) + 0.005
    assembler.add_rigid(vertices, triangles, head, HAT)


def _carry_backpack(
    rng: np.random.Generator, humans: Humans, base: FloatArray, rig: body.Rig, assembler: _Assembler
) -> None:
    """A rounded block on the back."""
    index = {bone.name: k for k, bone in enumerate(humans.bones)}
    top, low = rig.heads[index["Neck"]], rig.heads[index["Spine"]]
    half = np.array([rng.uniform(0.11, 0.17), rng.uniform(0.16, 0.26), rng.uniform(0.05, 0.11)])
    centre = (top + low) / 2 - [0, float(rng.uniform(0.02, 0.1)), 0]
    near = (np.abs(base[:, 1] - centre[1]) < 0.12) & (np.abs(base[:, 0]) < 0.1)
    centre[2] = base[near, 2].min() - half[2] * 0.9
    u, v = np.meshgrid(np.linspace(-np.pi, np.pi, 21), np.linspace(-np.pi / 2, np.pi / 2, 11))

    def power(x: FloatArray) -> FloatArray:
        return np.asarray(np.sign(x) * np.abs(x) ** 0.4)

    shape = np.stack([power(np.cos(v)) * power(np.sin(u)), power(np.sin(v)), power(np.cos(v)) * power(np.cos(u))], -1)
    k = np.arange(10 * 21).reshape(10, 21)[:, :20].ravel()
    triangles = np.concatenate([np.stack([k, k + 1, k + 21], 1), np.stack([k + 1, k + 22, k + 21], 1)])
    assembler.add_rigid(centre + shape.reshape(-1, 3) * half, triangles, index["Spine1"], BAG)


class Pool:
    """People on disk, memory-mapped, so that several workers share one copy."""

    def __init__(self, folder: Path) -> None:
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        self._starts = {name: np.load(folder / f"{name}_start.npy") for name in ARRAYS}
        self._looks: list[dict[str, str]] = json.loads((folder / "looks.json").read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self._looks)

    def __getitem__(self, k: int) -> Person:
        fields = {
            name: np.asarray(self._arrays[name][self._starts[name][k] : self._starts[name][k + 1]]) for name in ARRAYS
        }
        return Person(looks=self._looks[k], **fields)


def load_pool(humans: Humans, cache: Path, split: str, count: int, seed: int) -> Pool:
    """The pool of ``count`` people of a split; built (0.2 s a person) when it is not in ``cache``."""
    folder = cache / f"pool-v{POOL_VERSION}-{split}-{count}-{seed}-{humans.state}"
    if not (folder / "looks.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        where = clothes.map_body(humans)
        people = [
            make_person(np.random.default_rng([seed, 1 if split == "test" else 0, k]), humans, where, split)
            for k in range(count)
        ]
        for name in ARRAYS:
            rows = [getattr(person, name) for person in people]
            np.save(folder / f"{name}.npy", np.concatenate(rows))
            np.save(folder / f"{name}_start.npy", np.cumsum([0, *map(len, rows)]))
        # Written last: its presence says that the pool is complete.
        (folder / "looks.json").write_text(json.dumps([person.looks for person in people]), encoding="utf-8")
    return Pool(folder)
