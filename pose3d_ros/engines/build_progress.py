"""How far a build is, from the phases that TensorRT tells of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from pose3d_ros.engines.engine import EngineError

Progress = Callable[[float | None, str], None]
"""Takes how much is done, 0...1 or None where nobody knows, and what is being done."""


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    inner: float = 0.0
    """How much of the step in hand is done."""


class BuildCancelledError(EngineError):
    """The build was given up as somebody wished."""


class PhaseTree:
    """Follows phases that have steps, each of which may be a phase of its own; as trt.IProgressMonitor reports them."""

    def __init__(self, report: Progress) -> None:
        self._report = report
        self._lock = threading.Lock()  # TensorRT may tell from several threads
        self._phases: dict[str, _Phase] = {}
        self._most = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, within the step in hand of its parent."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, number: int) -> None:
        """A phase has done its step of this number, counted from 0."""
        with self._lock:
            phase = self._phases[name]
            phase.done, phase.inner = min(number + 1, phase.steps), 0.0
            self._tell(name)

    def finish(self, name: str) -> None:
        """A phase is over, whatever steps it has skipped."""
        with self._lock:
            phase = self._phases[name]
            phase.done, phase.inner = phase.steps, 0.0
            self._tell(name)
            del self._phases[name]

    def _tell(self, name: str) -> None:
        """Carries the phase's progress up to the outermost one, and reports that."""
        text = name
        while True:
            phase = self._phases[name]
            fraction = min((phase.done + phase.inner) / phase.steps, 1.0)
            if phase.parent is None or phase.parent not in self._phases:
                break
            name = phase.parent
            self._phases[name].inner = fraction
        # Several outermost phases may follow each other: a bar never goes back.
        self._most = max(self._most, fraction)
        self._report(self._most, text)
