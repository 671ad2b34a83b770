"""Pictures of nobody: fractal noise, or an even ground, with shapes, repeated things, writing and animals on it.

Photographs without people are few, and a network that has only seen those finds people in coins, cells and craters. One
that has never seen an animal takes its legs for arms and legs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_MOST_LAYERS = 6
_DRAWN = 0.25
"""Share of pictures on an even ground, as signs, logos and drawings are."""
_LETTERS = np.array(list("ABCDEFGHKLMNPRSTXYZabcdeghkmnpqrstxyz0123456789.,;:-+=()[]/&%"))


def clutter(rng: np.random.Generator, width: int, height: int) -> Image:
    """A random picture [height, width, 3]."""
    drawn = rng.random() < _DRAWN
    image = np.full((height, width, 3), _ink(rng), np.uint8) if drawn else fractal_noise(rng, width, height)
    for _ in range(int(rng.integers(int(drawn), _MOST_LAYERS))):  # an even ground is never alone
        draw = _DRAWINGS[int(rng.integers(len(_DRAWINGS)))]
        draw(image, rng)
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.5)), np.uint8)
    if rng.random() < 0.3:
        image[:] = image.mean(2, keepdims=True)
    return image


def fractal_noise(rng: np.random.Generator, width: int, height: int) -> Image:
    """Noise whose octaves fade at a random rate, from fog to gravel, about a random colour, [height, width, 3]."""
    fading = rng.uniform(0.4, 1.1)
    coloured = rng.uniform(0, 0.6)
    total = np.zeros((height, width, 3), np.float32)
    octaves = int(np.log2(max(min(width, height), 4)))
    for octave in range(1, octaves + 1):
        shape = (max(height * 2**octave // max(width, height), 1) + 1, 2**octave + 1)
        grey = rng.standard_normal((*shape, 1), np.float32)
        noise = grey + coloured * rng.standard_normal((*shape, 3), np.float32)
        total += fading**octave * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    total *= rng.uniform(5, 50) / max(float(total.std()), 1e-3)
    return np.asarray((total + _colour(rng)).clip(0, 255), np.uint8)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    grey = rng.uniform(0, 255)
    return np.clip(grey + rng.normal(0, rng.uniform(0, 60), 3), 0, 255)


def _ink(rng: np.random.Generator) -> tuple[float, float, float]:
    blue, green, red = _colour(rng)
    return float(blue), float(green), float(red)


def _outline(rng: np.random.Generator, radius: float) -> NDArray[np.int32]:
    """A closed curve about the origin: an ellipse whose radius wavers a little or a lot, turned any way."""
    angle = np.linspace(0, 2 * np.pi, int(rng.integers(3, 40)), endpoint=False)
    wobble = rng.uniform(0, 0.4) * rng.standard_normal((3, 2))
    waves = sum(c * np.cos((k + 2) * angle) + s * np.sin((k + 2) * angle) for k, (c, s) in enumerate(wobble))
    r = radius * np.maximum(1 + 0.5 * waves, 0.1)
    x, y = r * np.cos(angle), rng.uniform(0.15, 1) * r * np.sin(angle)
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([c * x - s * y, s * x + c * y], -1).astype(np.int32)


def _fill(image: Image, outline: NDArray[np.int32], rng: np.random.Generator) -> None:
    cv2.fillPoly(image, [outline], _ink(rng), cv2.LINE_AA)
    if rng.random() < 0.5:
        cv2.polylines(image, [outline], True, _ink(rng), int(rng.integers(1, 6)), cv2.LINE_AA)


def _shapes(image: Image, rng: np.random.Generator) -> None:
    """Things here and there, shaded so that they look round."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 12))):
        radius = min(width, height) * np.exp(rng.uniform(np.log(0.02), np.log(0.5)))
        middle = (rng.uniform(0, 1, 2) * [width, height]).astype(np.int32)
        outline = _outline(rng, radius)
        _fill(image, outline + middle, rng)
        for k in range(1, int(rng.integers(1, 5))):
            cv2.fillPoly(image, [(outline * (1 - 0.2 * k)).astype(np.int32) + middle], _ink(rng), cv2.LINE_AA)


def _grid(image: Image, rng: np.random.Generator) -> None:
    """One thing again and again: coins, bricks, windows, cells."""
    height, width = image.shape[:2]
    pitch = max(min(width, height) * rng.uniform(0.06, 0.35), 4)
    radius = pitch * rng.uniform(0.2, 0.6)
    jitter = rng.uniform(0, 0.25) * pitch
    same = _outline(rng, radius)
    vary = rng.random() < 0.5
    for y in np.arange(pitch / 2, height, pitch):
        for x in np.arange(pitch / 2, width, pitch):
            middle = (np.array([x, y]) + rng.normal(0, jitter, 2)).astype(np.int32)
            _fill(image, (_outline(rng, radius) if vary else same) + middle, rng)


def _strokes(image: Image, rng: np.random.Generator) -> None:
    """Poles, branches, cables, cracks: chains of segments of one thickness."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 15))):
        steps = rng.normal(0, rng.uniform(0.02, 0.3), (int(rng.integers(1, 8)), 2)) * max(width, height)
        points = np.cumsum(np.vstack([rng.uniform(0, 1, 2) * [width, height], steps]), 0).astype(np.int32)
        thickness = int(max(1, np.exp(rng.uniform(0, np.log(max(min(width, height) / 8, 2))))))
        cv2.polylines(image, [points], bool(rng.random() < 0.2), _ink(rng), thickness, cv2.LINE_AA)


def _writing(image: Image, rng: np.random.Generator) -> None:
    """Lines of letters."""
    height, width = image.shape[:2]
    size = min(width, height) * np.exp(rng.uniform(np.log(0.03), np.log(0.3)))
    ink = _ink(rng)
    font = int(rng.integers(0, 8))
    y = rng.uniform(0, height / 2)
    for _ in range(int(rng.integers(1, 9))):
        text = "".join(rng.choice(_LETTERS, int(rng.integers(2, 30))))
        place = (int(rng.uniform(-0.1, 0.3) * width), int(y))
        cv2.putText(image, text, place, font, size / 22, ink, max(int(size / 12), 1), cv2.LINE_AA)
        y += 1.6 * size


def _animals(image: Image, rng: np.random.Generator) -> None:
    """Up to three of a kind, as dark or light shapes or with a fur of noise."""
    height, width = image.shape[:2]
    fur = fractal_noise(rng, width, height) if rng.random() < 0.5 else np.full_like(image, _ink(rng))
    build = _AnimalBuild.random(rng)
    shape = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        length = min(width, height) * np.exp(rng.uniform(np.log(0.2), np.log(0.75)))
        _draw_animal(shape, rng.uniform(0.1, 0.9, 2) * [width, height], length, build, rng)
    image[:] = image + shape[..., None] / np.float32(255) * (fur.astype(np.float32) - image)


class _AnimalBuild(NamedTuple):
    """Lengths and thicknesses of an animal on four legs, over the length of its trunk; angles in radians."""

    trunk: float
    leg: float
    leg_thickness: float
    neck: float
    neck_thickness: float
    neck_up: float
    head: float
    tail: float
    ear: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> _AnimalBuild:
        """From dachshund to giraffe."""
        return cls(
            trunk=rng.uniform(0.25, 0.5),
            leg=rng.uniform(0.25, 1.0),
            leg_thickness=rng.uniform(0.05, 0.14),
            neck=rng.uniform(0.1, 0.7),
            neck_thickness=rng.uniform(0.12, 0.26),
            neck_up=rng.uniform(-0.2, 1.3),
            head=rng.uniform(0.2, 0.4),
            tail=rng.uniform(0.1, 0.7),
            ear=rng.uniform(0.03, 0.15),
        )


def _draw_animal(
    shape: NDArray[np.uint8], middle: NDArray[np.float64], length: float, build: _AnimalBuild, rng: np.random.Generator
) -> None:
    """Adds an animal seen from the side to a mask; `length` of its trunk and `middle` in pixels."""
    forward = 1.0 if rng.random() < 0.5 else -1.0
    tilt = rng.normal(0, 0.15)
    along = np.array([forward * np.cos(tilt), np.sin(tilt)])
    down = np.array([-np.sin(tilt), np.cos(tilt)])

    def towards(angle: float) -> NDArray[np.float64]:  # 0: ahead, a quarter turn: up
        return np.cos(angle) * along - np.sin(angle) * down

    def limb(
        start: NDArray[np.float64], angles: Sequence[float], reach: float, thickness: float
    ) -> NDArray[np.float64]:
        for k, angle in enumerate(angles):
            end = start + length * reach / len(angles) * towards(angle)
            width = max(round(length * thickness * (1 - 0.5 * k / len(angles))), 1)
            cv2.line(shape, _pixel(start), _pixel(end), 255, width, cv2.LINE_AA)
            start = end
        return start

    trunk = (length, length * build.trunk)
    cv2.ellipse(shape, (tuple(middle), trunk, float(np.degrees(np.arctan2(along[1], along[0])))), 255, -1)
    for place in (0.38, 0.3, -0.3, -0.38):
        hip = middle + length * (place * along + 0.2 * build.trunk * down)
        swing = rng.normal(0, 0.35)
        bends = -np.pi / 2 + swing + rng.normal(0, 0.25, 3)
        limb(hip, bends.tolist(), build.leg, build.leg_thickness)
    shoulder = middle + length * (0.38 * along - 0.1 * build.trunk * down)
    nape = limb(shoulder, [build.neck_up + rng.normal(0, 0.15)] * 2, build.neck, build.neck_thickness)
    limb(nape, [build.neck_up - 0.8 + rng.normal(0, 0.3)] * 2, build.head, 0.8 * build.neck_thickness)
    limb(nape, [build.neck_up + rng.uniform(0.3, 1.2)], build.ear + build.neck_thickness / 2, 0.05)
    limb(middle - 0.47 * length * along, (np.pi + rng.normal(0, 0.8, 3)).tolist(), build.tail, 0.05)


def _pixel(point: NDArray[np.float64]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


_DRAWINGS: tuple[Callable[[Image, np.random.Generator], None], ...] = (_shapes, _grid, _strokes, _writing, _animals)
