"""Scores and covariances that mean what they say, on people whose truth is known."""

import numpy as np
import pytest

from pose3d_ros.evaluation.pose2d import MAHALANOBIS_SQUARED
from pose3d_ros.networks.calibration import Answers, fit_calibration, score_of

SIDE = 192.0


def people(count: int, seed: int, lift: float) -> Answers:
    """Joints whose chance to be right follows mass, and visibility where there is hardly any, and is lifted."""
    rng = np.random.default_rng(seed)
    certainty = rng.normal(0.5, 1, (count, 24))
    visibility = rng.normal(-4, 2, (count, 24))
    chance = 1 / (1 + np.exp(-(0.8 * certainty + 0.4 * np.minimum(visibility + 4, 0) + 0.1 + lift)))
    right = rng.random((count, 24)) < chance
    sd = np.sqrt(0.5 * 8.0 + 0.002 * SIDE**2 * (1 - chance))
    error = rng.normal(0, 1, (count, 24, 2)) * sd[..., None]
    covariance = np.broadcast_to(8.0 * np.eye(2), (count, 24, 2, 2))
    mass = 1 / (1 + np.exp(-certainty))
    counted = rng.random((count, 24)) < 0.7
    return Answers(mass, visibility, counted, right, error, covariance, np.full(count, 1 / count))


def gap(calibration, answers: Answers) -> float:
    """How far the mean score is from the share of right joints."""
    score = score_of(calibration, answers.mass, answers.visibility)
    return float((score - answers.right)[answers.counted].mean())


def joined(*parts: Answers) -> Answers:
    return Answers(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def test_scores_are_probabilities_and_ellipses_hold_their_share():
    calibration = fit_calibration(people(400, 0, 0.0), SIDE)
    fresh = people(400, 1, 0.0)
    score = score_of(calibration, fresh.mass, fresh.visibility)
    for low in (0.3, 0.5, 0.7):
        bin_ = (score > low) & (score <= low + 0.2) & fresh.counted
        assert fresh.right[bin_].mean() == pytest.approx(score[bin_].mean(), abs=0.03)
    missed = calibration.miss_variance * SIDE**2 * (1 - score)[..., None, None] * np.eye(2)
    scaled = calibration.peak_scale * fresh.covariance + missed
    distance = np.einsum("nji,njik,njk->nj", fresh.error, np.linalg.inv(scaled), fresh.error)
    for percent, limit in MAHALANOBIS_SQUARED.items():
        assert 100 * (distance <= limit)[fresh.counted].mean() == pytest.approx(percent, abs=4)


def test_who_shows_is_no_surer_than_who_hardly_shows_and_the_unseen_are_less_so():
    calibration = fit_calibration(people(400, 0, 0.0), SIDE)
    shows, hardly, unseen = (score_of(calibration, np.array(0.6), np.array(v)) for v in (4.0, -3.9, -10.0))
    assert shows == hardly
    assert unseen < shows - 0.3


def test_sets_count_alike_whatever_their_size():
    few, many = people(100, 0, -1.0), people(900, 1, 1.0)
    calibration = fit_calibration(joined(few, many), SIDE)
    hard, easy = people(300, 2, -1.0), people(300, 3, 1.0)
    assert gap(calibration, hard) == pytest.approx(-gap(calibration, easy), abs=0.04)
