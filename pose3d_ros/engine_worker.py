"""Builds one engine, checks it and puts it into the cache: the process behind `pose3d build-engine` and the node.

`engines.build_process` starts it and describes what it reads and writes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from pose3d_ros.engines import cache, store
from pose3d_ros.engines.build_progress import BuildCancelledError, Progress
from pose3d_ros.engines.cuda import cuda
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.engines.precision import is_convolutional
from pose3d_ros.engines.tensorrt import TensorRTEngine
from pose3d_ros.engines.tensorrt_builder import Budget, Job, build
from pose3d_ros.models import file_sha256
from pose3d_ros.self_check import Sample, check, samples_for

_MB = 1 << 20
_MOST_WORKSPACE = 1024 * _MB
_MOST_IN_NEED = 256 * _MB
_GRACE_S = 1.0
_THREADS = 2


class _Channel:
    """The way to whoever started us. Libraries print to standard output too: theirs goes to standard error instead."""

    def __init__(self) -> None:
        self._events: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self.job: dict[str, Any] = json.loads(sys.stdin.readline())
        self.cancelled = threading.Event()
        threading.Thread(target=self._wait_for_the_end, daemon=True).start()

    def tell(self, **event: Any) -> None:
        self._events.write(json.dumps(event) + "\n")
        self._events.flush()

    def report(self, done: float | None, text: str) -> None:
        self.tell(progress=done, text=text)

    def _wait_for_the_end(self) -> None:
        """Also when our parent has died. Where TensorRT cannot be asked to stop, or does not, there is an end too."""
        sys.stdin.read()
        self.cancelled.set()
        time.sleep(_GRACE_S)
        os._exit(1)


def main() -> int:
    """Does the job; returns the exit status."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")  # if memory runs out, this process goes, and not the robot's others
    channel = _Channel()
    try:
        channel.tell(result=_build_and_keep(channel))
        return 0
    except (OutOfMemoryError, MemoryError) as error:
        channel.tell(failure=str(error) or "memory ran out", kind="memory")
    except BuildCancelledError as error:
        channel.tell(failure=str(error), kind="cancelled")
    except EngineError as error:
        channel.tell(failure=str(error), kind="other")
    return 1


def _build_and_keep(channel: _Channel) -> dict[str, Any]:
    """Builds, falls back to single precision where the asked one cannot be had, and keeps engine and facts."""
    started = time.monotonic()
    network, role, asked = Path(channel.job["network"]), channel.job["role"], channel.job["precision"]
    key = store.key_of(network, channel.job["sha256"], asked)
    _check_file(network, key.sha256)
    channel.report(None, "preparing")
    samples = samples_for(role, OnnxRuntimeEngine(network, _THREADS))
    precision = "fp16" if asked == "int8" and not is_convolutional(network) else asked
    budget = budget_of(cuda().free_memory(), channel.job["frugal"])
    job = Job(network, precision, budget, [sample.inputs for sample in samples], _timings(key))
    warning = ""
    try:
        plan, timings, checked = _build_and_check(job, role, samples, channel)
    except (OutOfMemoryError, BuildCancelledError):
        raise
    except EngineError as error:
        if precision == "fp32":
            raise
        warning = f"in {precision} {error}: built in fp32 instead"
        channel.report(None, warning)
        job = replace(job, precision="fp32")
        plan, timings, checked = _build_and_check(job, role, samples, channel)
    facts = {
        "precision": job.precision,
        "check": checked,
        "warning": warning,
        "frugal": channel.job["frugal"],
        "built": time.strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": round(time.monotonic() - started, 1),
    }
    if channel.cancelled.is_set():
        raise BuildCancelledError(f"the build of {network.name} was cancelled")
    _check_file(network, key.sha256)
    cache.write_plan(key, plan, facts)
    with suppress(EngineError):  # it only saves time in later builds
        cache.write_atomically({key.timing_cache: timings})
    return facts


def _check_file(network: Path, sha256: str) -> None:
    """Raises EngineError where another file has taken the network's place: its engine would be kept as this one's."""
    if file_sha256(network) != sha256:
        raise EngineError(f"{network} has been replaced meanwhile: start again")


def _build_and_check(job: Job, role: str, samples: list[Sample], channel: _Channel) -> tuple[bytes, bytes, str]:
    """Plan, timing cache, and how the check ended. Raises EngineError like `build`, and where the engine is wrong."""
    report: Progress = channel.report
    plan, timings = build(job, report, channel.cancelled.is_set)
    report(None, "checking")
    engine = TensorRTEngine(plan, cuda(), job.precision)
    result = check(role, engine, samples)
    engine.close()
    if not result.passed:
        raise EngineError(f"{job.network.name} does not compute what it should: {result.text}")
    return plan, timings, result.text


def budget_of(free: int, frugal: bool) -> Budget:
    """What a build may use of so many free bytes. frugal: the try after one that ran out; half of that at most."""
    workspace, tactics = min(_MOST_WORKSPACE, free // 4), free * 6 // 10
    if frugal:
        return Budget(min(_MOST_IN_NEED, workspace // 2), min(_MOST_IN_NEED, tactics // 2), level=1)
    return Budget(workspace, tactics)


def _timings(key: cache.EngineKey) -> bytes:
    """TensorRT's measurements of earlier builds; none where they are missing, or not to be trusted."""
    try:
        return cache.read_own(key.timing_cache)
    except (FileNotFoundError, cache.UntrustedFileError):
        return b""


if __name__ == "__main__":
    sys.exit(main())
