"""Random materials: skin tones, hair colours, fabrics."""

from __future__ import annotations

import colorsys

import numpy as np

from pose3d_ros.data.synthetic import person as p
from pose3d_ros.data.synthetic import raster as m
from pose3d_ros.data.synthetic.assets import Humans
from pose3d_ros.data.synthetic.types import FloatArray

FABRICS = ("denim", "fabric", "furry", "knit", "microfiber", "squares", "stripes", "wool")
HAIR_COLOURS = np.array(
    [[0.01, 0.01, 0.01], [0.03, 0.02, 0.012], [0.08, 0.04, 0.02], [0.18, 0.09, 0.04], [0.45, 0.30, 0.14],
     [0.6, 0.5, 0.32], [0.3, 0.29, 0.28], [0.65, 0.64, 0.62], [0.28, 0.08, 0.03]]
)  # fmt: skip


class Wardrobe:
    """Draws materials for people; knows the textures' mean brightness."""

    def __init__(self, humans: Humans, fabrics: bool = True) -> None:
        self._ids = humans.texture_ids
        table = m.srgb_table()
        self._inverse_mean = np.empty(len(humans.textures), np.float32)
        for k, texture in enumerate(humans.textures):
            rgb = table[texture[..., :3][texture[..., 3] > 100]]
            luminance = rgb @ np.array([0.3, 0.6, 0.1], np.float32)
            seen = luminance[luminance > 0.003]
            self._inverse_mean[k] = 1 / max(float(seen.mean()), 0.02) if len(seen) else 1.0
        self._skins = [name for name in self._ids if "skinned" in name]
        self._eyes = [name for name in self._ids if name.endswith("_eye")]
        self._fabrics = [name for name in FABRICS if name in self._ids] if fabrics else []

    def dress(self, rng: np.random.Generator, looks: dict[str, str]) -> FloatArray:
        """Material rows [len(PARTS), MATERIAL_COLUMNS] of one person."""
        rows = np.zeros((len(p.PARTS), m.MATERIAL_COLUMNS), np.float32)
        rows[:, m.M_TEXTURE] = -1
        rows[:, m.M_UV_SCALE] = 1
        rows[:, m.M_SEED] = rng.integers(0, 10000)
        self._skin(rng, looks, rows[p.SKIN])
        self._textured(rows[p.EYES], str(rng.choice(self._eyes)), 1.0)
        rows[p.EYES, m.M_SPECULAR] = 0.3
        hair = HAIR_COLOURS[int(rng.integers(2 if looks["dark"] == "1" else len(HAIR_COLOURS)))]
        hair = hair * rng.uniform(0.7, 1.3)
        for part, key in ((p.HAIR, "hair"), (p.BROWS, "brows")):
            if key in looks:
                self._luminance(rows[part], looks[key], hair if part == p.HAIR else hair * 0.6)
                rows[part, m.M_ALPHA] = 1
        rows[p.HAIR, m.M_SPECULAR] = rng.uniform(0, 0.06)
        if "shoes" in looks:
            if rng.random() < 0.4:
                self._textured(rows[p.SHOES], looks["shoes"], float(rng.uniform(0.7, 1.4)))
            else:
                self._luminance(rows[p.SHOES], looks["shoes"], _cloth_colour(rng))
        keep_original = "outfit" in looks and rng.random() < 0.25
        for part in (p.TOP, p.BOTTOM):
            if keep_original:
                self._textured(rows[part], looks["outfit"], 1.0)
            else:
                self._fabric(rng, rows[part], looks.get("outfit"), part == p.TOP)
            rows[part, m.M_NOISE] = rng.uniform(0.2, 0.9)
        for part in (p.HAT, p.BAG):
            self._fabric(rng, rows[part], None, top=True)
            rows[part, m.M_NOISE] = 0.2
        if rng.random() < 0.12:  # a dress, an overall, a tracksuit: the same cloth above and below
            rows[p.BOTTOM] = rows[p.TOP]
        return rows

    def _skin(self, rng: np.random.Generator, looks: dict[str, str], row: FloatArray) -> None:
        dark = looks["dark"] == "1"
        choices = [name for name in self._skins if ("dark" in name) == dark]
        if not dark:
            choices = [name for name in choices if ("female" in name) == (looks["female"] == "1")]
        self._textured(row, str(rng.choice(choices)), 1.0)
        if dark:
            tone = float(rng.uniform(0.6, 2.2))
            row[m.M_R : m.M_B + 1] = [tone, tone * rng.uniform(0.9, 1.05), tone * rng.uniform(0.85, 1.05)]
        else:
            tone = float(rng.beta(2.0, 1.3))  # 0 brown … 1 fair
            red = 0.35 + 0.65 * tone
            row[m.M_R : m.M_B + 1] = [red, red * (0.72 + 0.28 * tone), red * (0.55 + 0.45 * tone)]
        row[m.M_R : m.M_B + 1] *= np.exp(rng.normal(0, 0.05, 3))
        row[m.M_SPECULAR] = rng.uniform(0, 0.05)

    def _textured(self, row: FloatArray, name: str, gain: float) -> None:
        row[m.M_KIND] = m.KIND_TEXTURE
        row[m.M_TEXTURE] = self._ids[name]
        row[m.M_R : m.M_B + 1] = gain

    def _luminance(self, row: FloatArray, name: str, colour: FloatArray) -> None:
        row[m.M_KIND] = m.KIND_LUMINANCE
        row[m.M_TEXTURE] = self._ids[name]
        row[m.M_DETAIL] = self._inverse_mean[self._ids[name]]
        row[m.M_R : m.M_B + 1] = colour

    def _fabric(self, rng: np.random.Generator, row: FloatArray, outfit: str | None, top: bool) -> None:
        row[m.M_KIND] = m.KIND_FABRIC
        colour = _cloth_colour(rng, jeans=not top)
        second = _cloth_colour(rng) if rng.random() < 0.6 else np.clip(colour * rng.uniform(0.2, 2.5), 0, 0.95)
        row[m.M_R : m.M_B + 1] = colour
        row[m.M_R2 : m.M_B2 + 1] = second
        if rng.random() < (0.55 if top else 0.2):
            row[m.M_PATTERN] = rng.choice(
                [m.PATTERN_STRIPES, m.PATTERN_CHECKS, m.PATTERN_TARTAN, m.PATTERN_DOTS, m.PATTERN_BLOTCH,
                 m.PATTERN_PRINT, m.PATTERN_GRADIENT],
                p=[0.26, 0.1, 0.16, 0.08, 0.12, 0.2, 0.08])  # fmt: skip
        row[m.M_FREQUENCY] = np.exp(rng.uniform(np.log(4), np.log(40)))
        row[m.M_ANGLE] = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)], p=[0.6, 0.25, 0.15])
        row[m.M_DUTY] = rng.uniform(0.2, 0.7)
        texture = outfit
        if texture is None and self._fabrics and rng.random() < 0.5:
            texture = str(rng.choice(self._fabrics))
            row[m.M_UV_SCALE] = rng.uniform(3, 10)
        if texture is not None:
            row[m.M_TEXTURE] = self._ids[texture]
            row[m.M_DETAIL] = self._inverse_mean[self._ids[texture]]


def _cloth_colour(rng: np.random.Generator, jeans: bool = False) -> FloatArray:
    """Linear RGB of a cloth: white, black, grey, blue, or any hue at any brightness."""
    choice = rng.random()
    if jeans and choice < 0.3:
        colour = np.array([0.05, 0.09, 0.2]) * rng.uniform(0.3, 3.0)
    elif choice < 0.17:
        colour = np.full(3, rng.uniform(0.55, 0.9))
    elif choice < 0.37:
        colour = np.full(3, rng.uniform(0.008, 0.05))
    elif choice < 0.52:
        colour = np.full(3, rng.uniform(0.05, 0.5))
    else:
        value = float(rng.uniform(0.15, 1.0))
        colour = np.array(colorsys.hsv_to_rgb(float(rng.random()), float(rng.beta(2, 1.3)), value)) ** 2.2
    return np.asarray(np.clip(colour * np.exp(rng.normal(0, 0.08, 3)), 0.004, 0.95))


def furniture_material(rng: np.random.Generator) -> FloatArray:
    """A material row for a box: wood, paint, cloth."""
    row = np.zeros(m.MATERIAL_COLUMNS, np.float32)
    row[m.M_TEXTURE] = -1
    row[m.M_UV_SCALE] = 1
    row[m.M_KIND] = m.KIND_FABRIC
    wood = np.array([0.3, 0.15, 0.06]) * rng.uniform(0.2, 2.0)
    colour: FloatArray = wood if rng.random() < 0.4 else _cloth_colour(rng)
    row[m.M_R : m.M_B + 1] = colour
    row[m.M_R2 : m.M_B2 + 1] = colour * rng.uniform(0.3, 1.6)
    if rng.random() < 0.5:
        row[m.M_PATTERN] = rng.choice([m.PATTERN_STRIPES, m.PATTERN_CHECKS, m.PATTERN_BLOTCH])
    row[m.M_FREQUENCY] = rng.uniform(3, 30)
    row[m.M_DUTY] = rng.uniform(0.1, 0.6)
    row[m.M_SEED] = rng.integers(0, 10000)
    row[m.M_NOISE] = 0.02
    return row
