"""Listens to TF."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from pose3d_ros.ros.frame_tree import FrameTree

_DEPTH = 100


def listen_to_frames(node: Node) -> FrameTree:
    """The frames, from now on kept up to date by the node's subscriptions to /tf and /tf_static."""
    frames = FrameTree()
    node.create_subscription(TFMessage, "/tf", lambda message: frames.take(message, static=False), _DEPTH)
    latched = QoSProfile(depth=_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(TFMessage, "/tf_static", lambda message: frames.take(message, static=True), latched)
    return frames
