"""Lets so many images per second of their own time through."""

from __future__ import annotations


class RateLimit:
    """Decides by the stamps alone, so that a bag replays to the same choice.

    They must be usable ones (`stamps`): then one before the last is of a time that jumped back.
    """

    def __init__(self) -> None:
        self._last_ns = 0
        self._due_ns: int | None = None

    def admits(self, stamp_ns: int, max_rate_hz: float) -> bool:
        """Whether an image is to be worked on; with a max_rate_hz of 0, every one is."""
        if max_rate_hz <= 0:
            self._due_ns = None
            return True
        period_ns = round(1e9 / max_rate_hz)
        due_ns = self._due_ns
        jumped_back = stamp_ns < self._last_ns
        self._last_ns = stamp_ns
        # A time that jumped, or a change of the rate, must not silence the stream: it begins anew.
        if jumped_back or due_ns is None or not due_ns - period_ns <= stamp_ns <= due_ns + period_ns:
            self._due_ns = stamp_ns + period_ns
            return True
        if stamp_ns < due_ns:
            return False
        self._due_ns = due_ns + period_ns
        return True
