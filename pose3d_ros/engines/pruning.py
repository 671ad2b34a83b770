"""Deletes from the cache what nobody will use again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from pose3d_ros.engines import cache
from pose3d_ros.engines.cache import EngineKey, StalePlanError, UntrustedFileError


class Pruned(NamedTuple):
    """What has been deleted, how many bytes it was, and why other files were left alone, in words."""

    deleted: tuple[Path, ...]
    bytes: int
    left: tuple[str, ...]


def prune(current: Collection[EngineKey]) -> Pruned:
    """Deletes engines that are damaged or that one of the current keys supersedes, TensorRT's measurements that no
    engine left was built with, locks without an engine, and interrupted writes."""
    doomed, left = cache.leftovers(), []
    timings = {key.timing_cache for key in current}
    for plan in cache.kept_plans():
        try:
            key = cache.read_sidecar(plan)["key"]
        except UntrustedFileError as error:
            left.append(str(error))
            continue
        except (StalePlanError, FileNotFoundError):
            key = None  # nobody will ever use it
        if key is None or any(newer.supersedes(key) for newer in current):
            doomed += [path for path in (plan, plan.with_suffix(".json")) if path.exists()]
        else:
            timings.add(cache.timing_cache_of(key.get("tensorrt"), key.get("gpu")))
    doomed += [path for path in cache.kept_timing_caches() if path not in timings]
    size = sum(path.lstat().st_size for path in doomed)
    for path in doomed:
        path.unlink()
    return Pruned((*doomed, *cache.remove_idle_locks()), size, tuple(left))
