"""How long each stage of the pipeline took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("find", "pose2d", "lift", "place", "track")


class StageTimes:
    """Adds times up, by stage. ms: milliseconds of each of STAGES so far."""

    def __init__(self) -> None:
        self.ms = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Adds the time of the block."""
        started = time.perf_counter()
        yield
        self.ms[stage] += 1e3 * (time.perf_counter() - started)
