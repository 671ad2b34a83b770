"""Which of its candidates each joint is, over time: a hidden Markov model per joint.

A picture often leaves two places for a joint, its own and the other side's. What was seen before tells which one it is:
a limb moves on from where it was. The forward algorithm keeps a belief over the candidates of the last frame, carries
it to those of this one by their distance, and weighs it with what this frame says.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SPEED_PER_S = 1.0
"""Standard deviation of a joint's speed against the body, in body sizes."""
_SPREAD = 0.08
"""Of a candidate's place from frame to frame, in body sizes."""
_JUMPS_PER_S = 0.5
"""How often a belief is simply wrong and starts anew anywhere."""
_JUMP_AREA = 0.25
"""Where a joint may be after that, body sizes squared."""
_CORRELATION_S = 0.1
"""Frames that follow each other faster than this say the same again: each counts as a part of a frame only."""
_LEAST_SCORE = 0.02


class Belief(NamedTuple):
    """What is believed of one person's joints: places [24, k, 2] in pixels, and the probability [24, k] of each.

    kept [24, k]: what the next frame is told of it, where frames that say the same again shall not add up.
    """

    places_px: Array
    probability: Array
    kept: Array


def believe(places_px: Array, score: Array, size_px: float, before: Belief | None, dt_s: float) -> Belief:
    """The belief after a frame with candidates at `places_px` [24, k, 2] of the given score [24, k].

    size_px: of the body, about its height. before: the belief `dt_s` seconds ago, moved along with the whole body;
    None for somebody new.
    """
    evidence = score + _LEAST_SCORE
    if before is None:
        probability = _normalised(evidence)
        return Belief(places_px, probability, probability)
    away = (places_px[:, :, None] - before.places_px[:, None]) / size_px
    square = away[..., 0] ** 2 + away[..., 1] ** 2
    variance = (_SPEED_PER_S * dt_s) ** 2 + _SPREAD**2
    jump = 1 - np.exp(-_JUMPS_PER_S * dt_s)
    move = (1 - jump) * np.exp(-0.5 * square / variance) / (2 * np.pi * variance) + jump / _JUMP_AREA
    expected = (move * before.kept[:, None]).sum(-1)
    # This frame counts in full for itself: candidates close to each other are told apart by nothing else.
    kept = _normalised(expected * evidence ** min(dt_s / _CORRELATION_S, 1.0))
    return Belief(places_px, _normalised(expected * evidence), kept)


def _normalised(weights: Array) -> Array:
    return weights / weights.sum(-1, keepdims=True)
