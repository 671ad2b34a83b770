"""Listens to TF."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.qos import TF_DEPTH


class FrameListener:
    """Keeps `frames` up to date by the node's subscriptions to /tf and /tf_static."""

    def __init__(self, node: Node) -> None:
        self.frames = frames = FrameTree()
        self._node = node
        latched = QoSProfile(depth=TF_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", lambda message: frames.take(message, static=False), TF_DEPTH),
            node.create_subscription(
                TFMessage, "/tf_static", lambda message: frames.take(message, static=True), latched
            ),
        ]

    def destroy(self) -> None:
        """Ends the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
