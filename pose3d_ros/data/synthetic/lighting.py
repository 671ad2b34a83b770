"""Light and background from panoramas, and light alone for other backgrounds. World frame: y up, metres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.data.synthetic.assets import CROWDED_HDRIS, TEST_HDRIS
from pose3d_ros.data.synthetic.types import FloatArray

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
# Basis constants squared times the cosine lobe's coefficients over pi (Ramamoorthi and Hanrahan 2001).
_SH_SCALE = np.array([0.282095**2] + [0.488603**2 * 2 / 3] * 3 + [1.092548**2 / 4] * 2 + [0.315392**2 / 4]
                     + [1.092548**2 / 4] + [0.546274**2 / 4])  # fmt: skip
MAX_SUN_RATIO = 4.0


@dataclass(frozen=True)
class Light:
    """Light in the camera's optical frame.

    Attributes:
        harmonics: [9, 3] order-2 irradiance over pi.
        sun_direction: [3] towards the light.
        sun_colour: [3] its irradiance over pi.
    """

    harmonics: FloatArray
    sun_direction: FloatArray
    sun_colour: FloatArray

    def grey_level(self) -> float:
        """Luminance of a white surface, roughly (half of it sees the sun)."""
        return float((self.harmonics[0] + 0.5 * self.sun_colour) @ _LUMINANCE)

    def scaled(self, factor: float | FloatArray) -> Light:
        """The same light, brighter by a factor (or one per channel)."""
        return Light(self.harmonics * factor, self.sun_direction, self.sun_colour * factor)


@dataclass(frozen=True)
class Environment:
    """A panorama.

    Attributes:
        name: file stem.
        image: [H, W, 3] linear RGB.
        directions: [N, 3] unit vectors of a coarse copy without its brightest spot.
        radiance: [N, 3] radiance times solid angle.
        sun_direction: [3]; sun_colour: [3] the brightest spot.
        clean: no real people in it.
    """

    name: str
    image: FloatArray
    directions: FloatArray
    radiance: FloatArray
    sun_direction: FloatArray
    sun_colour: FloatArray
    clean: bool


def load_environments(root: Path, split: str) -> list[Environment]:
    """The panoramas of a split. Raises FileNotFoundError when there is none."""
    result = []
    for path in sorted((root / "scenes" / "hdri").glob("*.hdr")):
        if (path.stem in TEST_HDRIS) != (split == "test"):
            continue
        image = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
        if image is None:
            continue
        result.append(_analyse(path.stem, np.ascontiguousarray(image[..., ::-1], dtype=np.float32)))
    if not result:
        raise FileNotFoundError(f"no .hdr panoramas under {root / 'scenes' / 'hdri'}")
    return result


def _analyse(name: str, image: FloatArray) -> Environment:
    image = np.minimum(image, 5000.0)
    coarse = cv2.resize(image, (128, 64), interpolation=cv2.INTER_AREA)
    v, u = np.mgrid[0:64, 0:128]
    theta = (v + 0.5) / 64 * np.pi
    phi = ((u + 0.5) / 128 - 0.5) * 2 * np.pi
    directions = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), -np.sin(theta) * np.cos(phi)], axis=-1)
    solid = np.sin(theta) * (np.pi / 64) * (2 * np.pi / 128)
    luminance = coarse @ _LUMINANCE
    weight = luminance * solid * (directions[..., 1] > -0.1)
    peak = directions.reshape(-1, 3)[np.argmax(cv2.GaussianBlur(weight, (0, 0), 2.0))]
    near = (directions @ peak) > np.cos(np.radians(15))
    level = np.median(luminance) * 2
    excess = coarse * np.where(near, np.maximum(0, 1 - level / np.maximum(luminance, 1e-9)), 0)[..., None]
    sun = (excess * solid[..., None]).sum((0, 1)) / np.pi
    ambient = (coarse - excess) * solid[..., None]
    return Environment(
        name=name,
        image=image,
        directions=directions.reshape(-1, 3),
        radiance=ambient.reshape(-1, 3),
        sun_direction=peak,
        sun_colour=sun,
        clean=name not in CROWDED_HDRIS,
    )


def light_in_camera(environment: Environment, rotation: FloatArray, yaw: float) -> Light:
    """Light seen by a camera whose rotation (world → camera) is [3, 3], the panorama turned by ``yaw`` radians."""
    turn = rotation @ _yaw(yaw)
    x, y, z = (environment.directions @ turn.T).T
    basis = np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    harmonics = (basis @ environment.radiance) * _SH_SCALE[:, None]
    sun = environment.sun_colour
    ratio = float(sun @ _LUMINANCE) / max(float(harmonics[0] @ _LUMINANCE), 1e-9)
    if ratio > MAX_SUN_RATIO:
        sun = sun * (MAX_SUN_RATIO / ratio)
    return Light(harmonics, turn @ environment.sun_direction, sun)


def _yaw(angle: float) -> FloatArray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def pixel_rays(K: FloatArray, rotation: FloatArray, width: int, height: int) -> FloatArray:
    """World directions [H, W, 3] of pixel centres (not normalised, camera z = 1)."""
    x = (np.arange(width, dtype=np.float32) - K[0, 2]) / K[0, 0]
    y = (np.arange(height, dtype=np.float32) - K[1, 2]) / K[1, 1]
    r = rotation.astype(np.float32)
    rays: FloatArray = x[None, :, None] * r[0] + y[:, None, None] * r[1] + r[2]
    return rays


def panorama_view(environment: Environment, rays: FloatArray, yaw: float) -> FloatArray:
    """The panorama [H, W, 3] (linear) along world directions [H, W, 3]."""
    local = rays @ _yaw(yaw).astype(np.float32)
    h, w = environment.image.shape[:2]
    length = np.sqrt((local * local).sum(-1))
    u = (np.arctan2(local[..., 0], -local[..., 2]) / (2 * np.pi) + 0.5) * w - 0.5
    v = np.arccos(np.clip(local[..., 1] / length, -1, 1)) / np.pi * h - 0.5
    view = cv2.remap(environment.image, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_WRAP)  # fmt: skip
    return np.asarray(view, dtype=np.float32)
