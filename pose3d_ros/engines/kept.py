"""What there is to say of the engines in the cache, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pose3d_ros.engines import cache
from pose3d_ros.engines.engine import EngineError


class KeptEngine(NamedTuple):
    """An engine in the cache. about: what it is, and how its check ended. warnings: what is not as it should be."""

    plan: Path
    about: str
    warnings: tuple[str, ...]


def kept_engines() -> list[KeptEngine]:
    """All engines of the cache, also those that cannot be used."""
    return [_described(plan) for plan in cache.kept_plans()]


def warnings_of(sidecar: Mapping[str, Any]) -> tuple[str, ...]:
    """What was not as it should be when an engine was built."""
    frugal = "built with little memory, it may be slower than it could" if sidecar["frugal"] else ""
    return tuple(text for text in (sidecar["warning"], frugal) if text)


def _described(plan: Path) -> KeptEngine:
    try:
        _, sidecar = cache.read_plan(plan)
    except EngineError as error:
        return KeptEngine(plan, "unusable", (str(error),))
    key = sidecar["key"]
    about = (
        f"{sidecar['precision']}, TensorRT {key['tensorrt']}, {key['gpu'][0]}, built {sidecar['built']} in "
        f"{sidecar['seconds']:.0f} s, {sidecar['bytes'] / 1e6:.1f} MB; {sidecar['check']}"
    )
    return KeptEngine(plan, about, warnings_of(sidecar))
