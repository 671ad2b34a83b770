"""Makes stage 1's scores and covariances mean what they say, on photos kept from training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pose3d_ros.evaluation.pose2d import MAHALANOBIS_SQUARED

Array = NDArray[np.floating]

_CLIP = 1e-4


@dataclass(frozen=True)
class Calibration:
    """How the network's raw outputs become probabilities and covariances.

    score = sigmoid(mass_weight · logit(mass) + visibility_weight · visibility + bias)
    covariance = peak_scale · (window's second moments) + miss_variance · (1 - score) · side² · I
    """

    mass_weight: float
    visibility_weight: float
    bias: float
    peak_scale: float
    miss_variance: float


UNCALIBRATED = Calibration(mass_weight=1.0, visibility_weight=0.0, bias=0.0, peak_scale=1.0, miss_variance=0.0)
"""Leaves the raw outputs as they are: the score is the mass."""


def score_of(calibration: Calibration, mass: Array, visibility: Array) -> Array:
    """P(right) [...] from the peak's mass and the visibility's logit [...]."""
    mass = np.clip(mass, _CLIP, 1 - _CLIP)
    x = calibration.mass_weight * np.log(mass / (1 - mass)) + calibration.visibility_weight * visibility
    return 1 / (1 + np.exp(-x - calibration.bias))


def fit_calibration(
    mass: Array, visibility: Array, right: NDArray[np.bool_], error: Array, covariance: Array, side: float
) -> Calibration:
    """The calibration of labelled joints.

    mass, visibility: [n] raw outputs. right: [n] whether the joint is right. error: [n, 2] and covariance: [n, 2, 2]
    in the crop's pixels, side: of the crop.
    """
    logit = np.log(np.clip(mass, _CLIP, 1 - _CLIP) / (1 - np.clip(mass, _CLIP, 1 - _CLIP)))
    features = np.stack([logit, visibility, np.ones_like(logit)], 1)

    def log_loss(w: Array) -> float:
        x = features @ w
        return float(np.mean(np.logaddexp(0, x) - right * x) + 1e-4 * (w @ w))

    mass_weight, visibility_weight, bias = (float(w) for w in minimize(log_loss, np.array([1.0, 0.1, 0.0])).x)
    fitted = replace(UNCALIBRATED, mass_weight=mass_weight, visibility_weight=visibility_weight, bias=bias)
    missed = (1 - score_of(fitted, mass, visibility))[:, None, None] * side**2 * np.eye(2)

    def miscoverage(log_scales: Array) -> float:
        scaled = np.exp(log_scales[0]) * covariance + np.exp(log_scales[1]) * missed
        distance = np.einsum("ni,nij,nj->n", error, np.linalg.inv(scaled), error)
        return sum((np.mean(distance <= limit) - percent / 100) ** 2 for percent, limit in MAHALANOBIS_SQUARED.items())

    scales = np.exp(minimize(miscoverage, np.log([0.5, 0.005]), method="Nelder-Mead").x)
    return replace(fitted, peak_scale=float(scales[0]), miss_variance=float(scales[1]))
