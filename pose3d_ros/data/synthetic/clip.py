"""A short film of one rendered person with ground truth: walks in, turns, waves, walks out; then nobody.

Made from CC0 assets and the motion capture's test split only, so that it may be shipped with the package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros import skeleton
from pose3d_ros.data.synthetic import backgrounds, lighting, looks, poses, render, retarget, scene
from pose3d_ros.data.synthetic import retarget as r
from pose3d_ros.data.synthetic.types import FloatArray

FPS = 30
WIDTH, HEIGHT = 640, 480
EMPTY_S = 1.6
_WALK_IN, _IDLE, _WALK_OUT = "02_02", "02_06", "02_01"
_TURN_S, _WAVE_S = 0.8, 2.6


@dataclass(frozen=True)
class _Step:
    """One frame: a pose that faces +z with its pelvis over the origin, where it stands, and its heading."""

    pose: FloatArray
    spot: FloatArray
    yaw: float


def render_clip(studio: scene.Studio, out: Path, seed: int = 0, environment: str | None = None) -> Path:
    """Render the film.

    Args:
        studio: opened with ``split="test"`` and ``photos=False``.
        out: folder for clip.mp4 and clip.json.
        seed: person, clothes and room.
        environment: panorama that gives the light; the first one by default.

    Returns:
        The path of clip.mp4. clip.json holds K [3, 3] in pixels, size [width, height], fps, joints (names) and
        joints_m [T][24][3] in the camera's optical frame in metres, null where nobody is in the picture.

    Raises:
        RuntimeError: OpenCV cannot write the file.
    """
    rng = np.random.default_rng([seed, 77])
    steps = _choreography(studio)
    one = studio.pool[int(rng.integers(len(studio.pool)))]
    materials = studio.wardrobe.dress(rng, one.looks)
    camera = _camera()
    chosen = [e for e in studio.environments if e.name == environment] or studio.environments
    light = lighting.light_in_camera(chosen[0], camera.rotation, 2.2)
    light = light.scaled(0.62 / light.grey_level())
    light = light.scaled(light.harmonics[0].mean() / light.harmonics[0])
    rays = lighting.pixel_rays(camera.K, camera.rotation, WIDTH, HEIGHT).astype(np.float32)
    spots = np.array([camera.position, *(step.spot for step in steps)])
    room = backgrounds.room(np.random.default_rng([seed, 3]), rays, camera.position, spots)
    table = _table(np.random.default_rng([seed, 5]))

    out.mkdir(parents=True, exist_ok=True)
    path = out / "clip.mp4"
    film = _open_writer(path)
    truth: list[list[list[float]] | None] = []
    empty = 0
    for step in [*steps, *[None] * int(EMPTY_S * FPS)]:
        solids = list(table)
        joints = None
        if step is not None:
            still = np.random.default_rng([seed, 9])  # the same hands in every frame
            person = scene.solid_person(still, studio, one, materials, step.pose @ _about_y(step.yaw).T, relaxed=True)
            solids = [scene.moved(person, step.spot), *table]
        picture = render.draw(solids, camera, light, studio.humans.textures)
        if step is not None:
            label = render.label(solids, 0, camera, picture)
            joints = label.joints_m.round(4).tolist() if _in_picture(label) else None
        truth.append(joints)
        empty = 0 if joints else empty + 1
        linear = picture.colour + (1 - picture.coverage[..., None]) * room * picture.floor_shadow[..., None]
        image = np.clip(linear, 0, 1) ** np.float32(1 / 2.2)
        image = image + rng.standard_normal(image.shape, dtype=np.float32) * 0.006
        film.write(cv2.cvtColor(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
        if empty >= EMPTY_S * FPS:
            break
    film.release()
    description = {
        "K": camera.K.tolist(),
        "size": [WIDTH, HEIGHT],
        "fps": FPS,
        "joints": list(skeleton.JOINTS),
        "joints_m": truth,
    }
    (out / "clip.json").write_text(json.dumps(description, separators=(",", ":")), encoding="utf-8")
    return path


def _open_writer(path: Path) -> cv2.VideoWriter:
    """H.264 where OpenCV has it, else MPEG-4."""
    for code in ("avc1", "mp4v"):
        film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), FPS, (WIDTH, HEIGHT))
        if film.isOpened():
            return film
    raise RuntimeError(f"OpenCV cannot write {path}: neither avc1 nor mp4v is available")


def _in_picture(label: render.Label) -> bool:
    return bool(label.box[2] > label.box[0] + 1 and label.box[3] > label.box[1] + 1)


def _camera() -> render.Camera:
    """A robot's camera at 1.25 m, 60° wide, looking slightly down along -z."""
    focal = 0.5 * WIDTH / np.tan(np.radians(60) / 2)
    K = np.array([[focal, 0, WIDTH / 2 - 0.5], [0, focal, HEIGHT / 2 - 0.5], [0, 0, 1.0]])
    position = np.array([0.0, 1.25, 0.0])
    rotation = render.look_at(position, position + np.array([0.0, -0.09, -1.0]), 0.0)
    return render.Camera(K, rotation, position, WIDTH, HEIGHT)


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


def _about_y(angle: float) -> FloatArray:
    return np.asarray(retarget.axis_rotation(np.array([0.0, 1.0, 0.0]), angle))


def _choreography(studio: scene.Studio) -> list[_Step]:
    """In from the left, turn to the camera, wave, turn away, out to the right."""
    enter = _walk(_clip(studio, _WALK_IN), heading=np.radians(82), end=np.array([0.15, 0.0, -3.6]))
    leave = _walk(_clip(studio, _WALK_OUT), heading=np.radians(95), start=enter[-1].spot)
    idle = _idle(_clip(studio, _IDLE))
    wave_frames = int(_WAVE_S * FPS)
    standing = [_Step(_waving(idle[min(k, len(idle) - 1)], k / FPS), enter[-1].spot, 0.0) for k in range(wave_frames)]
    return enter + _turn(enter[-1], standing[0]) + standing + _turn(standing[-1], leave[0]) + leave


def _clip(studio: scene.Studio, name: str) -> FloatArray:
    for own, clip in zip(studio.mocap.names, studio.mocap.clips, strict=True):
        if own == name:
            return clip.astype(np.float64)
    raise ValueError(f"the motion capture has no test clip {name}: open the studio with split='test'")


def _yaw(pose: FloatArray) -> float:
    """Heading of a pose [21, 3]: 0 faces +z, positive turns towards +x."""
    across = pose[r.L_HIP] - pose[r.R_HIP]
    return float(np.arctan2(-across[2], across[0]))


def _walk(
    clip: FloatArray, heading: float, start: FloatArray | None = None, end: FloatArray | None = None
) -> list[_Step]:
    """A walk turned so that it leads along ``heading`` from ``start`` or to ``end``."""
    path = clip[:, r.PELVIS] * [1, 0, 1]
    way = path[-1] - path[0]
    turn = _about_y(heading - float(np.arctan2(way[0], way[2])))
    path = path @ turn.T
    path = path - path[0] + start if start is not None else path - path[-1] + (end if end is not None else 0)
    steps = []
    for pose, spot in zip(clip, path, strict=True):
        turned = (pose - pose[r.PELVIS] * [1, 0, 1]) @ turn.T
        yaw = _yaw(turned)
        steps.append(_Step(turned @ _about_y(-yaw).T, spot, yaw))
    return steps


def _idle(clip: FloatArray) -> FloatArray:
    """The calmest upright stretch of a clip, facing +z, pelvis over the origin."""
    frames = int(_WAVE_S * FPS)
    speed = np.linalg.norm(np.diff(clip, axis=0), axis=-1).max(1)
    upright = clip[:, r.PELVIS, 1] > 0.85
    costs = [speed[k : k + frames].mean() + 9 * (~upright[k : k + frames]).any() for k in range(len(clip) - frames)]
    best = int(np.argmin(costs))
    stretch = clip[best : best + frames]
    first = stretch[0, r.PELVIS] * [1, 0, 1]
    return np.asarray((stretch - first) @ _about_y(-_yaw(stretch[0])).T)


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


def _turn(a: _Step, b: _Step) -> list[_Step]:
    """Go over from one step to another, turning the shorter way round."""
    frames = int(_TURN_S * FPS)
    difference = (b.yaw - a.yaw + np.pi) % (2 * np.pi) - np.pi
    steps = []
    for k in range(1, frames):
        t = k / frames
        t = t * t * (3 - 2 * t)
        steps.append(_Step(a.pose * (1 - t) + b.pose * t, a.spot * (1 - t) + b.spot * t, a.yaw + difference * t))
    return steps
