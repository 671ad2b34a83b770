"""What to subscribe with, given what publishers offer."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from pose3d_ros.ros.qos import matched_qos

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
