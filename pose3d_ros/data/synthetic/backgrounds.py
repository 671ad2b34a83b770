"""What stands behind the people: panoramas, photographs, box rooms and painted clutter. All in linear light."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numba import njit

from pose3d_ros.data.synthetic.assets import TEST_BACKGROUNDS
from pose3d_ros.data.synthetic.raster import value_noise
from pose3d_ros.data.synthetic.types import ByteArray, FloatArray


def load_photos(root: Path, split: str) -> list[ByteArray]:
    """Background photographs [H, W, 3] RGB of a split; an empty list when there is none."""
    photos = []
    for path in sorted((root / "scenes" / "backgrounds").glob("*.jpg")):
        if path.stem.startswith(TEST_BACKGROUNDS) != (split == "test"):
            continue
        image = cv2.imread(str(path))
        if image is not None:
            photos.append(np.ascontiguousarray(image[..., ::-1], dtype=np.uint8))
    return photos


def photo_background(rng: np.random.Generator, photo: ByteArray, width: int, height: int) -> FloatArray:
    """A random crop [H, W, 3] of a photograph, mirrored at random."""
    h, w = photo.shape[:2]
    largest = min(w / width, h / height)
    scale = float(rng.uniform(0.35, 1.0)) * largest
    cw, ch = max(8, int(width * scale)), max(8, int(height * scale))
    x, y = int(rng.integers(0, w - cw + 1)), int(rng.integers(0, h - ch + 1))
    crop = photo[y : y + ch, x : x + cw]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(crop, (width, height), interpolation=method), np.float32)
    return np.asarray((resized / 255.0) ** 2.2, dtype=np.float32)


def clutter(rng: np.random.Generator, textures: ByteArray, width: int, height: int) -> FloatArray:
    """A gradient or a texture with random polygons, lines and discs on it."""
    canvas = np.empty((height, width, 3), np.float32)
    top, bottom = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    if rng.random() < 0.6:  # most walls are nearly grey
        top = rng.uniform(20, 250) + rng.normal(0, 12, 3)
        bottom = top + rng.normal(0, 30)
    canvas[:] = np.linspace(top, bottom, height)[:, None, :]
    if rng.random() < 0.3:
        texture = textures[int(rng.integers(len(textures))), ..., :3]
        canvas = canvas * 0.4 + cv2.resize(texture, (width, height)).astype(np.float32) * 0.6
    for _ in range(int(rng.choice([0, 3, 10, 25]))):
        colour = [float(c) for c in rng.uniform(0, 255, 3)]
        centre = rng.uniform(0, 1, 2) * [width, height]
        size = float(rng.uniform(0.03, 0.4)) * height
        kind = rng.random()
        if kind < 0.35:
            a, b = rng.uniform(0.3, 1.0, 2) * size
            corners = np.array([[-a, -b], [a, -b], [a, b], [-a, b]])
        elif kind < 0.7:
            corners = rng.normal(0, size * 0.7, (int(rng.integers(3, 7)), 2))
        elif kind < 0.85:
            end = (int(centre[0] + rng.normal(0, size * 2)), int(centre[1] + rng.normal(0, size * 2)))
            start = (int(centre[0]), int(centre[1]))
            cv2.line(canvas, start, end, colour, int(rng.integers(1, 12)), cv2.LINE_AA)
            continue
        else:
            cv2.circle(canvas, (int(centre[0]), int(centre[1])), int(size / 2), colour, -1, cv2.LINE_AA)
            continue
        cv2.fillPoly(canvas, [(corners + centre).astype(np.int32)], colour, cv2.LINE_AA)
    canvas = np.clip(canvas, 0, 255)
    return np.asarray((canvas / 255.0) ** 2.2, dtype=np.float32)


@njit(cache=True, fastmath=True)
def _wall_pattern(row: FloatArray, u: float, v: float) -> float:
    """How much of the second colour (0…1) a face shows at (u, v) metres; the row is that of ``_cast_room``."""
    kind, f, duty, seed = int(row[6]), row[7], row[8], int(row[11])
    t = 0.0
    a, b = u * f - np.floor(u * f), v * f - np.floor(v * f)
    if kind == 1 and (a < 0.04 or b < 0.04):  # tiles with joints
        t = 1.0
    elif kind == 2:  # planks or wallpaper stripes
        t = (0.6 if a < duty else 0.0) + 0.4 * value_noise(np.floor(u * f) * 7.7, v * 0.3, 0.0, seed)
    elif kind == 3:  # chequered
        t = float((int(np.floor(u * f)) + int(np.floor(v * f))) % 2)
    elif kind == 4:  # stains, carpet, marble
        t = value_noise(u * f, v * f, 0.0, seed) * 0.6 + 0.4 * value_noise(u * f * 5, v * f * 5, 1.0, seed)
    return t


@njit(cache=True, fastmath=True)
def _cast_room(rays: FloatArray, origin: FloatArray, size: FloatArray, faces: FloatArray, out: FloatArray) -> None:
    """Colour the inside of a box seen along rays.

    Args:
        rays: [H, W, 3]; origin: [3] inside the box. size: [2, 3] lower and upper corner.
        faces: [6, 12] per face (-x, +x, -y, +y, -z, +z): rgb, rgb 2, pattern, frequency, duty, noise, brightness, seed.
        out: [H, W, 3]
    """
    point = np.empty(3)
    for y in range(rays.shape[0]):
        for x in range(rays.shape[1]):
            best, axis, side = 1e9, 0, 0
            for k in range(3):
                d = rays[y, x, k]
                t = (size[1 if d > 0 else 0, k] - origin[k]) / d if d != 0 else 1e9
                if t < best:
                    best, axis, side = t, k, 1 if d > 0 else 0
            edge = 9.0  # distance to the nearest corner of the room
            for k in range(3):
                point[k] = origin[k] + best * rays[y, x, k]
                if k != axis:
                    edge = min(edge, point[k] - size[0, k], size[1, k] - point[k])
            u = point[0] if axis != 0 else point[2]
            v = point[1] if axis != 1 else point[2]
            row = faces[2 * axis + side]
            # A skirting board runs along the walls.
            t = 1.0 if axis != 1 and v < 0.1 else _wall_pattern(row, u, v)
            shade = row[10] * (1 - 0.35 * np.exp(-edge / 0.25))
            shade *= 1 + row[9] * (value_noise(u * 0.5, v * 0.5, 3.0, int(row[11])) - 0.5)
            for k in range(3):
                out[y, x, k] = (row[k] * (1 - t) + row[3 + k] * t) * shade


def walls(rng: np.random.Generator, inside: FloatArray) -> FloatArray:
    """The lower and the upper corner [2, 3] of a room round all points [N, 3], its floor at y = 0 or below them."""
    lower = inside.min(0) - rng.uniform(0.3, 4.0, 3)
    upper = inside.max(0) + rng.uniform(0.3, 4.0, 3)
    lower[1] = min(0.0, inside[:, 1].min())
    upper[1] = max(rng.uniform(2.3, 3.8), inside[:, 1].max() + 0.3)
    return np.stack([lower, upper])


def room(rng: np.random.Generator, rays: FloatArray, camera: FloatArray, inside: FloatArray) -> FloatArray:
    """A box room [H, W, 3] round all points ``inside`` [N, 3], of which the camera [3] that sees it is one."""
    bounds = walls(rng, inside)
    faces = np.zeros((6, 12), np.float32)
    wall = _wall_colour(rng)
    for k in range(6):
        colour = wall if k not in (2, 3) and rng.random() < 0.75 else _wall_colour(rng)
        if k == 3:
            colour = np.clip(0.75 + rng.normal(0, 0.08, 3), 0, 1)
        second = np.clip(colour * rng.uniform(0.4, 1.2) + rng.normal(0, 0.04, 3), 0, 1)
        pattern = int(rng.choice([0, 1, 2, 3, 4], p=[0.1, 0.25, 0.35, 0.1, 0.2] if k == 2 else [0.6, 0.1, 0.1, 0, 0.2]))
        frequency = float(rng.uniform(1.0, 8.0))
        brightness = float(rng.uniform(0.6, 1.1)) * (0.9 if k == 2 else 1.0)
        faces[k] = [*colour, *second, pattern, frequency, rng.uniform(0.05, 0.6), rng.uniform(0, 0.8), brightness,
                    rng.integers(0, 10000)]  # fmt: skip
    out = np.empty(rays.shape, np.float32)
    _cast_room(rays, camera.astype(np.float64), bounds, faces, out)
    return _hang_pictures(rng, out)


def _wall_colour(rng: np.random.Generator) -> FloatArray:
    grey = float(rng.uniform(0.08, 0.8))
    return np.asarray(np.clip(grey * (1 + rng.normal(0, 0.12, 3)), 0.02, 1))


def _hang_pictures(rng: np.random.Generator, image: FloatArray) -> FloatArray:
    """Dark and bright upright quadrilaterals: doors, windows, pictures, shelves."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(0, 6))):
        x, y = rng.uniform(0, width), rng.uniform(0, height * 0.75)
        w, h = rng.uniform(0.05, 0.35, 2) * height
        skew = rng.normal(0, 0.12) * w
        corners = np.array([[x, y], [x + w, y + skew], [x + w, y + h - skew], [x, y + h]]).astype(np.int32)
        colour = rng.uniform(0.01, 1.0) * np.clip(1 + rng.normal(0, 0.25, 3), 0, 2)
        cv2.fillPoly(image, [corners], [float(c) for c in colour], cv2.LINE_AA)
        if rng.random() < 0.5:
            frame = [float(c) for c in rng.uniform(0, 0.6) * np.ones(3)]
            cv2.polylines(image, [corners], True, frame, int(rng.integers(1, 4)), cv2.LINE_AA)
    return image
