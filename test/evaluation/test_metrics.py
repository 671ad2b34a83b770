"""Metrics against values that can be told by hand."""

import numpy as np
import pytest

from pose3d_ros.evaluation import metrics


@pytest.fixture
def poses():
    return np.random.default_rng(0).normal(size=(5, 17, 3))


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_mpjpe_of_a_shift(poses):
    assert metrics.mpjpe(poses + np.array([0, 3, 4]), poses) == pytest.approx(5)


def test_n_mpjpe_ignores_scale(poses):
    assert metrics.n_mpjpe(1.3 * poses, poses) == pytest.approx(0, abs=1e-9)
    assert metrics.mpjpe(1.3 * poses, poses) > 0.1


def test_pa_mpjpe_ignores_similarities_but_no_reflections(poses):
    moved = 0.7 * poses @ rotation(1) + [1, 2, 3]
    assert metrics.pa_mpjpe(moved, poses) == pytest.approx(0, abs=1e-9)
    assert metrics.pa_mpjpe(poses * [-1, 1, 1], poses) > 0.1


def test_pa_mpjpe_is_never_worse_than_a_translation_alone(poses):
    noisy = poses + np.random.default_rng(2).normal(scale=0.2, size=poses.shape)
    centred = noisy - noisy.mean(1, keepdims=True) + poses.mean(1, keepdims=True)
    squared = ((metrics.procrustes(noisy, poses) - poses) ** 2).sum((1, 2))
    assert (squared <= ((centred - poses) ** 2).sum((1, 2)) + 1e-9).all()


def test_time_derivatives():
    time = np.arange(10.0)
    target = np.zeros((10, 2, 3))
    steady, curved = target.copy(), target.copy()
    steady[..., 0] = time[:, None]
    curved[..., 0] = time[:, None] ** 2
    assert metrics.acceleration_error(steady, target) == pytest.approx(0)
    assert metrics.velocity_error(steady, target) == pytest.approx(1)
    assert metrics.acceleration_error(curved, target) == pytest.approx(2)
    with pytest.raises(ValueError, match="3 frames"):
        metrics.acceleration_error(target[:2], target[:2])


def test_pck_counts_masked_joints_only():
    target = np.zeros((2, 4, 2))
    predicted = target.copy()
    predicted[0, 0, 0] = 10
    predicted[1, 1, 0] = 5
    assert metrics.pck(predicted, target, 6) == pytest.approx(7 / 8)
    assert metrics.pck(predicted, target, np.array([11.0, 5.0])) == pytest.approx(7 / 8)  # 5 is not nearer than 5
    assert metrics.pck(predicted, target, 6, np.array([[True] * 2 + [False] * 2] * 2)) == pytest.approx(3 / 4)
    assert np.isnan(metrics.pck(predicted, target, 6, np.zeros((2, 4), bool)))


def test_coverage_of_a_gaussian():
    error = np.random.default_rng(3).normal(scale=0.1, size=(2000, 4, 3))
    sigma = np.full((2000, 4), 0.1)
    assert metrics.coverage(error, sigma) == pytest.approx(0.683, abs=0.01)
    assert metrics.coverage(error, sigma, 2) == pytest.approx(0.954, abs=0.01)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="same shape"):
        metrics.mpjpe(np.zeros((1, 17, 3)), np.zeros((1, 16, 3)))
