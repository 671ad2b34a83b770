"""Listens to TF."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from pose3d_ros.ros.frame_tree import FrameTree

_DEPTH = 100


class FrameListener:
    """The frames, kept up to date by the node's subscriptions to /tf and /tf_static until `destroy`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.frames = FrameTree()
        latched = QoSProfile(depth=_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = (
            node.create_subscription(TFMessage, "/tf", lambda m: self.frames.take(m, static=False), _DEPTH),
            node.create_subscription(TFMessage, "/tf_static", lambda m: self.frames.take(m, static=True), latched),
        )

    def destroy(self) -> None:
        """Ends the subscriptions; the frames stay as they are."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
