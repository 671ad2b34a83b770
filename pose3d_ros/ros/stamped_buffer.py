"""The last messages of a topic, to be found by the stamp of an image. Knows no ROS; times are nanoseconds."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Generic, TypeVar

from pose3d_ros.ros.stamps import LATE_NS

Item = TypeVar("Item")

_MOST = 32  # what comes at any rate must not fill the memory


class StampedBuffer(Generic[Item]):
    """Keeps what an image may still ask for: an image is late by less than `LATE_NS`. All is forgotten when time
    jumps back."""

    def __init__(self) -> None:
        self._items: deque[tuple[int, Item]] = deque(maxlen=_MOST)

    def put(self, stamp_ns: int, item: Item) -> None:
        """Takes an item."""
        if self._items and stamp_ns < self._items[-1][0] - LATE_NS:
            self._items.clear()
        while self._items and self._items[0][0] < stamp_ns - LATE_NS:
            self._items.popleft()
        self._items.append((stamp_ns, item))

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> Item | None:
        """The item whose stamp is nearest, if it is near enough."""
        near = [
            (abs(own_ns - stamp_ns), item) for own_ns, item in self._items if abs(own_ns - stamp_ns) <= tolerance_ns
        ]
        return min(near, key=lambda pair: pair[0])[1] if near else None

    def is_settled(self, stamp_ns: int, tolerance_ns: int) -> bool:
        """Whether no item can be expected that is nearer, and near enough: items come in the order of their stamps, and
        no closer to each other than before.

        Items far in the future are from before a jump back in time, and tell nothing.
        """
        stamps_ns = [own_ns for own_ns, _ in self._items]
        spacing_ns = min((abs(later - earlier) for earlier, later in pairwise(stamps_ns)), default=0)
        return any(
            own_ns <= stamp_ns + LATE_NS and own_ns + spacing_ns - stamp_ns >= min(abs(own_ns - stamp_ns), tolerance_ns)
            for own_ns in stamps_ns
        )
