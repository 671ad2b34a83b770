"""Raised hands: a wrist above its shoulder for a while. What is uncertain is called unknown, never up or down."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.person import JointState
from pose3d_ros.skeleton import INDEX

Array = NDArray[np.float64]


class Hand(Enum):
    """Where a hand is."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class Hands(NamedTuple):
    """A person's own left and right."""

    left: Hand
    right: Hand


class HandLimits(NamedTuple):
    """What counts.

    min_confidence: least confidence, 0 to 1, of wrist and shoulder. max_sigma_m: most standard deviation of theirs.
    margin_m: how far a wrist must be above its shoulder. hold_s: how long, until it is believed.
    """

    min_confidence: float
    max_sigma_m: float
    margin_m: float
    hold_s: float


def hands_of(joints: NDArray[np.void], up: Array, limits: HandLimits) -> Hands:
    """A person's hands in one frame.

    joints: [24] with fields x, y, z, confidence, sigma, state, as in ~/joints. up: [3] unit vector in their frame.
    """
    left, right = (_hand(joints, up, limits, side) for side in ("left", "right"))
    return Hands(left, right)


def _hand(joints: NDArray[np.void], up: Array, limits: HandLimits, side: str) -> Hand:
    ends = joints[[INDEX[f"{side}_shoulder"], INDEX[f"{side}_wrist"]]]
    places = np.stack([ends["x"], ends["y"], ends["z"]], axis=1)
    sure = (
        np.isfinite(places).all()
        and (ends["state"] == JointState.VISIBLE).all()
        and (ends["confidence"] >= limits.min_confidence).all()
        and (ends["sigma"] <= limits.max_sigma_m).all()
    )
    if not sure:
        return Hand.UNKNOWN
    return Hand.UP if (places[1] - places[0]) @ up > limits.margin_m else Hand.DOWN


class _Seen(NamedTuple):
    """A hand as it is believed to be, and as it has been seen since when."""

    believed: Hand
    seen: Hand
    since_ns: int


class HandsOverTime:
    """Believes a hand to be up or down only when it was seen so for `hold_s` of the images' stamps.

    That it is unknown is believed at once: who acts on a hand must stop when it is no longer seen.
    """

    def __init__(self) -> None:
        self._hands: dict[tuple[int, int], _Seen] = {}
        self._last_ns = 0

    def update(self, people: Mapping[int, Hands], stamp_ns: int, hold_s: float) -> dict[int, Hands]:
        """What to believe of the people in this frame, by id. A stamp before the last one's forgets what was."""
        if stamp_ns < self._last_ns:
            self._hands.clear()
        self._last_ns = stamp_ns
        self._hands = {
            (person, side): self._next(self._hands.get((person, side)), hand, stamp_ns, hold_s)
            for person, hands in people.items()
            for side, hand in enumerate(hands)
        }
        return {
            person: Hands(*(self._hands[person, side].believed for side in range(len(hands))))
            for person, hands in people.items()
        }

    @staticmethod
    def _next(before: _Seen | None, hand: Hand, stamp_ns: int, hold_s: float) -> _Seen:
        if hand is Hand.UNKNOWN or before is None:
            return _Seen(Hand.UNKNOWN, hand, stamp_ns)
        since_ns = before.since_ns if hand is before.seen else stamp_ns
        held = stamp_ns - since_ns >= hold_s * 1e9
        return _Seen(hand if held else before.believed, hand, since_ns)
