"""The snapshot that the service ~/stats gives: plain JSON. Knows no ROS."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pose3d_ros.ros.stream_monitor import StreamStatistics


def stream_stats(figures: StreamStatistics) -> dict[str, Any]:
    """The figures of a stream of images, by name."""
    return {**vars(figures), "gaps": figures.gaps._asdict()}


def snapshot(node: str, state: str, stamp_ns: int, parts: Mapping[str, Any]) -> str:
    """JSON of a node's stats. parts: what the node has besides its name and state; NaN becomes null."""
    return json.dumps(_plain({"node": node, "state": state, "stamp_ns": stamp_ns, **parts}), allow_nan=False)


def _plain(value: Any) -> Any:
    """The same without numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
