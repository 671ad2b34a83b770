"""How long networks take by themselves: what the backend does, without the rest of the pipeline."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.engines.engine import Engine, TensorSpec, recurrent_outputs

BATCHES = (1, 2, 4, 8)
"""Batch sizes to try where a network's batch is free."""
_WARM_UP_RUNS = 3


def network_times(engines: Mapping[str, Engine], runs: int) -> dict[str, dict[int, float]]:
    """Median milliseconds of a run of each network, by its name and batch size; copies to and from a GPU are in it.

    runs: how often each is timed. Raises EngineError where a network fails.
    """
    return {name: {size: _median_ms(engine, size, runs) for size in _sizes(engine)} for name, engine in engines.items()}


def _sizes(engine: Engine) -> tuple[int, ...]:
    fixed = engine.inputs[0].shape[0]
    return BATCHES if fixed is None else (fixed,)


def _median_ms(engine: Engine, size: int, runs: int) -> float:
    recurrent = recurrent_outputs(engine.inputs, engine.outputs)
    arrays: dict[str, Any] = {spec.name: _content(spec, size) for spec in engine.inputs}
    times = []
    for _ in range(_WARM_UP_RUNS + runs):
        started = time.perf_counter()
        answers = engine.run(arrays)
        times.append(1e3 * (time.perf_counter() - started))
        arrays |= {old: answers[new] for new, old in recurrent.items()}
    return float(np.median(times[_WARM_UP_RUNS:]))


def _content(spec: TensorSpec, size: int) -> NDArray:
    return np.ones((size, *(extent or 1 for extent in spec.shape[1:])), spec.dtype)
