"""Short rendered films with ground truth: people who move through a room before a robot's camera."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pose3d_ros import skeleton
from pose3d_ros.data.synthetic import backgrounds, lighting, render, retarget, scene
from pose3d_ros.data.synthetic import retarget as r
from pose3d_ros.data.synthetic.types import FloatArray

FPS = 30
WIDTH, HEIGHT = 640, 480
EMPTY_S = 1.6
"""A film goes on for so long after the last person has left."""
_TURN_S = 0.8


@dataclass(frozen=True)
class Step:
    """One frame of a person: a pose that faces +z with its pelvis over the origin, where it stands, and its heading."""

    pose: FloatArray
    spot: FloatArray
    yaw: float


Joints = list[list[float]]
"""[24][3] in the camera's optical frame, metres."""


class Film(NamedTuple):
    """path: of its clip.mp4. K: [3, 3] pixels. joints: of each frame and person; None: out of the picture."""

    path: Path
    K: FloatArray
    joints: list[list[Joints | None]]

    def describe(self, **truth: object) -> None:
        """Writes clip.json beside it: K, size [width, height], fps, joints (names), and the truth as it is given."""
        names = list(skeleton.JOINTS)
        description = {"K": self.K.tolist(), "size": [WIDTH, HEIGHT], "fps": FPS, "joints": names, **truth}
        text = json.dumps(description, separators=(",", ":"))
        self.path.with_suffix(".json").write_text(text, encoding="utf-8")


def shoot(
    studio: scene.Studio,
    out: Path,
    seed: int,
    cast: Sequence[Sequence[Step]],
    furniture: Sequence[render.Solid] = (),
    environment: str | None = None,
) -> Film:
    """Render people, each of whom leaves after their last step.

    Args:
        studio: opened with ``split="test"`` and ``photos=False``.
        out: folder for clip.mp4.
        seed: people, clothes and room.
        cast: each person's steps.
        furniture: what stands in the room.
        environment: panorama that gives the light; the first one by default.

    Raises:
        RuntimeError: OpenCV cannot write the file.
    """
    rng = np.random.default_rng([seed, 77])
    actors = []
    for steps in cast:
        one = studio.pool[int(rng.integers(len(studio.pool)))]
        actors.append((one, studio.wardrobe.dress(rng, one.looks), steps))
    camera = _camera()
    chosen = [e for e in studio.environments if e.name == environment] or studio.environments
    light = lighting.light_in_camera(chosen[0], camera.rotation, 2.2)
    light = light.scaled(0.62 / light.grey_level())
    light = light.scaled(light.harmonics[0].mean() / light.harmonics[0])
    rays = lighting.pixel_rays(camera.K, camera.rotation, WIDTH, HEIGHT).astype(np.float32)
    spots = np.array([camera.position, *(step.spot for steps in cast for step in steps)])
    room = backgrounds.room(np.random.default_rng([seed, 3]), rays, camera.position, spots)

    out.mkdir(parents=True, exist_ok=True)
    path = out / "clip.mp4"
    film = _open_writer(path)
    truth: list[list[Joints | None]] = []
    empty = 0
    for t in range(max(map(len, cast)) + int(EMPTY_S * FPS)):
        solids: list[render.Solid] = []
        on_stage = []
        for who, (one, materials, steps) in enumerate(actors):
            if t < len(steps):
                still = np.random.default_rng([seed, 9])  # the same hands in every frame
                pose = steps[t].pose @ about_y(steps[t].yaw).T
                person = scene.solid_person(still, studio, one, materials, pose, relaxed=True)
                solids.append(scene.moved(person, steps[t].spot))
                on_stage.append(who)
        solids += furniture
        picture = render.draw(solids, camera, light, studio.humans.textures)
        joints: list[Joints | None] = [None] * len(cast)
        for k, who in enumerate(on_stage):
            label = render.label(solids, k, camera, picture)
            joints[who] = label.joints_m.round(4).tolist() if _in_picture(label) else None
        truth.append(joints)
        empty = 0 if any(joints) else empty + 1
        linear = picture.colour + (1 - picture.coverage[..., None]) * room * picture.floor_shadow[..., None]
        image = np.clip(linear, 0, 1) ** np.float32(1 / 2.2)
        image = image + rng.standard_normal(image.shape, dtype=np.float32) * 0.006
        film.write(cv2.cvtColor(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
        if empty >= EMPTY_S * FPS:
            break
    film.release()
    return Film(path, camera.K, truth)


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


def about_y(angle: float) -> FloatArray:
    return np.asarray(retarget.axis_rotation(np.array([0.0, 1.0, 0.0]), angle))


def recorded(studio: scene.Studio, name: str) -> FloatArray:
    """A clip of the motion capture, its poses [n, 21, 3]. Raises ValueError when it is not of the test split."""
    for own, clip in zip(studio.mocap.names, studio.mocap.clips, strict=True):
        if own == name:
            return clip.astype(np.float64)
    raise ValueError(f"the motion capture has no test clip {name}: open the studio with split='test'")


def _yaw(pose: FloatArray) -> float:
    """Heading of a pose [21, 3]: 0 faces +z, positive turns towards +x."""
    across = pose[r.L_HIP] - pose[r.R_HIP]
    return float(np.arctan2(-across[2], across[0]))


def walk(
    clip: FloatArray, heading: float, start: FloatArray | None = None, end: FloatArray | None = None
) -> list[Step]:
    """A walk turned so that it leads along ``heading`` from ``start`` or to ``end``."""
    path = clip[:, r.PELVIS] * [1, 0, 1]
    way = path[-1] - path[0]
    rotation = about_y(heading - float(np.arctan2(way[0], way[2])))
    path = path @ rotation.T
    path = path - path[0] + start if start is not None else path - path[-1] + (end if end is not None else 0)
    steps = []
    for pose, spot in zip(clip, path, strict=True):
        turned = (pose - pose[r.PELVIS] * [1, 0, 1]) @ rotation.T
        yaw = _yaw(turned)
        steps.append(Step(turned @ about_y(-yaw).T, spot, yaw))
    return steps


def idle(clip: FloatArray, frames: int) -> FloatArray:
    """The calmest upright stretch of a clip, facing +z, pelvis over the origin."""
    speed = np.linalg.norm(np.diff(clip, axis=0), axis=-1).max(1)
    upright = clip[:, r.PELVIS, 1] > 0.85
    costs = [speed[k : k + frames].mean() + 9 * (~upright[k : k + frames]).any() for k in range(len(clip) - frames)]
    best = int(np.argmin(costs))
    stretch = clip[best : best + frames]
    first = stretch[0, r.PELVIS] * [1, 0, 1]
    return np.asarray((stretch - first) @ about_y(-_yaw(stretch[0])).T)


def turn(a: Step, b: Step) -> list[Step]:
    """Go over from one step to another, turning the shorter way round."""
    frames = int(_TURN_S * FPS)
    difference = (b.yaw - a.yaw + np.pi) % (2 * np.pi) - np.pi
    steps = []
    for k in range(1, frames):
        t = k / frames
        t = t * t * (3 - 2 * t)
        steps.append(Step(a.pose * (1 - t) + b.pose * t, a.spot * (1 - t) + b.spot * t, a.yaw + difference * t))
    return steps
