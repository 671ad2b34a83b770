"""Figures for 3D and 2D pose, as pure functions; each names its protocol. Metres in, metres out.

``predicted`` and ``target`` are [..., J, 3]; means run over everything, the root joint included where it is among the
J (leaving it out raises an MPJPE over 17 joints by 6.25 %: say which).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def _check(predicted: Array, target: Array) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"predicted {predicted.shape} and target {target.shape} must have the same shape")


def joint_errors(predicted: Array, target: Array) -> Array:
    """Euclidean distance of every joint [..., J]."""
    _check(predicted, target)
    return np.linalg.norm(predicted - target, axis=-1)


def mpjpe(predicted: Array, target: Array) -> float:
    """Mean per joint position error. Protocol 1 of Human3.6M when both are root-relative."""
    return float(joint_errors(predicted, target).mean())


def n_mpjpe(predicted: Array, target: Array) -> float:
    """MPJPE after the best scale per pose (Rhodin et al. 2018): Σ(target·predicted)/Σpredicted²; root-relative."""
    _check(predicted, target)
    scale = (target * predicted).sum(axis=(-2, -1)) / np.maximum((predicted**2).sum(axis=(-2, -1)), 1e-12)
    return mpjpe(scale[..., None, None] * predicted, target)


def procrustes(predicted: Array, target: Array) -> Array:
    """``predicted`` after the best similarity (rotation, translation, scale) onto ``target``, per pose [..., J, 3]."""
    _check(predicted, target)
    mean_p = predicted.mean(axis=-2, keepdims=True)
    mean_t = target.mean(axis=-2, keepdims=True)
    p, t = predicted - mean_p, target - mean_t
    u, s, vt = np.linalg.svd(np.swapaxes(p, -1, -2) @ t)
    flip = np.sign(np.linalg.det(u @ vt))  # no reflections
    u[..., :, -1] *= flip[..., None]
    s[..., -1] *= flip
    scale = s.sum(axis=-1) / np.maximum((p**2).sum(axis=(-2, -1)), 1e-12)
    return scale[..., None, None] * (p @ (u @ vt)) + mean_t


def pa_mpjpe(predicted: Array, target: Array) -> float:
    """MPJPE after a Procrustes alignment per pose: Protocol 2 of Human3.6M."""
    return mpjpe(procrustes(predicted, target), target)


def acceleration_error(predicted: Array, target: Array) -> float:
    """Mean |second difference of predicted − that of target| over [..., T, J, 3], metres per frame² (Kanazawa 2019)."""
    _check(predicted, target)
    if predicted.shape[-3] < 3:
        raise ValueError("acceleration needs at least 3 frames")
    return float(np.linalg.norm(np.diff(predicted - target, n=2, axis=-3), axis=-1).mean())


def velocity_error(predicted: Array, target: Array) -> float:
    """Mean |first difference of predicted − that of target| over [..., T, J, 3], metres per frame (MPJVE)."""
    _check(predicted, target)
    return float(np.linalg.norm(np.diff(predicted - target, axis=-3), axis=-1).mean())


def pck(predicted: Array, target: Array, radius: Array | float, mask: NDArray[np.bool_] | None = None) -> float:
    """Share of joints [..., J, D] strictly nearer than ``radius`` (number or [...] per pose), of the ``mask`` [..., J].

    In 2D the radius is a fraction of the torso; in 3D 0.15 m root-relative (MPI-INF-3DHP). No joint: NaN.
    """
    good = joint_errors(predicted, target) < np.asarray(radius)[..., None]
    if mask is None:
        return float(good.mean()) if good.size else float("nan")
    return float(good[mask].mean()) if mask.any() else float("nan")


def mahalanobis_squared(errors: Array, cov: Array) -> Array:
    """[...] squared distances of errors [..., D] in the standard deviations of their covariances [..., D, D]."""
    return np.asarray(np.einsum("...i,...ij,...j->...", errors, np.linalg.inv(cov), errors))


def coverage(errors: Array, sigma: Array, sigmas: float = 1.0) -> float:
    """Share of one-axis errors [..., J, 3] within ``sigmas`` times sigma [..., J]; Gaussian: 0.683 at 1, 0.954 at 2."""
    return float((np.abs(errors) < sigmas * sigma[..., None]).mean())
