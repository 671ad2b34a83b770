"""`python -m pose3d_ros.ros.soak`: does the node's memory stay flat while it works, hour after hour?

Three processes over real DDS: video_publisher plays the package's clip at 30 Hz, over and over; pose3d_node works on
it; and this one listens to every output and samples the node's resident memory, without what it shares: DDS fills its
segments, which config/fastdds.xml bounds, only when a machine is busy. After a warm-up a line is laid through the
samples: how much it rises, from the first to the last, is the growth.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from pose3d_ros.ros.own_executor import own_executor
from pose3d_ros.ros.processes import NodeProcess, ros_environment

MOST_GROWTH = 0.02
_RATE_HZ = 30.0
_LEAST_RATE_HZ = 27.0  # of them, else it was no soak at 30 Hz
_START_TIMEOUT_S = 60.0
_SAMPLE_PERIOD_S = 1.0
_TOLD_EVERY_S = 60.0
_OWN = ("RssAnon", "RssFile")
_COUNTERS = ("received", "processed", "dropped", "rejected", "waiting")
_OUTPUTS = (
    (PointCloud2, "pose3d/joints"),
    (PointCloud2, "pose3d/joints_predicted"),
    (MarkerArray, "pose3d/markers"),
    (Image, "pose3d/overlay"),
    (TFMessage, "/tf"),
)


class SoakError(RuntimeError):
    """What the node did wrong."""


class Soaked(NamedTuple):
    """A soak's outcome. level_mib: memory after the warm-up. growth: from then to the end, as a part of that level.

    figures: the node's last report on its images.
    """

    level_mib: float
    growth: float
    figures: Mapping[str, str]


class _Listener(Node):
    """Subscribes to all outputs, so that all of the work is done, and keeps the last report on the images."""

    def __init__(self, context: Context) -> None:
        super().__init__("soak", context=context)
        self.figures: dict[str, str] = {}
        for kind, topic in _OUTPUTS:
            self.create_subscription(kind, topic, lambda _: None, QoSProfile(depth=10))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10))

    @property
    def processed(self) -> int:
        """Images that the node has worked on, as far as it has said."""
        return int(self.figures.get("processed", 0))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "pose3d: images":
                self.figures = {value.key: value.value for value in status.values}


def growth_of(seconds: Sequence[float], memory: Sequence[float]) -> tuple[float, float]:
    """Level at the first sample, and growth to the last as a part of it, of a straight line through all samples."""
    slope, level = np.polyfit(np.asarray(seconds) - seconds[0], memory, 1)
    return float(level), float(slope * (seconds[-1] - seconds[0]) / level)


def soak(
    seconds: float, warm_up_s: float, environment: Mapping[str, str], logs: Path, least_rate_hz: float = 0.0
) -> Soaked:
    """Lets the node work for so long after the warm-up. Raises SoakError if it dies, stands still or miscounts.

    environment: of the nodes, and of this process. logs: folder for what they print. least_rate_hz: of the images that
    come; fewer are an error too.
    """
    with own_executor() as (context, executor):
        listener = _Listener(context)
        executor.add_node(listener)
        parameters = {"fps": _RATE_HZ, "wait_for_subscribers": 1}
        with (
            NodeProcess("pose3d_node", {}, environment, logs / "pose3d_node.log") as node,
            NodeProcess("video_publisher", parameters, environment, logs / "video_publisher.log") as publisher,
        ):

            def spin_until(deadline: float) -> None:
                while (left_s := deadline - time.monotonic()) > 0:
                    executor.spin_once(timeout_sec=left_s)
                for process in (node, publisher):
                    if ending := process.ending():
                        raise SoakError(ending)

            came_up_by = time.monotonic() + _START_TIMEOUT_S
            while not listener.processed:
                if time.monotonic() > came_up_by:
                    raise SoakError(f"no image was worked on in {_START_TIMEOUT_S:g} s:\n{node.output()[-3000:]}")
                spin_until(time.monotonic() + _SAMPLE_PERIOD_S)
            spin_until(time.monotonic() + warm_up_s)
            before = listener.processed
            began = next_told = time.monotonic()
            times, memory = [], []
            while (now := time.monotonic()) - began < seconds:
                times.append(now - began)
                memory.append(_own_mib(node.pid))
                if now >= next_told:
                    print(f"{times[-1]:6.0f} s  {memory[-1]:7.1f} MiB  {listener.processed} images", flush=True)
                    next_told += _TOLD_EVERY_S
                spin_until(now + _SAMPLE_PERIOD_S)
            if listener.processed == before:
                raise SoakError(f"no image was worked on for {seconds:g} s")
            rate_hz = float(listener.figures["input_rate_hz"])
            if rate_hz < least_rate_hz:
                raise SoakError(f"{rate_hz:g} images a second came, not {least_rate_hz:g}: is the machine too slow?")
            if "Traceback" in node.output() or "frame failed" in node.output():
                raise SoakError(f"frames failed:\n{node.output()[-3000:]}")
        counts = {name: int(listener.figures[name]) for name in _COUNTERS}
        if counts["received"] != sum(counts[name] for name in _COUNTERS[1:]):
            raise SoakError(f"the counters do not add up: {counts}")
        return Soaked(*growth_of(times, memory), listener.figures)


def _own_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name in _OWN}
    return sum(kib.values()) / 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Soaks the node; the exit status is 1 if its memory grows by more than is allowed, or it does wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m pose3d_ros.ros.soak", description=(__doc__ or "").split(": ", 1)[1].split("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="after the warm-up (%(default)g)")
    parser.add_argument("--warm-up", type=float, default=120.0, metavar="SECONDS", help="default: %(default)g")
    parser.add_argument("--most-growth", type=float, default=100 * MOST_GROWTH, metavar="PERCENT", help="%(default)g")
    args = parser.parse_args(argv)
    environment = ros_environment()
    os.environ.update(environment)
    with tempfile.TemporaryDirectory() as logs:
        try:
            found = soak(60 * args.minutes, args.warm_up, environment, Path(logs), _LEAST_RATE_HZ)
        except SoakError as error:
            print(f"soak: {error}", file=sys.stderr)
            return 1
    counts = ", ".join(f"{name} {found.figures[name]}" for name in (*_COUNTERS, "output_rate_hz", "latency_p95_ms"))
    print(f"{found.level_mib:.1f} MiB, growth {100 * found.growth:+.2f} % in {args.minutes:g} min; {counts}")
    return int(100 * found.growth > args.most_growth)


if __name__ == "__main__":
    sys.exit(main())
