"""Keeps a steady beat on the monotonic clock."""

from __future__ import annotations

import threading
import time

_WAKE_EARLY_S = 0.001


class Pacer:
    """Waits for each beat of a period. A beat that was missed by more than a period is given up, not caught up."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next_s: float | None = None

    def wait(self, stop: threading.Event) -> bool:
        """Waits for the next beat (the first comes at once); False if `stop` was set meanwhile."""
        now = time.monotonic()
        if self._next_s is None or now - self._next_s > self._period_s:
            self._next_s = now
        # The event's wait is late by up to a millisecond on some systems; the rest is slept.
        if stop.wait(max(0.0, self._next_s - now - _WAKE_EARLY_S)):
            return False
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s += self._period_s
        return True
