"""`pose3d doctor`, `ros2 run pose3d_ros doctor`: looks at a running system; each finding says what to do.

The exit status is 0 if all is well, 1 if there are warnings, 2 if there are errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSCompatibility, qos_check_compatible
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.ros.doctor_checks import (
    NODE_PARAMETERS,
    Observed,
    SeenCamera,
    machine_findings,
    system_findings,
)
from pose3d_ros.ros.frame_listener import FrameListener
from pose3d_ros.ros.health import Finding, Level
from pose3d_ros.ros.qos import MatchedSubscription

_DISCOVERY_S = 2.0
_MORE_DISCOVERY_S = 5.0
"""How much longer to wait for the node to tell its topics and parameters."""
_ASK_PERIOD_S = 0.5


class _Topics(NamedTuple):
    """Of a camera; empty: not known."""

    image: str = ""
    info: str = ""


class _CameraProbe:
    """Listens to a camera, and keeps its newest messages."""

    def __init__(self, node: Node, name: str, topics: _Topics) -> None:
        self._name = name
        self._clock = node.get_clock()
        self._image: Any = None
        self._info: CameraInfo | None = None
        self._image_came_ns = 0
        image = topics.image or "image"
        folder, slash, _ = image.removesuffix("/compressed").rpartition("/")
        kind = CompressedImage if image.endswith("/compressed") else Image
        self._images = MatchedSubscription(node, kind, image, self._on_image, lambda: "auto")
        info = topics.info or f"{folder}{slash}camera_info"
        self._infos = MatchedSubscription(node, CameraInfo, info, self._on_info, lambda: "auto")

    def seen(self) -> SeenCamera:
        """What came so far."""
        for subscription in (self._images, self._infos):
            subscription.refresh()
        return SeenCamera(
            name=self._name,
            image_topic=self._images.topic,
            image_publishers=self._images.publishers.number,
            image_problem=self._images.publishers.problem,
            image=self._image,
            now_ns=self._image_came_ns,
            info_topic=self._infos.topic,
            info_publishers=self._infos.publishers.number,
            info_problem=self._infos.publishers.problem,
            info=self._info,
        )

    def _on_image(self, message: Any) -> None:
        self._image, self._image_came_ns = message, self._clock.now().nanoseconds

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message


class _ParameterProbe:
    """Asks a node, by its full name, for parameters until it answers."""

    def __init__(self, node: Node, name: str) -> None:
        self.found: dict[str, Any] = {}
        self._client = node.create_client(GetParameters, f"{name}/get_parameters")
        self._timer = node.create_timer(_ASK_PERIOD_S, self._ask, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _ask(self) -> None:
        if self._client.service_is_ready():
            self._timer.cancel()
            self._client.call_async(GetParameters.Request(names=NODE_PARAMETERS)).add_done_callback(self._on_answer)

    def _on_answer(self, future: Any) -> None:
        values = map(parameter_value_to_python, future.result().values)
        self.found = dict(zip(NODE_PARAMETERS, values, strict=False))  # none of them from a node of another kind


class _Probe(Node):
    """Looks at the graph, and listens to cameras, TF and the node's diagnostics."""

    def __init__(self, options: argparse.Namespace) -> None:
        sim_time = Parameter("use_sim_time", value=options.sim_time)
        super().__init__("pose3d_doctor", parameter_overrides=[sim_time])
        self._options = options
        self._cameras: list[_CameraProbe] = []
        self._topics: dict[str, _Topics] = {}
        self._reports: dict[str, tuple[Level, str]] = {}
        self._frames = FrameListener(self).frames
        self._asked = _ParameterProbe(self, options.node)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)

    def knows_node(self) -> bool:
        """Has the node told its cameras' topics, and its parameters?"""
        return bool(self._topics and self._asked.found)

    def listen(self) -> None:
        """Subscribes to the cameras' topics: those that were named, else the node's, else the usual ones."""
        image, info = self._options.image, self._options.camera_info
        cameras = {"": _Topics()} if image or not self._topics else self._topics
        for name, topics in cameras.items():
            self._cameras.append(_CameraProbe(self, name, _Topics(image or topics.image, info or topics.info)))

    def observed(self) -> Observed:
        """All that was seen."""
        names = [f"{space.rstrip('/')}/{name}" for name, space in self.get_node_names_and_namespaces()]
        wanted = self._options.node
        return Observed(
            node=wanted,
            node_runs=wanted in names,
            namesakes=tuple(sorted({name for name in names if name != wanted and _last(name) == _last(wanted)})),
            parameters=self._asked.found,
            reports=self._reports,
            mismatches=tuple(self._mismatches()),
            cameras=tuple(camera.seen() for camera in self._cameras),
            frames=self._frames,
            target=self._options.frame,
        )

    def _mismatches(self) -> Iterator[str]:
        """Connections from and to the node that its or the other's quality of service makes impossible."""
        for topic, _ in self.get_topic_names_and_types():
            subscribers = self.get_subscriptions_info_by_topic(topic)
            for publisher in self.get_publishers_info_by_topic(topic):
                for subscriber in subscribers:
                    ends = [f"{end.node_namespace.rstrip('/')}/{end.node_name}" for end in (publisher, subscriber)]
                    if self._options.node not in ends or publisher.topic_type != subscriber.topic_type:
                        continue
                    verdict, reason = qos_check_compatible(publisher.qos_profile, subscriber.qos_profile)
                    if verdict == QoSCompatibility.ERROR:
                        yield f"{ends[1]} gets nothing from {ends[0]} on {topic}: {reason.strip()} Change {ends[1]}"

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name, _, part = status.name.partition(": ")
            if f"/{name}" == self._options.node:
                self._reports[part] = (Level(status.level[0]), status.message)
                self._note_topic(part, {value.key: value.value for value in status.values}.get("topic", ""))

    def _note_topic(self, part: str, topic: str) -> None:
        """Parts of several cameras begin with the camera's name."""
        camera, _, kind = part.rpartition(" ")
        known = self._topics.get(camera, _Topics())
        if kind == "images":
            self._topics[camera] = known._replace(image=topic)
        elif kind == "camera_info":
            self._topics[camera] = known._replace(info=topic)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The doctor's options."""
    parser.add_argument("--node", default="/pose3d", help="full name of the node to look at (%(default)s)")
    parser.add_argument("--image", default="", help="image topic in place of the node's (…/compressed: compressed)")
    parser.add_argument("--camera-info", default="", help="camera_info topic; default: beside the image topic")
    parser.add_argument("--frame", default="", help="a frame that TF should connect the camera with, beside the node's")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to listen (%(default)s)")
    parser.add_argument("--sim-time", action="store_true", help="take the time from /clock")


def run(options: argparse.Namespace) -> int:
    """Prints the findings; returns the exit status."""
    rclpy.init(args=[])
    try:
        seen = _observe(options)
        findings = [*machine_findings(seen.parameters), *system_findings(seen)]
    finally:
        rclpy.try_shutdown()
    for finding in findings:
        _print(finding)
    return min(max(finding.level for finding in findings), Level.ERROR)


def _observe(options: argparse.Namespace) -> Observed:
    probe = _Probe(options)
    executor = SingleThreadedExecutor()
    executor.add_node(probe)

    def spin(seconds: float, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            executor.spin_once(timeout_sec=0.1)

    spin(_DISCOVERY_S, until=lambda: False)
    spin(_MORE_DISCOVERY_S, until=probe.knows_node)
    probe.listen()
    spin(options.seconds, until=lambda: False)
    observed = probe.observed()
    executor.shutdown()
    probe.destroy_node()
    return observed


def _print(finding: Finding) -> None:
    print(f"{finding.level.name:5s}  {finding.part:20s}  {finding.message}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the doctor; returns the exit status."""
    parser = argparse.ArgumentParser("doctor", description=(__doc__ or "").split("\n")[0])
    add_arguments(parser)
    return run(parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
