"""`python -m pose3d_ros.ros.fuzz`: sends anything in any field to the real node and sees whether it lives on.

Two nodes in processes of their own, one for raw images with depth and one for compressed ones, get messages from a
seed. After each round they must have counted what they received, must have failed inside on none of it, and must answer
a sound image.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.ros.fuzzed_messages import fuzzed_depths, fuzzed_messages
from pose3d_ros.ros.image_conversion import bgr_to_compressed, bgr_to_image
from pose3d_ros.ros.processes import NodeProcess, ros_environment

_START_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 30.0
_ROUND = 1000
_RATE_HZ = 200.0  # more, and the nodes would drop most of it unseen
_NODES = ("raw", "compressed")
_FAILURE = re.compile(r"^.*(frame failed|Traceback)", re.MULTILINE)


class FuzzError(RuntimeError):
    """What the node did wrong."""


class Fuzzed(NamedTuple):
    """How it went, by node. figures: the last report on the images. people: images in which there were some."""

    figures: Mapping[str, Mapping[str, str]]
    people: Mapping[str, int]


class _Sender:
    """Publishes to both nodes, and hears their answers and reports."""

    def __init__(self, context: Context) -> None:
        self._executor = SingleThreadedExecutor(context=context)
        self._node = rclpy.create_node("fuzzer", context=context)
        self._executor.add_node(self._node)
        self.figures: dict[str, dict[str, str]] = {}
        self.answers: dict[str, PointCloud2] = {}
        self.people = dict.fromkeys(_NODES, 0)
        # Deep, for a message that is lost on the way proves nothing.
        qos = QoSProfile(depth=100)
        self._publishers = {
            kind: self._node.create_publisher(kind, topic, qos)
            for kind, topic in ((Image, "image"), (CompressedImage, "image/compressed"), (CameraInfo, "camera_info"))
        }
        self._depths = self._node.create_publisher(Image, "depth", qos)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos)
        for name in _NODES:
            self._node.create_subscription(PointCloud2, f"{name}/joints", self._answer_of(name), qos)

    def send(self, message: Image | CompressedImage | CameraInfo) -> None:
        """Publishes a message on the topic of its kind."""
        self._publishers[type(message)].publish(message)

    def send_depth(self, message: Image) -> None:
        """Publishes a depth image."""
        self._depths.publish(message)

    def listened_to(self) -> bool:
        """Whether the nodes' subscriptions are there, and their outputs."""
        inputs = (topic.get_subscription_count() for topic in (*self._publishers.values(), self._depths))
        return all(inputs) and all(self._node.count_publishers(f"{name}/joints") for name in _NODES)

    def spin(self, seconds: float) -> None:
        """Hears what comes within some time."""
        self.spin_until(lambda: False, seconds)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Hears what comes until the condition holds; False if it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left_s, 0.05))
        return True

    def close(self) -> None:
        """Leaves the network."""
        self._executor.shutdown()
        self._node.destroy_node()

    def _answer_of(self, name: str) -> Callable[[PointCloud2], None]:
        def keep(message: PointCloud2) -> None:
            self.answers[name] = message
            self.people[name] += message.width > 0

        return keep

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name, _, part = status.name.partition(": ")
            if part == "images":
                self.figures[name] = {value.key: value.value for value in status.values}


def fuzz(messages: int, seed: int, environment: Mapping[str, str], logs: Path, model_dir: Path | None = None) -> Fuzzed:
    """Sends so many messages. Raises FuzzError naming what went wrong, and after what.

    environment: of the nodes, and of this process. logs: folder for what they print. model_dir: of networks that see
    people in noise; None: the node's own, which see none.
    """
    context = Context()
    rclpy.init(context=context)
    sender = _Sender(context)
    try:
        with (
            _start("raw", environment, logs, model_dir) as raw,
            _start("compressed", environment, logs, model_dir) as compressed,
        ):
            nodes = (raw, compressed)
            sender.spin_until(lambda: sender.listened_to() or not all(map(_lives, nodes)), _START_TIMEOUT_S)
            if not sender.listened_to():
                raise FuzzError("the nodes did not come up:\n" + "\n".join(node.output() for node in nodes))
            sender.spin(2.5)  # subscriptions are made anew once, to fit the publishers
            stream, depths = fuzzed_messages(seed), fuzzed_depths(seed)
            for sent in range(0, messages, _ROUND):
                for _ in range(min(_ROUND, messages - sent)):
                    sender.send_depth(next(depths))
                    sender.send(next(stream))
                    sender.spin(1 / _RATE_HZ)
                _check(sender, nodes, f"after {min(sent + _ROUND, messages)} messages of seed {seed}")
        return Fuzzed(sender.figures, sender.people)
    finally:
        sender.close()
        rclpy.try_shutdown(context=context)


def _start(transport: str, environment: Mapping[str, str], logs: Path, model_dir: Path | None) -> NodeProcess:
    parameters = {"image_transport": transport, "threads": 1, "use_depth": transport == "raw"}
    if model_dir is not None:
        parameters["model_dir"] = str(model_dir)
    return NodeProcess("pose3d_node", parameters, environment, logs / f"{transport}.log", "-r", f"__node:={transport}")


def _lives(node: NodeProcess) -> bool:
    return node.exit_status is None


def _check(sender: _Sender, nodes: Sequence[NodeProcess], when: str) -> None:
    """Raises FuzzError unless both nodes live, answer, have counted everything and failed on nothing."""
    # Back to a time of its own: whatever stamps came before, this is a jump or a step forward.
    stamp_ns = 500_000_000_000 + time.monotonic_ns() % 100_000_000_000
    header = Header(frame_id="sound")
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    picture = np.full((48, 64, 3), 127, np.uint8)

    def answered() -> bool:
        return all(name in sender.answers and sender.answers[name].header == header for name in _NODES)

    sender.send(bgr_to_image(picture, header))
    sender.send(bgr_to_compressed(picture, header))
    in_time = sender.spin_until(answered, _ANSWER_TIMEOUT_S)
    for node in nodes:
        output = node.output()
        failure = _FAILURE.search(output)
        if failure or not _lives(node):
            shown = output[failure.start() :][:3000] if failure else output[-3000:]
            raise FuzzError(f"{when}, {node.log.stem}:\n{shown}")
    if not in_time:
        raise FuzzError(f"{when}: a sound image has no answer within {_ANSWER_TIMEOUT_S:g} s")
    sender.figures.clear()
    # What was sent last may still be on its way, or in hand.
    if not sender.spin_until(lambda: all(_adds_up(sender.figures.get(name, {})) for name in _NODES), _ANSWER_TIMEOUT_S):
        raise FuzzError(f"{when}: the counters do not add up: {sender.figures}")


def _adds_up(figures: Mapping[str, str]) -> bool:
    counts = [int(figures.get(name, -1)) for name in ("received", "processed", "dropped", "rejected")]
    return counts[0] >= 0 and counts[0] == sum(counts[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the fuzzer; the exit status is 1 if the node did something wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m pose3d_ros.ros.fuzz", description=(__doc__ or "").split(": ", 1)[1].split("\n")[0]
    )
    parser.add_argument("--messages", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="the same seed sends the same messages (%(default)s)")
    parser.add_argument("--models", type=Path, help="folder of networks (default: the node's own)")
    args = parser.parse_args(argv)
    environment = ros_environment()
    os.environ.update(environment)
    with tempfile.TemporaryDirectory() as logs:
        try:
            fuzzed = fuzz(args.messages, args.seed, environment, Path(logs), args.models)
        except FuzzError as error:
            print(f"fuzz: {error}", file=sys.stderr)
            return 1
    for name in _NODES:
        counts = {key: fuzzed.figures[name][key] for key in ("received", "processed", "dropped", "rejected")}
        print(name, ", ".join(f"{key} {count}" for key, count in counts.items()), f"people in {fuzzed.people[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
