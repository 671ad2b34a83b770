"""Makes stage 1's scores and covariances mean what they say, on people kept from training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pose3d_ros.evaluation.pose2d import MAHALANOBIS_SQUARED

Array = NDArray[np.floating]

_CLIP = 1e-4
_TOO_SMALL = 6.0
"""How much worse an ellipse is that holds too few errors than one that holds too many."""


@dataclass(frozen=True)
class Calibration:
    """How the network's raw outputs become probabilities and covariances.

    score = sigmoid(mass_weight · logit(mass) + unseen_weight · min(visibility - unseen_below, 0) + bias)
    covariance = peak_scale · (window's second moments) + miss_variance · (1 - score) · side² · I

    Visibility, a logit, counts from where the joint hardly shows on downwards: what a body hides of itself is found as
    well as what shows, what lies behind other things or outside the picture is not.
    """

    mass_weight: float
    unseen_weight: float
    unseen_below: float
    bias: float
    peak_scale: float
    miss_variance: float


UNCALIBRATED = Calibration(
    mass_weight=1.0, unseen_weight=0.0, unseen_below=-4.0, bias=0.0, peak_scale=1.0, miss_variance=0.0
)
"""Leaves the raw outputs as they are: the score is the mass."""


class Answers(NamedTuple):
    """What a network said of n labelled people, and what was true.

    mass, visibility: [n, 24] raw outputs. counted: [n, 24] the joints whose place is known. right: [n, 24] whether they
    are right. error: [n, 24, 2] and covariance: [n, 24, 2, 2] in the crop's pixels. weight: [n] of the person.
    """

    mass: Array
    visibility: Array
    counted: NDArray[np.bool_]
    right: NDArray[np.bool_]
    error: Array
    covariance: Array
    weight: Array


def score_of(calibration: Calibration, mass: Array, visibility: Array) -> Array:
    """P(right) [n, 24] from the peaks' mass and the visibility's logit [n, 24]."""
    weights = (calibration.mass_weight, calibration.unseen_weight, calibration.bias)
    return 1 / (1 + np.exp(-_logit(mass, np.minimum(visibility - calibration.unseen_below, 0), np.array(weights))))


def _logit(mass: Array, unseen: Array, weights: Array) -> Array:
    mass = np.clip(mass, _CLIP, 1 - _CLIP)
    return np.asarray(weights[0] * np.log(mass / (1 - mass)) + weights[1] * unseen + weights[2])


def fit_calibration(answers: Answers, side: float) -> Calibration:
    """The calibration that makes the answers' scores and covariances true; side: of the crop, pixels."""
    counted = answers.counted
    right, error, covariance = answers.right[counted], answers.error[counted], answers.covariance[counted]
    share = np.broadcast_to(answers.weight[:, None], counted.shape)[counted]
    share = share / share.sum()
    unseen = np.minimum(answers.visibility - UNCALIBRATED.unseen_below, 0)

    def log_loss(weights: Array) -> float:
        x = _logit(answers.mass, unseen, weights)[counted]
        return float(share @ (np.logaddexp(0, x) - right * x) + 1e-4 * (weights @ weights))

    mass_weight, unseen_weight, bias = (float(w) for w in minimize(log_loss, np.array([1.0, 0.1, 0.0])).x)
    fitted = replace(UNCALIBRATED, mass_weight=mass_weight, unseen_weight=unseen_weight, bias=bias)
    missed = (1 - score_of(fitted, answers.mass, answers.visibility)[counted])[:, None, None] * side**2 * np.eye(2)

    def miscoverage(log_scales: Array) -> float:
        scaled = np.exp(log_scales[0]) * covariance + np.exp(log_scales[1]) * missed
        distance = np.einsum("ni,nij,nj->n", error, np.linalg.inv(scaled), error)
        gaps = [float(share @ (distance <= limit)) - percent / 100 for percent, limit in MAHALANOBIS_SQUARED.items()]
        return sum(gap**2 if gap > 0 else _TOO_SMALL * gap**2 for gap in gaps)

    scales = np.exp(minimize(miscoverage, np.log([0.5, 0.005]), method="Nelder-Mead").x)
    return replace(fitted, peak_scale=float(scales[0]), miss_variance=float(scales[1]))
