"""Where a person stands and how large the person is, as one Gaussian, and what further measurements make of it.

A single camera sees X0, the root of a person of usual size (`stages.place`); a person larger by the factor s stands at
s·X0 with joints s·r. Depth and ground tell X and s apart: linear measurements of (X, s) in a Kalman update.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.skeleton import STATURE_SD
from pose3d_ros.stages.place import SIZE_SD, Placement

Array = NDArray[np.float64]

_SIZE = 3  # index of the size in the state
_LEAST_SIGMA_M = 0.003
_BLURRED_PX = 20.0
_LEAST_BOX_PX = 20.0


class Body(NamedTuple):
    """n people: (x, y, z of the root in metres, size relative to the lifted pose).

    mean: [n, 4]; NaN for people without a place. cov: [n, 4, 4], all of the uncertainty. noise_cov: [n, 4, 4], the part
    of it that changes from frame to frame.
    """

    mean: Array
    cov: Array
    noise_cov: Array

    @property
    def root_m(self) -> Array:
        """[n, 3] metres."""
        return self.mean[:, :_SIZE]

    @property
    def root_cov(self) -> Array:
        """[n, 3, 3] metres²."""
        return self.cov[:, :_SIZE, :_SIZE]

    @property
    def root_noise_cov(self) -> Array:
        """[n, 3, 3] metres²."""
        return self.noise_cov[:, :_SIZE, :_SIZE]

    @property
    def size(self) -> Array:
        """[n] relative to the lifted pose."""
        return self.mean[:, _SIZE]

    @property
    def size_variance(self) -> Array:
        """[n] of the size."""
        return self.cov[:, _SIZE, _SIZE]


class Rows(NamedTuple):
    """m scalar measurements of each of n people: values = rows @ (X, s) + noise.

    rows [n, m, 4], values [n, m]; NaN values are not measured. variance [n, m] of the noise of each.
    shared_variance [n]: of an error that is the same in all of a person's, and the same in the next frame.
    """

    rows: Array
    values: Array
    variance: Array
    shared_variance: Array


def body_of(placed: Placement, size: ArrayLike, size_variance: ArrayLike) -> Body:
    """The people of a placement, whose size [n] is known with a variance [n]."""
    mean, variance = np.asarray(size, np.float64), np.asarray(size_variance, np.float64)
    along = np.concatenate([placed.root_m, np.ones((len(mean), 1))], 1)  # how the state moves with the size
    noise = np.zeros((len(mean), 4, 4))
    noise[:, :_SIZE, :_SIZE] = mean[:, None, None] ** 2 * placed.noise_cov
    cov = noise + variance[:, None, None] * along[:, :, None] * along[:, None, :]
    return Body(mean[:, None] * along, cov, noise)


def without_blur(body: Body, boxes: ArrayLike) -> Body:
    """The people, whose boxes are [n, 4] pixels, as far away as they would be without blur.

    Who has few pixels comes out too large, as blur adds to all sides, and so too near: at three quarters of the way at
    27 pixels, nine tenths at 37, where it is from 60 on (rendered people kept for calibration, a CPU's networks). Half
    of what is put right counts as the standard deviation of what is left.
    """
    box = np.asarray(boxes, np.float64)
    side_px = np.maximum((box[:, 2:] - box[:, :2]).max(1, initial=_LEAST_BOX_PX), _LEAST_BOX_PX)
    growth = (_BLURRED_PX / side_px) ** 4
    factor = np.ones_like(body.mean)
    factor[:, :_SIZE] = np.exp(growth)[:, None]
    mean = factor * body.mean
    both = factor[:, :, None] * factor[:, None]
    cov = both * body.cov
    place_m = mean[:, :_SIZE]
    cov[:, :_SIZE, :_SIZE] += (growth[:, None, None] / 2) ** 2 * place_m[:, :, None] * place_m[:, None]
    return Body(mean, cov, both * body.noise_cov)


def corrected(body: Body, measured: Rows) -> Body:
    """The people after a Kalman update; those without a place, and those of whom nothing was measured, stay as they
    are."""
    used = np.isfinite(measured.values) & np.asarray(np.isfinite(body.mean).all(1))[:, None]
    known: NDArray[np.bool_] = np.asarray(used.any(1))
    mean, cov, noise = (_where(known, part, 0.0) for part in body)
    rows = np.where(used[..., None], measured.rows, 0.0)
    variance = np.where(used, measured.variance, 1.0)
    shared = np.where(used[:, :, None] & used[:, None, :], measured.shared_variance[:, None, None], 0.0)
    own = variance[:, :, None] * np.eye(rows.shape[1])
    innovation = np.where(used, measured.values - np.einsum("nmi,ni->nm", rows, mean), 0.0)
    total = rows @ cov @ np.swapaxes(rows, 1, 2) + own + shared
    gain = cov @ np.swapaxes(rows, 1, 2) @ np.linalg.inv(total)
    rest = np.eye(4) - gain @ rows
    turned, gain_turned = np.swapaxes(rest, 1, 2), np.swapaxes(gain, 1, 2)
    # Joseph's form, so that what changes from frame to frame can be told from what stays.
    new_noise = rest @ noise @ turned + gain @ own @ gain_turned
    slow = rest @ (cov - noise) @ turned + gain @ shared @ gain_turned
    new = Body(mean + np.einsum("nim,nm->ni", gain, innovation), new_noise + slow, new_noise)
    return Body(*(_where(known, part, old) for part, old in zip(new, body, strict=True)))


def mixed(one: Body, other: Body, share: Array) -> Body:
    """The Gaussians with mean and covariance of mixtures, of which `one` has the share [n], 0...1."""
    weight, rest = share[:, None], 1 - share[:, None]
    mean = weight * one.mean + rest * other.mean
    cov = np.zeros_like(one.cov)
    for body, part in ((one, weight), (other, rest)):
        away = body.mean - mean
        cov += part[..., None] * (body.cov + away[:, :, None] * away[:, None, :])
    return Body(mean, cov, weight[..., None] * one.noise_cov + rest[..., None] * other.noise_cov)


def sized(joints_m: ArrayLike, sigma_m: ArrayLike, body: Body) -> tuple[Array, Array]:
    """Root-relative joints [n, 24, 3] and their sigma [n, 24] for people of the body's size.

    The lifter's sigma holds the spread of usual sizes, of which as much stays as of the body's own. People without a
    place keep the lifter's.
    """
    joints = np.asarray(joints_m, np.float64)
    placed = np.isfinite(body.size)
    size = np.where(placed, body.size, 1.0)[:, None]
    left = np.where(placed, body.size_variance / SIZE_SD**2, 1.0)[:, None]
    own = pose_variance(joints_m, sigma_m)
    return size[..., None] * joints, np.sqrt(size**2 * own + left * STATURE_SD**2 * (joints**2).sum(-1) / 3)


def pose_variance(joints_m: ArrayLike, sigma_m: ArrayLike) -> Array:
    """Variance [n, 24] of one axis of lifted joints, without the spread of people's sizes."""
    away = (np.asarray(joints_m, np.float64) ** 2).sum(-1) / 3
    return np.maximum(np.asarray(sigma_m, np.float64) ** 2 - STATURE_SD**2 * away, _LEAST_SIGMA_M**2)


def _where(known: NDArray[np.bool_], some: Array, others: ArrayLike) -> Array:
    """Of `some` [n, …] the people that are known [n], of `others` the rest."""
    return np.where(known.reshape(-1, *[1] * (some.ndim - 1)), some, others)
