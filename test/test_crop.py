"""Square crops: the map and the pixels must agree, at every scale."""

import numpy as np
import pytest

from pose3d_ros.crop import CROP_MARGIN, apply, box_of_joints, crop_transform, inverse, square_of_box, warp


def test_crop_puts_the_centre_in_the_middle_and_the_side_on_the_edge():
    transform = crop_transform([100.0, 50.0], 80.0, 192)
    np.testing.assert_allclose(apply(transform, [100.0, 50.0]), [95.5, 95.5])
    np.testing.assert_allclose(apply(transform, [140.0, 50.0]), [95.5 + 96, 95.5])


@pytest.mark.parametrize("mirror", [False, True])
def test_inverse_undoes_a_turned_crop(mirror):
    transform = crop_transform([31.0, 77.0], 123.0, 192, rotation_rad=0.4, mirror=mirror)
    points = np.random.default_rng(0).uniform(0, 200, (24, 2))
    np.testing.assert_allclose(apply(inverse(transform), apply(transform, points)), points, atol=1e-9)


def test_mirror_exchanges_left_and_right():
    plain, mirrored = (crop_transform([50.0, 50.0], 100.0, 100, mirror=m) for m in (False, True))
    x, y = apply(plain, [60.0, 20.0])
    np.testing.assert_allclose(apply(mirrored, [60.0, 20.0]), [99 - x, y])


@pytest.mark.parametrize("side", [60.0, 300.0, 900.0])
def test_pixels_lie_where_the_map_says(side):
    """A bright blob is found at its mapped place when the crop grows, shrinks, and shrinks by area averaging."""
    image = np.zeros((1000, 1000, 3), np.uint8)
    y, x = np.mgrid[:1000, :1000]
    blob = np.array([520.0, 486.0])
    image[...] = (255 * np.exp(-((x - blob[0]) ** 2 + (y - blob[1]) ** 2) / (2 * (side / 20) ** 2)))[..., None]
    transform = crop_transform([500.0, 500.0], side, 192)
    crop = warp(image, transform, 192)[..., 0].astype(float)
    weight = crop / crop.sum()
    v, u = np.mgrid[:192, :192]
    expected = apply(transform, blob)
    if expected.min() > 20 and expected.max() < 172:
        np.testing.assert_allclose([(weight * u).sum(), (weight * v).sum()], expected, atol=0.15)


def test_crop_beside_the_picture_is_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    for side in (50.0, 900.0):
        crop = warp(image, crop_transform([5000.0, 5000.0], side, 64), 64)
        assert crop.shape == (64, 64, 3)
        assert not crop.any()


def test_box_of_joints_grows_by_15_percent():
    np.testing.assert_allclose(box_of_joints([[0.0, 0.0], [10.0, 20.0]]), [-0.75, -1.5, 10.75, 21.5])


def test_square_follows_the_longer_side():
    centre, side = square_of_box([10.0, 20.0, 30.0, 120.0])
    np.testing.assert_allclose(centre, [20.0, 70.0])
    assert side == pytest.approx(100 * CROP_MARGIN)
