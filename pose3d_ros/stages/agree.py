"""What several looks at the same people say together.

Crops of other sizes err in other ways: a place that several of them name is right more often than the surest of one,
and their mean lies nearer to the joint.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import areas
from pose3d_ros.stages.pose2d import Pose2D

Array = NDArray[np.float64]

_NEAR = 0.06
"""Standard deviation of looks at the same place, over the root of the area of the person's box."""
_TRUST_POWER = 6
"""A crop that does not fit the person gives a somewhat lower mean score, and ought to count for little."""
_SPOKEN = 0.99
"""Of what has spoken for one place so much does not speak for the next; the rest keeps the next from being nowhere."""


def best_look(looks: Sequence[Pose2D]) -> Pose2D:
    """Of each of the n people in several looks the one with the highest mean score."""
    chosen = np.stack([look.score.mean(-1) for look in looks]).argmax(0)
    rows = np.arange(len(chosen))
    return Pose2D(*(np.stack(values)[chosen, rows] for values in zip(*looks, strict=True)))


def agreed(looks: Sequence[Pose2D], boxes: Array) -> Pose2D:
    """The places that several looks at the same n people, in `boxes` [n, 4], agree on.

    The best look says how surely somebody is there, and what of them is seen.
    """
    best = best_look(looks)
    places = np.concatenate([look.candidates_px for look in looks], 2)  # [n, 24, m, 2]
    cov = np.concatenate([look.candidates_cov for look in looks], 2)
    score = np.concatenate([look.candidates_score * own for look, own in zip(looks, _trust(looks), strict=True)], 2)
    away = places[:, :, :, None] - places[:, :, None]
    variance = _NEAR**2 * areas(boxes)[:, None, None, None]
    near = np.exp(-0.5 * (away**2).sum(-1) / variance)  # [n, 24, m, m]
    chosen = []
    for _ in range(best.candidates_score.shape[-1]):
        support = (near @ score[..., None])[..., 0]
        top = support.argmax(-1)[..., None]
        behind = np.take_along_axis(near, top[..., None], 2)[:, :, 0] * score  # [n, 24, m]
        chosen.append(_mean(places, cov, behind))
        score = score - _SPOKEN * behind
    px, covariance, total = (np.stack(parts, 2) for parts in zip(*chosen, strict=True))
    return best._replace(candidates_px=px, candidates_cov=covariance, candidates_score=total)


def _trust(looks: Sequence[Pose2D]) -> Array:
    """[looks, n, 1, 1] how much each look counts; one in all."""
    mean = np.stack([look.score.mean(-1) for look in looks])[..., None, None]
    weight = (mean / mean.max(0)) ** _TRUST_POWER
    return np.asarray(weight / weight.sum(0))


def _mean(places: Array, cov: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Mean [n, 24, 2] and covariance [n, 24, 2, 2] of the mixture of places [n, 24, m, 2] with covariances of their own
    and weights [n, 24, m], and the weights' sum [n, 24]."""
    total = weight.sum(-1)
    share = weight / total[..., None]
    mean = np.einsum("njm,njmi->nji", share, places)
    off = places - mean[:, :, None]
    spread = np.einsum("njm,njmi,njmk->njik", share, off, off)
    return mean, np.einsum("njm,njmik->njik", share, cov) + spread, total
