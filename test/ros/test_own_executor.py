"""What a command listens with is gone when it is done, not when Python collects it."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rclpy.node import Node
from std_msgs.msg import Header

from pose3d_ros.ros.own_executor import own_executor


def test_nodes_end_with_the_block(robot):
    publisher = robot.node.create_publisher(Header, "/heard", 1)
    with own_executor() as (context, executor):
        listener = Node("listener", context=context)  # kept, so that it is not collected
        listener.create_subscription(Header, "/heard", lambda _: None, 1)
        executor.add_node(listener)
        robot.spin_until(lambda: publisher.get_subscription_count() == 1, 30, "the listener")
    robot.spin_until(lambda: publisher.get_subscription_count() == 0, 10, "the listener to be gone")
