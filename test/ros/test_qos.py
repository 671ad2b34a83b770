"""What to subscribe with, given what publishers offer."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from pose3d_ros.ros.qos import MatchedSubscription, matched_qos

RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "offers", "reliability", "durability"),
    [
        ("auto", [], "BEST_EFFORT", "VOLATILE"),  # fits whoever comes
        ("auto", [RELIABLE], "RELIABLE", "VOLATILE"),
        ("auto", [BEST_EFFORT], "BEST_EFFORT", "VOLATILE"),
        ("auto", [RELIABLE, BEST_EFFORT], "BEST_EFFORT", "VOLATILE"),
        ("auto", [LATCHED], "RELIABLE", "TRANSIENT_LOCAL"),  # a camera_info that was sent once
        ("auto", [LATCHED, RELIABLE], "RELIABLE", "VOLATILE"),
        ("reliable", [BEST_EFFORT], "RELIABLE", "VOLATILE"),
        ("best_effort", [RELIABLE], "BEST_EFFORT", "VOLATILE"),
    ],
)
def test_we_ask_for_what_all_publishers_offer(wanted, offers, reliability, durability):
    qos = matched_qos(wanted, offers)
    assert (qos.reliability.name, qos.durability.name) == (reliability, durability)


def test_remappings_that_swap_are_not_undone(robot):
    """The node resolves a name that it is given, and it must not be given one that is resolved already."""
    rules = ["--ros-args", "-r", "left/image:=/right/image", "-r", "right/image:=/left/image"]
    node = Node("swapped", context=robot.node.context, cli_args=rules)
    images = MatchedSubscription(node, Image, "left/image", lambda _: None, lambda: "auto")
    assert images.topic == images._subscription.topic_name == "/right/image"
    images.destroy()
    node.destroy_node()
