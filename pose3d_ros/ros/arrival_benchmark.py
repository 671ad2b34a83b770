"""`python -m pose3d_ros.ros.arrival_benchmark`: which share of a camera's frames reach the node?

Three processes over real DDS: video_publisher at 30 Hz, pose3d_node, and this one, which compares what was sent with
what the node's diagnostics say it received. camera_info, which is small and sent with each image, tells what was sent.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, PointCloud2

from pose3d_ros.camera import Camera
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.own_executor import own_executor
from pose3d_ros.ros.processes import NodeProcess, ros_environment
from pose3d_ros.ros.video_publisher import DEFAULT_VIDEO

SIZES = ((640, 480), (1920, 1080))
RELIABILITIES = ("reliable", "best_effort")
LEAST_SHARE = 0.98
_RATE_HZ = 30.0
_FOV_DEG = 60.0
_WARM_UP_REPORTS = 3
_TIMEOUT_S = 60.0
_DEPTH = 200


class BenchmarkError(RuntimeError):
    """A measurement that could not be made; the message says why."""


class Arrival(NamedTuple):
    """What was sent and what reached the node between two of its reports."""

    sent: int
    received: int
    processed: int
    duration_s: float
    latency_p50_ms: str

    @property
    def share(self) -> float:
        """Part of the frames sent that reached the node, 0...1."""
        return self.received / self.sent if self.sent else 0.0

    @property
    def rate_hz(self) -> float:
        """Frames that reached the node per second."""
        return self.received / self.duration_s if self.duration_s else 0.0


class _Report(NamedTuple):
    stamp_ns: int
    received: int
    processed: int
    latency_p50_ms: str


class _Checker(Node):
    """Notes the stamps of what was sent, and the node's reports."""

    def __init__(self, context: Context) -> None:
        super().__init__("arrival_checker", context=context)
        self.sent_ns: list[int] = []
        self.reports: list[_Report] = []
        reliable = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(CameraInfo, "camera_info", self._on_info, reliable)
        # Without a listener the node would not work on the images.
        self.create_subscription(PointCloud2, "pose3d/joints", lambda _: None, reliable)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=_DEPTH))

    def _on_info(self, message: CameraInfo) -> None:
        self.sent_ns.append(stamp_to_ns(message.header.stamp))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": images"):
                values = {value.key: value.value for value in status.values}
                if int(values["received"]):
                    self.reports.append(
                        _Report(
                            int(values["last_stamp_ns"]),
                            int(values["received"]),
                            int(values["processed"]),
                            values["latency_p50_ms"],
                        )
                    )


def measure(
    video: Path, size: tuple[int, int], reliability: str, seconds: float, environment: Mapping[str, str], logs: Path
) -> Arrival:
    """Runs publisher and node for about `seconds`, after a warm-up, and counts. Raises BenchmarkError."""
    # The clip is stretched to the size, so that its own calibration does not hold.
    calibration = logs / "camera.json"
    camera = Camera.from_horizontal_fov(*size, _FOV_DEG)
    calibration.write_text(json.dumps({"image_size": size, "K": camera.K.tolist()}), encoding="utf-8")
    parameters = {
        "video": str(video),
        "camera_info": str(calibration),
        "width": size[0],
        "height": size[1],
        "fps": _RATE_HZ,
        "reliability": reliability,
        "wait_for_subscribers": 1,
    }
    os.environ.update(environment)
    with own_executor() as (context, executor):
        checker = _Checker(context)
        executor.add_node(checker)
        with (
            NodeProcess("pose3d_node", {}, environment, logs / "pose3d_node.log") as node,
            NodeProcess("video_publisher", parameters, environment, logs / "video_publisher.log") as publisher,
        ):
            started = time.monotonic()
            while len(checker.reports) < _WARM_UP_REPORTS + 1 + seconds:
                executor.spin_once(timeout_sec=0.1)
                for process in (node, publisher):
                    if ending := process.ending():
                        raise BenchmarkError(ending)
                if time.monotonic() - started > _TIMEOUT_S + seconds:
                    raise BenchmarkError(f"no frame reached the node in {_TIMEOUT_S + seconds:g} s")
        return _arrival(checker.sent_ns, checker.reports[_WARM_UP_REPORTS], checker.reports[-1])


def _arrival(sent_ns: Sequence[int], first: _Report, last: _Report) -> Arrival:
    """What was sent after the last frame of the first report, up to that of the last: the same span for both."""
    sent = bisect_right(sent_ns, last.stamp_ns) - bisect_right(sent_ns, first.stamp_ns)
    return Arrival(
        sent,
        last.received - first.received,
        last.processed - first.processed,
        (last.stamp_ns - first.stamp_ns) * 1e-9,
        last.latency_p50_ms,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measures every size and reliability; the exit status is 1 if too little arrives with the profile."""
    parser = argparse.ArgumentParser(
        prog="python -m pose3d_ros.ros.arrival_benchmark", description=(__doc__ or "").split(": ", 1)[1].split("\n")[0]
    )
    parser.add_argument("--video", type=Path, default=DEFAULT_VIDEO, help="default: the package's clip")
    parser.add_argument("--seconds", type=float, default=10.0, help="per measurement (%(default)g)")
    parser.add_argument("--without-profile", action="store_true", help="measure without the Fast DDS profile too")
    args = parser.parse_args(argv)
    print(f"{_RATE_HZ:g} Hz, {args.seconds:g} s each")
    print(f"{'profile':8s} {'size':>10s}  {'publisher':12s} {'sent':>5s} {'reached':>8s} {'share':>8s} "
          f"{'rate':>8s} {'processed':>10s} {'latency p50':>12s}")  # fmt: skip
    worst = 1.0
    with tempfile.TemporaryDirectory() as logs:
        for with_profile in (True, False) if args.without_profile else (True,):
            environment = ros_environment(with_profile)
            for size in SIZES:
                for reliability in RELIABILITIES:
                    name = f"{'yes' if with_profile else 'no':8s} {size[0]:>5d}x{size[1]:<4d}  {reliability:12s}"
                    try:
                        found = measure(args.video, size, reliability, args.seconds, environment, Path(logs))
                    except BenchmarkError as error:
                        print(f"{name} {error}", flush=True)
                        worst = 0.0 if with_profile else worst
                        continue
                    print(
                        f"{name} {found.sent:5d} {found.received:8d} {100 * found.share:6.1f} % "
                        f"{found.rate_hz:5.1f} Hz {found.processed:10d} "
                        f"{found.latency_p50_ms:>9s} ms",
                        flush=True,
                    )
                    if with_profile:
                        worst = min(worst, found.share)
    print(f"least share with the profile: {100 * worst:.1f} %, wanted: {100 * LEAST_SHARE:.0f} %")
    return 0 if worst >= LEAST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
