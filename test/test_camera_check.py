"""Calibrations to believe, and others."""

from __future__ import annotations

import numpy as np
import pytest

from pose3d_ros.camera import Camera
from pose3d_ros.camera_check import implausibility


def camera(f=550.0, cx=319.5, cy=239.5, distortion=(), model="plumb_bob", fy=None):
    return Camera(640, 480, np.array([[f, 0, cx], [0, fy or f, cy], [0, 0, 1]]), np.array(distortion, float), model)


@pytest.mark.parametrize(
    "good",
    [
        camera(),
        camera(distortion=[-0.1, 0.01, 0, 0, 0]),
        camera(distortion=[-0.35, 0.15, 0.001, -0.001, -0.03]),
        camera(300, model="equidistant", distortion=[-0.01, 0.002, 0, 0]),
        camera(0.5 * 640 / np.tan(np.radians(160) / 2)),
        camera(cx=250, cy=300),
    ],
)
def test_good_calibrations(good):
    assert implausibility(good) == ""


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (camera(5000), "field of view of 7 degrees"),
        (camera(10), "horizontal field of view of 176 degrees"),
        (camera(fy=9000), "vertical field of view of 3 degrees"),
        (camera(100, model="equidistant", distortion=[0.01, 0, 0, 0]), "field of view of 367 degrees"),
        (camera(cx=700), "principal point (700, 240) lies outside the image of 640x480"),
        (camera(cy=-5), "principal point"),
        (camera(distortion=[-2.5, 0, 0, 0, 0]), "does not invert"),
        (camera(distortion=[0, 0, 5, 5, 0]), "does not invert"),
    ],
)
def test_bad_calibrations(bad, text):
    assert text in implausibility(bad)
