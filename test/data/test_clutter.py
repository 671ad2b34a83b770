"""Made pictures of nothing in particular."""

import numpy as np
import pytest

from pose3d_ros.data.clutter import clutter, fractal_noise


@pytest.mark.parametrize("size", [(256, 192), (31, 17), (8, 300)])
def test_any_size(size):
    width, height = size
    for seed in range(30):
        picture = clutter(np.random.default_rng(seed), width, height)
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8


def test_a_seed_gives_one_picture_and_another_gives_another():
    first, again, other = (clutter(np.random.default_rng(seed), 64, 48) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).mean() > 0.3


def test_noise_of_all_grains():
    """Neighbouring pixels are alike in some pictures, and strangers in others."""
    roughness = []
    for seed in range(30):
        grey = fractal_noise(np.random.default_rng(seed), 128, 128).mean(2)
        roughness.append(np.abs(np.diff(grey)).mean() / grey.std())
    assert min(roughness) < 0.15
    assert max(roughness) > 0.5


def test_some_pictures_are_drawn_on_an_even_ground_and_hardly_any_of_these_is_empty():
    pictures = [clutter(np.random.default_rng(seed), 64, 48).reshape(-1, 3) for seed in range(100)]
    most_frequent = [np.unique(picture, axis=0, return_counts=True)[1].max() / len(picture) for picture in pictures]
    assert 0.05 < np.mean(np.array(most_frequent) > 0.3) < 0.4
    assert np.mean(np.array(most_frequent) == 1) < 0.05
