"""Films of people whose ways cross, with ground truth: does everybody keep their identity?

Three kinds, by the seed: two walk past each other, one hiding the other; the same before somebody who stands there; two
meet, turn, and go back, whom a guess along their ways would exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from pose3d_ros.data.synthetic.film import FPS, Step, idle, recorded, shoot, turn, walk
from pose3d_ros.data.synthetic.scene import Studio

_WALKS, _IDLE = ("02_01", "02_02"), "02_06"
_NEAR_M, _FAR_M, _STANDING_M = (2.3, 2.9), (3.3, 4.2), (4.6, 5.4)
"""From the camera."""
_MEETING_M = 0.4
"""From the middle of the picture to each of two who meet there."""
_CALM_S = 2.6
"""Whoever stands moves so long, and then backwards."""


def render_crossing(studio: Studio, out: Path, seed: int = 0) -> Path:
    """Render the film of a seed; studio and errors as of ``film.shoot``.

    Returns:
        The path of clip.mp4. clip.json beside it (``Film.describe``) holds people_m [T][people][24][3] in the camera's
        optical frame in metres, null where that person is not in the picture.
    """
    rng = np.random.default_rng([seed, 21])
    film = shoot(studio, out, seed, _KINDS[seed % len(_KINDS)](studio, rng))
    film.describe(people_m=film.joints)
    return film.path


def _pass(studio: Studio, rng: np.random.Generator) -> list[list[Step]]:
    """Two walk past each other."""
    near, far = rng.uniform(*_NEAR_M), rng.uniform(*_FAR_M)
    return [_past(studio, rng, 1, near), _past(studio, rng, -1, far)]


def _pass_before_somebody(studio: Studio, rng: np.random.Generator) -> list[list[Step]]:
    """Two walk past each other, and past a third who stands."""
    two = _pass(studio, rng)
    return [*two, _standing(studio, rng, max(map(len, two)))]


def _meet(studio: Studio, rng: np.random.Generator) -> list[list[Step]]:
    """Two meet, turn and go back."""
    near, far = rng.uniform(*_NEAR_M), rng.uniform(*_FAR_M)
    return [_back(studio, rng, 1, near + 0.4), _back(studio, rng, -1, far)]


_KINDS = (_pass, _pass_before_somebody, _meet)


def _along(studio: Studio, rng: np.random.Generator, side: int) -> list[Step]:
    """A walk across the picture from anywhere; side: 1 to the right, -1 to the left."""
    clip = recorded(studio, _WALKS[int(rng.integers(len(_WALKS)))])
    return walk(clip, side * np.radians(90 + rng.uniform(-10, 10)), start=np.zeros(3))


def _moved(steps: Sequence[Step], frame: int, x: float, depth: float) -> list[Step]:
    """Steps, of which that of a frame stands at x, in metres to the right, and that far from the camera."""
    offset = np.array([x, 0.0, -depth]) - steps[frame].spot
    return [replace(step, spot=step.spot + offset) for step in steps]


def _past(studio: Studio, rng: np.random.Generator, side: int, depth: float) -> list[Step]:
    """All across the picture, by its middle half-way."""
    steps = _along(studio, rng, side)
    return _moved(steps, len(steps) // 2, rng.uniform(-0.15, 0.15), depth)


def _back(studio: Studio, rng: np.random.Generator, side: int, depth: float) -> list[Step]:
    """To the middle, and back again."""
    there = _along(studio, rng, side)
    there = _moved(there[len(there) // 2 :], -1, -side * _MEETING_M, depth)
    back = _along(studio, rng, -side)
    back = _moved(back, 0, there[-1].spot[0], -there[-1].spot[2])
    return [*there, *turn(there[-1], back[0]), *back]


def _standing(studio: Studio, rng: np.random.Generator, frames: int) -> list[Step]:
    """In the middle, facing the camera."""
    calm = idle(recorded(studio, _IDLE), int(_CALM_S * FPS))
    spot = np.array([rng.uniform(-0.4, 0.4), 0.0, -rng.uniform(*_STANDING_M)])
    return [Step(pose, spot, 0.0) for pose in islice(cycle([*calm, *calm[::-1]]), frames)]
