"""Pictures of the package's clip, spoiled in every way."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import pose3d_ros
from pose3d_ros.image_health import ImageMonitor, Trouble, is_same, look_at, thumbnail, troubles_of
from pose3d_ros.video import open_source

CLIP = Path(pose3d_ros.__file__).parent / "assets" / "clip.mp4"
STEP_NS = 100_000_000


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Every tenth frame of the clip, from when somebody is in it."""
    with open_source(str(CLIP)) as source:
        return [image.copy() for i, (image, _) in enumerate(source) if i >= 60 and i % 10 == 0]


def exposed(image: np.ndarray, gain: float, noise: float = 2.0) -> np.ndarray:
    """The picture with more or less light, and the noise of a sensor."""
    grain = np.random.default_rng(1).normal(0, noise, image.shape)
    return np.clip(gain * image + grain, 0, 255).astype(np.uint8)


def blurred(image: np.ndarray, share: float) -> np.ndarray:
    """The picture out of focus by this share of its width."""
    return cv2.GaussianBlur(image, (0, 0), share * image.shape[1])


def found_in(image: np.ndarray) -> set[Trouble]:
    return troubles_of(look_at(thumbnail(image)))


def watched(pictures: list[np.ndarray], step_ns: int = STEP_NS) -> ImageMonitor:
    monitor = ImageMonitor()
    for i, picture in enumerate(pictures):
        monitor.note(picture, i * step_ns)
    return monitor


def test_good_pictures_are_well(pictures):
    assert [found_in(p) for p in pictures] == [set()] * len(pictures)
    assert [found_in(exposed(p, 1.0, 4.0)) for p in pictures] == [set()] * len(pictures)


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (1920, 1440)])
def test_the_size_does_not_matter(pictures, size):
    sharp = cv2.resize(pictures[10], size, interpolation=cv2.INTER_AREA)
    assert found_in(sharp) == set()
    assert found_in(blurred(sharp, 0.01)) == {Trouble.BLURRED}


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("share", [0.006, 0.01, 0.03, 0.06])
def test_blur(pictures, share, noise):
    for picture in pictures[::4]:
        assert found_in(exposed(blurred(picture, share), 1.0, noise)) == {Trouble.BLURRED}


def test_low_contrast_is_not_blur(pictures):
    pale = (0.35 * pictures[10] + 90).astype(np.uint8)
    assert found_in(pale) == set()


@pytest.mark.parametrize(
    ("gain", "expected"),
    [(0.0, Trouble.DARK), (0.05, Trouble.DARK), (0.2, Trouble.UNDEREXPOSED), (4.0, Trouble.OVEREXPOSED)],
)
def test_exposure(pictures, gain, expected):
    for picture in pictures[::4]:
        found = found_in(exposed(picture, gain))
        assert expected in found
        assert found <= {expected, Trouble.BLURRED}


def test_a_bare_wall_is_not_blurred():
    wall = np.random.default_rng(2).normal(140, 1, (480, 640, 3)).astype(np.uint8)
    assert found_in(wall) == set()


def test_tiny_pictures_are_no_error():
    assert found_in(np.full((1, 1, 3), 128, np.uint8)) == set()


def test_one_picture_does_not_alarm(pictures):
    black = np.zeros_like(pictures[0])
    monitor = watched([*pictures[:9], black, black, *pictures[9:15]])
    assert monitor.troubles == ()


def test_a_trouble_lasts_and_ends(pictures):
    moving = [exposed(p, 1.0, 1.0 + 0.01 * i) for i, p in enumerate(pictures[:12])]
    dark = [exposed(p, 0.02) for p in pictures[:12]]
    monitor = watched([*moving, *dark])
    assert monitor.troubles == (Trouble.DARK,)
    monitor.note(moving[0], 24 * STEP_NS)
    assert monitor.troubles == (Trouble.DARK,)
    for i, picture in enumerate(moving):
        monitor.note(picture, (25 + i) * STEP_NS)
    assert monitor.troubles == ()


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def test_frozen(pictures):
    assert watched([pictures[5]] * 60).troubles == (Trouble.FROZEN,)


def test_frozen_in_spite_of_compression(pictures):
    versions = [recompressed(pictures[5], 98), pictures[5]]
    assert is_same(*map(thumbnail, versions))
    assert watched(versions * 30).troubles == (Trouble.FROZEN,)


def test_a_still_scene_before_a_real_sensor_is_not_frozen(pictures):
    rng = np.random.default_rng(3)
    still = pictures[5].astype(float)
    noisy = [np.clip(still + rng.normal(0, 1.5, still.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    assert watched(noisy).troubles == ()


def test_slow_changes_are_no_freeze(pictures):
    fading = [np.clip(pictures[5].astype(int) - i, 0, 255).astype(np.uint8) for i in range(60)]
    assert watched(fading).troubles == ()


def test_frozen_for_a_moment_is_not_told(pictures):
    assert watched([pictures[5]] * 25).troubles == ()


def test_time_that_jumps_back_and_reset(pictures):
    monitor = watched([pictures[5]] * 60)
    monitor.note(pictures[6], 0)
    monitor.reset()
    assert monitor.troubles == ()
    assert monitor.look is None


def test_it_costs_little(pictures):
    """Half a millisecond; the best of many, and leave for a busy machine."""
    monitor, costs = ImageMonitor(), []
    for i in range(200):
        began = time.perf_counter()
        monitor.note(pictures[i % 2], i * STEP_NS)
        costs.append(time.perf_counter() - began)
    assert min(costs) < 2e-3
