"""Engines by network: which one belongs to it on this machine, from the cache or freshly built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorrt as trt

from pose3d_ros.engines import cache
from pose3d_ros.engines.build_process import run_worker
from pose3d_ros.engines.build_progress import BuildCancelledError, Progress
from pose3d_ros.engines.cache import EngineKey
from pose3d_ros.engines.cuda import cuda
from pose3d_ros.engines.engine import OutOfMemoryError
from pose3d_ros.engines.tensorrt import TensorRTEngine
from pose3d_ros.engines.tensorrt_builder import BATCHES, OPTIONS

_WORKER = "pose3d_ros.engine_worker"


def key_of(network: Path, sha256: str, precision: str) -> EngineKey:
    """The key of a network's engine on this machine. Raises EngineError where there is no usable GPU."""
    gpu = cuda().gpu()
    facts = (gpu.name, *gpu.capability, gpu.processors, gpu.integrated)
    return EngineKey(str(network.resolve()), sha256, trt.__version__, facts, precision, BATCHES, OPTIONS)


def load(key: EngineKey) -> TensorRTEngine:
    """The engine from the cache, warmed up.

    Raises FileNotFoundError where it has not been built, StalePlanError where it must be built again,
    UntrustedFileError where somebody else could have written it, EngineError where it cannot be run.
    """
    plan, sidecar = cache.read_plan(key.plan)
    about = str(sidecar["precision"])
    if about != key.precision:
        about += f" ({sidecar['warning']})" if sidecar["warning"] else f" (for {key.precision})"
    return TensorRTEngine(plan, cuda(), about)


def build(key: EngineKey, network: Path, role: str, report: Progress, is_cancelled: Callable[[], bool]) -> None:
    """Builds a network's engine into the cache, checked, unless another process does just that at the same time.

    A build that runs out of memory is tried once more with little. Raises BuildCancelledError, or EngineError with the
    reason; the cache is then as it was.
    """
    found = _identity(key.plan)

    def wait() -> None:
        report(None, "another process is building it")
        if is_cancelled():
            raise BuildCancelledError(f"the build of {network.name} was cancelled")

    with cache.building(key, wait):
        if _identity(key.plan) != found:
            return  # the other process has built it while we waited
        job: dict[str, Any] = {"network": str(network.resolve()), "sha256": key.sha256, "role": role}
        job |= {"precision": key.precision, "frugal": False}
        try:
            run_worker(_WORKER, job, report, is_cancelled)
        except OutOfMemoryError as error:
            report(None, f"{error}; once more with little memory: the engine may be slower")
            run_worker(_WORKER, {**job, "frugal": True}, report, is_cancelled)


def _identity(plan: Path) -> tuple[int, int] | None:
    """Tells a file from the one that takes its place."""
    try:
        found = plan.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
