"""A node to copy: reads pose3d's joints and TF, tells who raises a hand, and stops when it cannot be sure.

docs/gesture_nodes.md explains it step by step.
"""

from __future__ import annotations

import json
import re
import sys
import time

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from pose3d_ros.gestures.raised_hand import HandLimits, Hands, HandsOverTime, hands_of
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.frame_listener import FrameListener
from pose3d_ros.ros.frame_tree import Array, TransformError
from pose3d_ros.ros.parameter_declaration import NodeParameters, ParameterError
from pose3d_ros.ros.parameters import Change, ParameterSpec
from pose3d_ros.ros.people_conversion import CLOUD_DTYPE, cloud_to_joints
from pose3d_ros.ros.run_node import run_node
from pose3d_ros.skeleton import NUM_JOINTS

try:
    from sensor_msgs_py.point_cloud2 import read_points
except ImportError:  # no wheel brings it
    read_points = None

_CHECK_PERIOD_S = 0.1
_UP_OF_A_LEVEL_CAMERA = np.array([0.0, -1.0, 0.0])
_CAMERAS_END_WITH = ("_optical", "_optical_frame")  # REP-103
_NUMBER = re.compile(r"\d+(\.\d+)?")
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

RAISED_HAND_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "up_frame",
        "",
        "Frame whose z points up, such as base_link. Empty: the joints are in the frame of a level camera, which ends "
        "with _optical_frame.",
        change=Change.LIVE,
    ),
    ParameterSpec("min_confidence", 0.5, "Least confidence of wrist and shoulder.", 0.0, 1.0, change=Change.LIVE),
    ParameterSpec("max_sigma_m", 0.5, "Most standard deviation of their places.", 0.01, 10.0, change=Change.LIVE),
    ParameterSpec("margin_m", 0.05, "How far a wrist must be above its shoulder.", 0.0, 1.0, change=Change.LIVE),
    ParameterSpec("hold_s", 0.2, "How long a hand must be up, or down, to be believed.", 0.0, 10.0, change=Change.LIVE),
    ParameterSpec(
        "timeout_s", 0.5, "Joints, and transforms, that are older than this are stale.", 0.05, 10.0, change=Change.LIVE
    ),
)


class RaisedHandNode(Node):
    """Publishes ~/raised_hands, a JSON text, whenever what it knows changes, and to whoever comes later.

    {"stopped": "", "people": {"1": {"left": "down", "right": "up"}}}: people by id, hands up, down or unknown. Where
    `stopped` holds a reason, nobody is known, and whoever acts on it must stop.
    """

    def __init__(self) -> None:
        super().__init__("raised_hand")
        self._declared = NodeParameters(self, RAISED_HAND_PARAMETERS)
        self._frames = FrameListener(self).frames
        self._hands = HandsOverTime()
        self._said: tuple[str, dict[str, dict[str, str]]] | None = None
        self._heard_at = -np.inf
        self._publisher = self.create_publisher(String, "~/raised_hands", _LATCHED)
        self.create_subscription(PointCloud2, "pose3d/joints", self._on_joints, 1)  # the newest only
        # Real time: what no longer comes must be missed also while simulated time stands still.
        self.create_timer(_CHECK_PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_joints(self, cloud: PointCloud2) -> None:
        values = self._declared.values
        stamp_ns = stamp_to_ns(cloud.header.stamp)
        self._heard_at = time.monotonic()
        if abs(self.get_clock().now().nanoseconds - stamp_ns) > values["timeout_s"] * 1e9:
            self._tell(f"the joints' stamps are not within {values['timeout_s']:g} s of the clock")
            return
        try:
            up = self._up(cloud.header.frame_id, stamp_ns)
            people = joints_of(cloud)
        except (TransformError, ValueError) as error:
            self._tell(str(error))
            return
        limits = HandLimits(*(values[name] for name in HandLimits._fields))
        seen = {int(joints["person"][0]): hands_of(joints, up, limits) for joints in people}
        self._tell("", self._hands.update(seen, stamp_ns, limits.hold_s))

    def _up(self, frame: str, stamp_ns: int) -> Array:
        """The unit vector that points up, in the frame of the joints."""
        values = self._declared.values
        if not values["up_frame"]:
            if not frame.endswith(_CAMERAS_END_WITH):
                raise TransformError(f"the joints are in '{frame}', not in a camera's _optical_frame: set up_frame")
            return _UP_OF_A_LEVEL_CAMERA
        turn = self._frames.rotation(frame, values["up_frame"], stamp_ns, values["timeout_s"])
        return np.asarray(turn.apply([0.0, 0.0, 1.0]))

    def _check(self) -> None:
        timeout_s = self._declared.values["timeout_s"]
        if time.monotonic() - self._heard_at > timeout_s:
            self._tell(f"no joints for {timeout_s:g} s")

    def _tell(self, stopped: str, people: dict[int, Hands] | None = None) -> None:
        if stopped:
            self._hands = HandsOverTime()
        known = {str(person): {"left": h.left.value, "right": h.right.value} for person, h in (people or {}).items()}
        text = json.dumps({"stopped": stopped, "people": known})
        said = (_NUMBER.sub("", stopped), known)  # how late TF is differs each time
        if said != self._said:
            self._said = said
            self._publisher.publish(String(data=text))
            self.get_logger().info(text)


def joints_of(cloud: PointCloud2) -> NDArray[np.void]:
    """[people, 24] with the fields of ~/joints, unpacked by ROS' own reader where that is installed.

    Raises ValueError when the cloud is of another kind.
    """
    if read_points is None:
        return cloud_to_joints(cloud)
    try:
        return np.asarray(read_points(cloud, field_names=list(CLOUD_DTYPE.names or ()))).reshape(-1, NUM_JOINTS)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a cloud of joints: {error}") from error


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    return run_node("raised_hand", RaisedHandNode, lambda node: None, (ParameterError,), args)


if __name__ == "__main__":
    sys.exit(main())
