"""What the node publishes per frame. Nothing is computed for topics that nobody listens to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from pose3d_ros.draw import draw_people
from pose3d_ros.person import Person
from pose3d_ros.ros.image_conversion import Picture, bgr_to_image
from pose3d_ros.ros.people_conversion import MarkerMaker, limited, people_to_cloud, people_to_transforms

_TF_DEPTH = 100  # as tf2_ros' broadcaster has it
_RESULTS_DEPTH = 10
_OVERLAY_MAX_SIDE_PX = 1920  # more is slow to draw and to send, and no screen shows it


class OutputOptions(NamedTuple):
    """What to publish, and under which names."""

    markers: bool
    tf: bool
    tf_prefix: str


class Outputs:
    """The publishers of a node's results."""

    def __init__(self, node: Node) -> None:
        def reliable(depth: int) -> QoSProfile:
            return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)

        self._node = node
        self._markers = node.create_publisher(MarkerArray, "~/markers", reliable(_RESULTS_DEPTH))
        self._joints = node.create_publisher(PointCloud2, "~/joints", reliable(_RESULTS_DEPTH))
        self._overlay = node.create_publisher(Image, "~/overlay", reliable(1))
        self._tf = node.create_publisher(TFMessage, "/tf", reliable(_TF_DEPTH))
        self._marker_maker = MarkerMaker()

    def publish(self, header: Header, people: Sequence[Person], options: OutputOptions) -> None:
        """Publishes one frame's people, all under the image's header."""
        if options.tf and header.frame_id and self._tf.get_subscription_count():
            transforms = people_to_transforms(people, header, options.tf_prefix)
            if transforms.transforms:
                self._tf.publish(transforms)
        if self._joints.get_subscription_count():
            self._joints.publish(people_to_cloud(people, header))
        if self._markers.get_subscription_count():
            markers = self._marker_maker.markers(people if options.markers else (), header)
            if options.markers or markers.markers:
                self._markers.publish(markers)

    def publish_overlay(self, header: Header, picture: Picture, people: Sequence[Person]) -> None:
        """Publishes the image with the people drawn on it, for who wants to see it; it takes longer than the rest."""
        if self._overlay.get_subscription_count():
            scaled, scaled_people = limited(picture, people, _OVERLAY_MAX_SIDE_PX)
            self._overlay.publish(bgr_to_image(draw_people(scaled, scaled_people), header))

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in (self._markers, self._joints, self._overlay, self._tf):
            self._node.destroy_publisher(publisher)
