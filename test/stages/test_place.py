"""Placement: exact without noise, honest with it, never behind the camera."""

import numpy as np
import pytest

from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.place import place

RAY_SIGMA = 0.004


def people(count: int, seed: int = 0, depth: tuple[float, float] = (1.0, 8.0)):
    """Random bodies about as large as people, with the pelvis at 0, and their roots."""
    rng = np.random.default_rng(seed)
    joints = rng.normal(0, (0.25, 0.5, 0.2), (count, NUM_JOINTS, 3))
    joints = np.clip(joints, -0.9, 0.9)
    joints[:, 0] = 0
    root = rng.uniform((-1, -0.5, 0), (1, 0.5, 0), (count, 3))
    root[:, 2] = rng.uniform(*depth, count)
    root[:, :2] *= root[:, 2:] * 0.4
    return joints, root


def rays_of(joints, root):
    points = joints + root[:, None]
    return points[..., :2] / points[..., 2:]


def covariance(count: int, sigma: float):
    return np.broadcast_to(sigma**2 * np.eye(2), (count, NUM_JOINTS, 2, 2))


def test_recovers_a_known_root_to_a_millimetre():
    joints, root = people(50, depth=(1.5, 10))
    sigma, score = np.full((50, NUM_JOINTS), 0.03), np.ones((50, NUM_JOINTS))
    placed = place(joints, sigma, rays_of(joints, root), covariance(50, 1e-4), score)
    assert placed.ok.all()
    np.testing.assert_allclose(placed.root_m, root, atol=1e-3)


def test_one_wrong_joint_moves_the_root_little():
    joints, root = people(30)
    rays = rays_of(joints, root)
    rays[:, 5] += 0.5
    sigma, score = np.full((30, NUM_JOINTS), 0.02), np.ones((30, NUM_JOINTS))
    placed = place(joints, sigma, rays, covariance(30, 0.002), score)
    assert np.median(np.linalg.norm(placed.root_m - root, axis=1) / root[:, 2]) < 0.02


def test_covariance_agrees_with_the_errors():
    rng = np.random.default_rng(1)
    joints, root = people(400, depth=(2, 6))
    sigma = 0.03
    noisy = joints + rng.normal(0, sigma, joints.shape)
    rays = rays_of(joints, root) + rng.normal(0, RAY_SIGMA, (400, NUM_JOINTS, 2))
    placed = place(
        noisy,
        np.full((400, NUM_JOINTS), sigma),
        rays,
        covariance(400, RAY_SIGMA),
        np.ones((400, NUM_JOINTS)),
        correlation=1.0,
    )
    error = placed.root_m - root
    squared = np.einsum("ni,nij,nj->n", error, np.linalg.inv(placed.noise_cov), error)
    assert 2.0 < squared.mean() < 4.5  # 3 degrees of freedom; Huber's weights cost a little


def test_depth_sigma_grows_with_distance():
    joints, root = people(2)
    root = np.array([[0, 0, 2.0], [0, 0, 8.0]])
    placed = place(
        joints, np.full((2, NUM_JOINTS), 0.02), rays_of(joints, root), covariance(2, 1e-3), np.ones((2, NUM_JOINTS))
    )
    near, far = np.sqrt(placed.cov[:, 2, 2])
    assert near >= 0.05 * 2.0
    assert far >= 0.05 * 8.0


@pytest.mark.parametrize("case", ["no joints", "three joints", "one point", "behind", "nan"])
def test_says_so_when_there_is_no_place(case):
    joints, root = people(1)
    rays, score = rays_of(joints, root), np.ones((1, NUM_JOINTS))
    if case == "no joints":
        score[:] = 0
    elif case == "three joints":
        score[:, 3:] = 0
    elif case == "one point":
        rays[:] = 0.1
    elif case == "behind":
        rays = -rays_of(joints, np.array([[0, 0, 3.0]]))  # upside down and mirrored: only a root behind explains it
    elif case == "nan":
        rays[:] = np.nan
    placed = place(joints, np.full((1, NUM_JOINTS), 0.02), rays, covariance(1, 1e-3), score)
    assert not placed.ok[0]
    assert np.isnan(placed.root_m).all()


@pytest.mark.parametrize("absurd", [1e5, 1e150, 1e298])
def test_an_impossible_calibration_is_no_place_but_does_no_harm(absurd):
    joints, root = people(2)
    sigma, score = np.full((2, NUM_JOINTS), 0.03), np.ones((2, NUM_JOINTS))
    rays = rays_of(joints, root)
    rays[1] += absurd
    placed = place(joints, sigma, rays, covariance(2, 1e-4), score)
    assert placed.ok.tolist() == [True, False]
    np.testing.assert_allclose(placed.root_m[0], root[0], atol=1e-2)


def test_nobody():
    empty = np.zeros((0, NUM_JOINTS))
    placed = place(np.zeros((0, NUM_JOINTS, 3)), empty, np.zeros((0, NUM_JOINTS, 2)), covariance(0, 1), empty)
    assert placed.root_m.shape == (0, 3)
