"""Bodies: random MakeHuman morphs, the rig fitted to them, and where each of the 24 joints lies on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose3d_ros import skeleton
from pose3d_ros.data.synthetic.assets import Humans
from pose3d_ros.data.synthetic.types import FloatArray, IntArray

# MakeHuman's thighs turn about points 21 cm apart, more on wide bodies; femoral heads lie 16-19 cm apart (17 cm in the
# mocap), whatever the flesh around them.
HIP_SPACING = 0.85
HALF_HIP_SPACING_OF_HEIGHT = (0.046, 0.055)
NOSE_VERTEX = 297
CROWN_VERTEX = 881


@dataclass(frozen=True)
class BodyShape:
    """Weights of morph targets, and what the person looks like beyond them."""

    weights: dict[str, float]
    female: bool
    dark: bool
    child: bool


@dataclass(frozen=True)
class Rig:
    """A rig fitted to one body, and the joints hung on it, in the rest pose.

    Attributes:
        heads: [bones, 3] bone heads in metres.
        parents: [bones] parent index, -1 for the root.
        joints: [24, 3] the joints of ``skeleton.JOINTS`` in metres.
        joint_bones: [24, 2] the two bones a joint follows, half each.
    """

    heads: FloatArray
    parents: IntArray
    joints: FloatArray
    joint_bones: IntArray


def random_shape(rng: np.random.Generator, humans: Humans) -> BodyShape:
    """A random adult (90 %) or child (10 %)."""
    female = bool(rng.random() < 0.5)
    child = bool(rng.random() < 0.1)
    age = {"child": 0.0, "young": 1.0, "old": 0.0}
    if child:
        age["child"] = float(rng.uniform(0.3, 0.9))
        age["young"] = 1.0 - age["child"]
    else:
        age["old"] = float(rng.beta(0.6, 1.4))
        age["young"] = 1.0 - age["old"]
    race = dict(zip(("african", "asian", "caucasian"), rng.dirichlet((0.5, 0.5, 0.5)), strict=True))
    gender_value = float(np.clip(rng.normal(0.08 if female else 0.92, 0.1), 0, 1))
    gender = {"female": 1.0 - gender_value, "male": gender_value}
    muscle = _three_way(float(np.clip(rng.normal(0.5, 0.2), 0, 1)), "minmuscle", "averagemuscle", "maxmuscle")
    fat = _three_way(float(np.clip(rng.normal(0.52, 0.2), 0, 1)), "minweight", "averageweight", "maxweight")
    height = _three_way(float(np.clip(rng.normal(0.5, 0.05), 0.3, 0.7)), "minheight", "", "maxheight")
    proportion = _three_way(float(np.clip(rng.normal(0.5, 0.2), 0, 1)), "uncommonproportions", "", "idealproportions")
    weights: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        if value > 1e-3 and name in humans.target_names:
            weights[name] = weights.get(name, 0.0) + value

    for g, wg in gender.items():
        for a, wa in age.items():
            for r, wr in race.items():
                add(f"macrodetails/{r}-{g}-{a}", wg * wa * wr)
            for m, wm in muscle.items():
                for f, wf in fat.items():
                    product = wg * wa * wm * wf
                    add(f"macrodetails/universal-{g}-{a}-{m}-{f}", product)
                    for h, wh in height.items():
                        add(f"macrodetails/height/{g}-{a}-{m}-{f}-{h}", product * wh)
                    for p, wp in proportion.items():
                        add(f"macrodetails/proportions/{g}-{a}-{m}-{f}-{p}", product * wp)
    _add_details(rng, humans, weights)
    return BodyShape(weights, female, dark=race["african"] > 0.5, child=child)


def _three_way(value: float, low: str, middle: str, high: str) -> dict[str, float]:
    """MakeHuman's piecewise linear mix of a parameter in 0…1 around its average 0.5."""
    return {low: max(0.0, 1 - 2 * value), middle: 1 - abs(1 - 2 * value), high: max(0.0, 2 * value - 1)}


def _add_details(rng: np.random.Generator, humans: Humans, weights: dict[str, float]) -> None:
    """A few detail targets, the same on both sides of the body."""
    for name in humans.target_names:
        if name.startswith("macrodetails") or not name.endswith("-incr") or "/r-" in name or "pregnant" in name:
            continue
        value = float(np.clip(rng.normal(0, 0.3), -0.8, 0.8))
        if rng.random() < 0.4 or abs(value) < 0.05:
            continue
        chosen = name if value > 0 else name.removesuffix("incr") + "decr"
        for side in (chosen, chosen.replace("/l-", "/r-")):
            if side in humans.target_names:
                weights[side] = abs(value)


def morph(humans: Humans, shape: BodyShape) -> FloatArray:
    """Vertices [B, 3] of the base mesh (with helpers) in metres, standing on y = 0."""
    vertices = humans.base.vertices.copy()
    for name, weight in shape.weights.items():
        k = humans.target_names[name]
        rows = slice(humans.target_ptr[k], humans.target_ptr[k + 1])
        vertices[humans.target_index[rows]] += humans.target_delta[rows] * np.float32(weight)
    vertices[:, 1] -= vertices[humans.groups["body"], 1].min()
    return vertices


def fit_rig(humans: Humans, vertices: FloatArray) -> Rig:
    """Bone heads and joints on a morphed base mesh [B, 3]."""
    index = {bone.name: k for k, bone in enumerate(humans.bones)}
    heads = np.array([vertices[bone.head_vertices].mean(0) for bone in humans.bones])

    def head(name: str) -> FloatArray:
        return np.asarray(heads[index[name]])

    def group(name: str) -> FloatArray:
        return np.asarray(vertices[humans.groups[name]].mean(0))

    hips = (head("LeftUpLeg") + head("RightUpLeg")) / 2
    shoulder_height = (head("LeftArm")[1] + head("RightArm")[1]) / 2
    # Thorax: on the spinal line, 2.5 cm above the shoulders.
    low, high = head("Spine1"), head("Neck")
    fraction = (shoulder_height + 0.025 - low[1]) / (high[1] - low[1])
    thorax = low + fraction * (high - low)
    middle = (hips + thorax) / 2
    spine = middle.copy()
    spine[2] = np.interp(middle[1], [head("LowerBack")[1], head("Spine")[1], head("Spine1")[1]],
                         [head("LowerBack")[2], head("Spine")[2], head("Spine1")[2]])  # fmt: skip
    placed: dict[str, tuple[FloatArray, str, str]] = {
        "pelvis": (hips, "Hips", "Hips"),
        "spine": (spine, "LowerBack", "Spine"),
        "thorax": (thorax, "Spine1", "Spine1"),
        "neck": (head("Neck1"), "Neck", "Neck1"),
        "head": (vertices[CROWN_VERTEX], "Head", "Head"),
        "nose": (vertices[NOSE_VERTEX], "Head", "Head"),
    }
    for side, short, rig_side in (("left", "l", "Left"), ("right", "r", "Right")):
        placed[f"{side}_eye"] = (group(f"joint-{short}-eye"), "Head", "Head")
        placed[f"{side}_ear"] = (vertices[ear_vertex(humans, side)], "Head", "Head")
        for joint, bone in (("hip", "UpLeg"), ("knee", "Leg"), ("ankle", "Foot"), ("toe", "ToeBase")):
            placed[f"{side}_{joint}"] = (head(rig_side + bone), rig_side + bone, rig_side + bone)
        for joint, bone in (("shoulder", "Arm"), ("elbow", "ForeArm"), ("wrist", "Hand")):
            placed[f"{side}_{joint}"] = (head(rig_side + bone), rig_side + bone, rig_side + bone)
    for side in ("left", "right"):
        hip = placed[f"{side}_hip"][0].copy()
        low, high = np.array(HALF_HIP_SPACING_OF_HEIGHT) * vertices[CROWN_VERTEX, 1]
        hip[0] = np.sign(hip[0]) * np.clip(abs(hip[0]) * HIP_SPACING, low, high)
        placed[f"{side}_hip"] = (hip, "Hips", "Hips")
        # The ball of the foot lies 3 cm above the sole by definition.
        point, a, b = placed[f"{side}_toe"]
        placed[f"{side}_toe"] = (np.array([point[0], 0.03, point[2]]), a, b)
    rows = [placed[name] for name in skeleton.JOINTS]
    return Rig(
        heads=heads.astype(np.float64),
        parents=np.array([bone.parent for bone in humans.bones]),
        joints=np.array([row[0] for row in rows], dtype=np.float64),
        joint_bones=np.array([(index[row[1]], index[row[2]]) for row in rows]),
    )


def ear_vertex(humans: Humans, side: str) -> int:
    """The base vertex nearest to the ear canal of the unmorphed head."""
    sign = 1.0 if side == "left" else -1.0
    canal = np.array([sign * 0.074, 0.712, 0.040])
    body = humans.groups["body"]
    distance = np.linalg.norm(humans.base.vertices[body] - canal, axis=1)
    return int(body[np.argmin(distance)])
