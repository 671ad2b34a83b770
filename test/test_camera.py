from __future__ import annotations

import cv2
import numpy as np
import pytest

from pose3d_ros.camera import Camera, CameraError

K = np.array([[820.0, 0, 642.3], [0, 815.0, 355.8], [0, 0, 1]])
DISTORTIONS = {
    "none": ("plumb_bob", []),
    "plumb_bob 4": ("plumb_bob", [-0.28, 0.09, 0.0008, -0.0005]),
    "plumb_bob 5": ("plumb_bob", [-0.31, 0.12, 0.0006, 0.0004, -0.02]),
    "rational 8": ("rational_polynomial", [4.1, 2.3, 0.0003, -0.0002, 0.12, 4.5, 3.6, 0.65]),
    "rational 14": (
        "rational_polynomial",
        [0.1, -0.2, 1e-3, 5e-4, 0.02, 0.05, -0.1, 0.01, 1e-3, 0, 2e-3, 0, 0.01, -0.02],
    ),
    "equidistant": ("equidistant", [-0.02, 0.006, -0.004, 0.001]),
    "fisheye, undistorted": ("fisheye", [0, 0, 0, 0]),
}


def camera(kind: str) -> Camera:
    model, distortion = DISTORTIONS[kind]
    return Camera(1280, 720, K, np.array(distortion, float), model)


def grid(width: int = 1280, height: int = 720) -> np.ndarray:
    """Pixels all over the image, its corners included."""
    return np.stack(np.meshgrid(np.linspace(0, width - 1, 17), np.linspace(0, height - 1, 11)), -1)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_pixels_to_rays_and_back(kind: str) -> None:
    pixels = grid()
    rays = camera(kind).rays(pixels)
    assert rays.shape == pixels.shape
    depths = np.linspace(0.5, 9, pixels[..., 0].size).reshape(pixels.shape[:2])
    points = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) * depths[..., None]
    assert np.abs(camera(kind).project(points) - pixels).max() < 1e-6


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_projection_agrees_with_opencv(kind: str) -> None:
    cam = camera(kind)
    points = np.random.default_rng(0).uniform([-1, -0.6, 2], [1, 0.6, 6], (50, 3))
    if cam.model == "equidistant" and cam.distortion.size:
        theirs = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), K, cam.distortion)[0]
    else:
        theirs = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, cam.distortion)[0]
    assert np.allclose(cam.project(points), theirs.reshape(-1, 2), atol=1e-9)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_ray_jacobian(kind: str) -> None:
    cam, pixels, step = camera(kind), grid()[1:-1, 1:-1], 1e-3
    _, jacobian = cam.rays_with_jacobian(pixels)
    assert jacobian.shape == (*pixels.shape, 2)
    for axis in range(2):
        shift = step * np.eye(2)[axis]
        difference = (cam.rays(pixels + shift) - cam.rays(pixels - shift)) / (2 * step)
        assert np.allclose(jacobian[..., axis], difference, atol=2e-6)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_a_resized_camera_sees_the_same(kind: str) -> None:
    cam = camera(kind)
    small = cam.resized(640, 360)
    points = np.random.default_rng(1).uniform([-1, -0.6, 2], [1, 0.6, 6], (30, 3))
    # Pixel centres are whole numbers: the left edge is at -0.5 in both.
    assert np.allclose((cam.project(points) + 0.5) / 2 - 0.5, small.project(points), atol=1e-9)


def test_behind_the_camera_is_nowhere() -> None:
    cam = camera("plumb_bob 5")
    assert np.isnan(cam.project([[0, 0, -1.0], [0, 0, 0]])).all()
    assert cam.project(np.zeros((0, 3))).shape == (0, 2)
    assert cam.rays(np.zeros((0, 2))).shape == (0, 2)


def test_a_pixel_that_no_ray_reaches_is_nan() -> None:
    # With this barrel distortion the image of all rays ends inside the picture.
    cam = Camera(1280, 720, K, np.array([-0.9, 0.0, 0, 0]), "plumb_bob")
    rays = cam.rays([[642.0, 356.0], [4000.0, 3000.0]])
    assert np.isfinite(rays[0]).all()
    assert np.isnan(rays[1]).all()


def test_no_ray_is_on_the_other_side_of_its_pixel() -> None:
    cam = Camera(
        640, 480, np.array([[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1.0]]), np.array([-0.2, 0, 0, 0]), "plumb_bob"
    )
    beyond = np.stack([np.linspace(700, 1100, 800), np.full(800, 240.0)], 1)
    rays, jacobian = cam.rays_with_jacobian(beyond)
    known = np.isfinite(rays).all(1)
    assert 0 < known.sum() < 800
    assert (rays[known, 0] > 0).all()
    assert np.isnan(jacobian[~known]).all()


def test_field_of_view() -> None:
    cam = Camera.from_horizontal_fov(640, 480, 90)
    left, right = cam.rays([[-0.5, 239.5], [639.5, 239.5]])
    assert np.allclose([left[0], right[0]], [-1, 1])
    assert np.allclose([cam.K[0, 0], cam.K[1, 1]], 320)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": np.zeros(9)}, "not calibrated"),
        ({"K": np.full(9, np.nan)}, "not calibrated"),
        ({"K": np.array([1.0, 1, 640, 1, 1, 360, 0, 0, 1])}, "no camera's can be"),
        ({"K": np.array([1e-300, 0, 640, 0, 1000, 360, 0, 0, 1])}, "no camera's can be"),
        ({"K": np.array([1000, 0, 1e300, 0, 1000, 360, 0, 0, 1])}, "no camera's can be"),
        ({"width": 0}, "publish width and height"),
        ({"distortion": np.ones(3)}, "3 coefficients do not fit"),
        ({"distortion": np.array([np.nan] * 5)}, "not finite"),
        ({"model": "banana", "distortion": np.ones(5)}, "unknown distortion model 'banana'"),
        ({"model": "equidistant", "distortion": np.ones(5)}, "do not fit"),
    ],
)
def test_unusable_calibrations_are_refused(changes: dict, message: str) -> None:
    values = {"width": 1280, "height": 720, "K": K, "distortion": np.zeros(5), "model": "plumb_bob", **changes}
    with pytest.raises(CameraError, match=message):
        Camera(**values)


@pytest.mark.parametrize("fov_deg", [0, -5, 180, 400])
def test_impossible_fields_of_view_are_refused(fov_deg: float) -> None:
    with pytest.raises(CameraError, match="between 0 and 180"):
        Camera.from_horizontal_fov(640, 480, fov_deg)
