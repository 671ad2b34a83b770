"""A short film of one rendered person with ground truth: walks in, turns, waves, walks out; then nobody.

Made from CC0 assets and the motion capture's test split only, so that it may be shipped with the package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose3d_ros.data.synthetic import looks, poses, render, scene
from pose3d_ros.data.synthetic.film import FPS, Step, idle, recorded, shoot, turn, walk
from pose3d_ros.data.synthetic.types import FloatArray

_WALK_IN, _IDLE, _WALK_OUT = "02_02", "02_06", "02_01"
_WAVE_S = 2.6


def render_clip(studio: scene.Studio, out: Path, seed: int = 0, environment: str | None = None) -> Path:
    """Render the film; arguments and errors as of ``film.shoot``.

    Returns:
        The path of clip.mp4. clip.json beside it (``Film.describe``) holds joints_m [T][24][3] in the camera's optical
        frame in metres, null where nobody is in the picture.
    """
    table = _table(np.random.default_rng([seed, 5]))
    film = shoot(studio, out, seed, [_choreography(studio)], table, environment)
    film.describe(joints_m=[joints for [joints] in film.joints])
    return film.path


def _table(rng: np.random.Generator) -> list[render.Solid]:
    """A low table on the right that hides the legs of whoever walks out behind it."""
    material = looks.furniture_material(rng)
    material[[looks.m.M_R, looks.m.M_G, looks.m.M_B]] = 0.28, 0.16, 0.08
    material[looks.m.M_PATTERN] = looks.m.PATTERN_PLAIN
    top = (np.array([-0.55, 0.7, -0.3]), np.array([0.55, 0.74, 0.3]))
    side = (np.array([-0.55, 0.0, 0.24]), np.array([0.55, 0.7, 0.28]))
    solids = []
    for low, high in (top, side):
        solids.append(scene.turned_box(low, high, -0.2, np.array([1.35, 0, -2.9]), material))
    return solids


def _choreography(studio: scene.Studio) -> list[Step]:
    """In from the left, turn to the camera, wave, turn away, out to the right."""
    enter = walk(recorded(studio, _WALK_IN), heading=np.radians(82), end=np.array([0.15, 0.0, -3.6]))
    leave = walk(recorded(studio, _WALK_OUT), heading=np.radians(95), start=enter[-1].spot)
    calm = idle(recorded(studio, _IDLE), int(_WAVE_S * FPS))
    standing = [Step(_waving(pose, k / FPS), enter[-1].spot, 0.0) for k, pose in enumerate(calm)]
    return enter + turn(enter[-1], standing[0]) + standing + turn(standing[-1], leave[0]) + leave


def _waving(pose: FloatArray, time_s: float) -> FloatArray:
    """The right arm goes up, waves, and comes down again."""
    ease = float(np.clip(min(time_s - 0.1, _WAVE_S - 0.2 - time_s) / 0.5, 0, 1))
    ease = ease * ease * (3 - 2 * ease)
    pose = pose.copy()
    s, e, w = poses.ARMS["right"]
    upper, lower = pose[e] - pose[s], pose[w] - pose[e]
    swing = 0.5 * np.sin(2 * np.pi * 1.8 * time_s)
    up = np.array([-0.85, -0.15, 0.35]), np.array([-0.1 - swing, 1.0, 0.25])
    for a, b, now, goal in ((s, e, upper, up[0]), (e, w, lower, up[1])):
        length = np.linalg.norm(now)
        # By way of forward, so that the forearm does not fold through the body.
        middle = np.array([-0.2, 0.0, 1.0]) * ease * (1 - ease) * 2
        direction = now / length * (1 - ease) + goal / np.linalg.norm(goal) * ease + middle
        pose[b] = pose[a] + direction / np.linalg.norm(direction) * length
    return pose
