"""Root and size as one Gaussian: the algebra that depth and ground rest on."""

import numpy as np
import pytest
from simulated_people import see

from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.body import Body, Rows, body_of, corrected, mixed, without_blur
from pose3d_ros.stages.place import SIZE_SD, Placement, place


def gaussian(seed=0):
    """One person, of whom a part of the uncertainty is noise."""
    rng = np.random.default_rng(seed)
    slow, noise = (a @ a.T for a in 0.1 * rng.normal(size=(2, 4, 4)))
    return Body(rng.normal(size=(1, 4)), (slow + noise)[None], noise[None])


def rows(count=5, seed=1, shared=0.01):
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.01, 0.1, (1, count))
    return Rows(rng.normal(size=(1, count, 4)), rng.normal(size=(1, count)), variance, np.array([shared]))


def test_the_update_is_weighted_least_squares():
    body, measured = gaussian(), rows()
    new = corrected(body, measured)
    H, R = measured.rows[0], np.diag(measured.variance[0]) + measured.shared_variance
    information = np.linalg.inv(body.cov[0]) + H.T @ np.linalg.inv(R) @ H
    vector = np.linalg.solve(body.cov[0], body.mean[0]) + H.T @ np.linalg.solve(R, measured.values[0])
    np.testing.assert_allclose(new.cov[0], np.linalg.inv(information), atol=1e-10)
    np.testing.assert_allclose(new.mean[0], np.linalg.solve(information, vector), atol=1e-10)
    # Noise and what is slow are both covariances.
    assert (np.linalg.eigvalsh(new.noise_cov) > -1e-12).all()
    assert (np.linalg.eigvalsh(new.cov - new.noise_cov) > -1e-12).all()


def test_an_error_that_all_share_does_not_average_out():
    body = gaussian()
    many = Rows(np.tile([0.0, 0, 1, 0], (1, 1000, 1)), np.zeros((1, 1000)), np.ones((1, 1000)), np.array([0.04]))
    assert np.sqrt(corrected(body, many).cov[0, 2, 2]) == pytest.approx(
        np.sqrt(1 / (1 / body.cov[0, 2, 2] + 1 / 0.041)), rel=1e-3
    )


def test_what_is_not_measured_counts_for_nothing():
    body, measured = gaussian(), rows()
    holes = measured._replace(values=np.where([[True, False, True, True, False]], measured.values, np.nan))
    some = Rows(*(part[:, [0, 2, 3]] for part in measured[:3]), measured.shared_variance)
    for one, other in zip(corrected(body, holes), corrected(body, some), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    nothing = measured._replace(values=np.full((1, 5), np.nan))
    for one, other in zip(corrected(body, nothing), body, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_person_of_usual_size_is_where_place_says():
    people = see(5)
    cov = np.tile(1e-5 * np.eye(2), (5, NUM_JOINTS, 1, 1))
    rays = people.points_m[..., :2] / people.points_m[..., 2:]
    placed = place(people.joints_m, people.sigma_m, rays, cov, np.ones((5, NUM_JOINTS)))
    body = body_of(placed, np.ones(5), np.full(5, SIZE_SD**2))
    np.testing.assert_allclose(body.root_m, placed.root_m)
    np.testing.assert_allclose(body.root_cov, placed.cov, rtol=1e-9)
    np.testing.assert_allclose(body.root_noise_cov, placed.noise_cov)
    # Somebody larger by a tenth stands farther by a tenth; who is known well, is placed well.
    large = body_of(placed, np.full(5, 1.1), np.full(5, 0.01**2))
    np.testing.assert_allclose(large.root_m, 1.1 * placed.root_m)
    assert (large.root_cov[:, 2, 2] < body.root_cov[:, 2, 2]).all()


def test_a_mixture_has_the_moments_of_its_samples():
    one, other = gaussian(1), gaussian(2)
    rng = np.random.default_rng(0)
    samples = [rng.multivariate_normal(b.mean[0], b.cov[0], n) for b, n in ((one, 60_000), (other, 140_000))]
    both = mixed(one, other, np.array([0.3]))
    np.testing.assert_allclose(both.mean[0], np.concatenate(samples).mean(0), atol=0.01)
    np.testing.assert_allclose(both.cov[0], np.cov(np.concatenate(samples).T), atol=0.02)


def test_people_of_few_pixels_are_farther_than_they_look():
    """That moves them along the ray, and tells nothing of their size."""
    placed = Placement(
        np.tile([1.0, 0, 12], (3, 1)), np.zeros((3, 3, 3)), np.tile(0.01 * np.eye(3), (3, 1, 1)), np.ones(3, bool)
    )
    given = body_of(placed, np.ones(3), np.full(3, 0.05**2))
    body = without_blur(given, [[0, 0, 15, 30], [0, 0, 200, 400], [5, 5, 5, 5]])
    growth = (20 / 30) ** 4
    assert body.root_m[0] == pytest.approx(np.exp(growth) * given.root_m[0])
    assert body.root_m[1] == pytest.approx(given.root_m[1], rel=2e-3)
    assert np.isfinite(body.mean).all(), "of somebody without an extent, too"
    assert np.array_equal(body.size, given.size)
    assert np.array_equal(body.size_variance, given.size_variance)
    ray = given.root_m[0] / np.linalg.norm(given.root_m[0])
    distance = np.linalg.norm(body.root_m[0])
    assert ray @ body.root_noise_cov[0] @ ray == pytest.approx(0.01 * np.exp(2 * growth))
    spread = 0.01 * np.exp(2 * growth) + (0.05**2 + (growth / 2) ** 2) * distance**2
    assert ray @ body.root_cov[0] @ ray == pytest.approx(spread)
