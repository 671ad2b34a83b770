"""What the node publishes per frame. Nothing is computed for topics that nobody listens to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from pose3d_ros.draw import draw_people
from pose3d_ros.person import Person
from pose3d_ros.ros.image_conversion import Picture, bgr_to_image
from pose3d_ros.ros.people_conversion import (
    Array,
    MarkerMaker,
    delete_all,
    limited,
    people_to_cloud,
    people_to_transforms,
)
from pose3d_ros.ros.qos import TF_DEPTH

_RESULTS_DEPTH = 10
_OVERLAY_MAX_SIDE_PX = 1920  # more is slow to draw and to send, and no screen shows it


class OutputOptions(NamedTuple):
    """What to publish, and under which names."""

    markers: bool
    tf: bool
    tf_prefix: str


class PeopleOutputs:
    """The publishers of people in space. name: before the topics; empty if they have none."""

    def __init__(self, node: LifecycleNode, name: str = "") -> None:
        self._node = node
        self._space = f"~/{name}/" if name else "~/"
        self._markers = self._publisher(MarkerArray, "markers", _RESULTS_DEPTH)
        self._joints = self._publisher(PointCloud2, "joints", _RESULTS_DEPTH)
        self._tf = node.create_lifecycle_publisher(TFMessage, "/tf", _reliable(TF_DEPTH))
        self._publishers = [self._markers, self._joints, self._tf]
        self._marker_maker = MarkerMaker()

    def wanted(self, options: OutputOptions) -> bool:
        """Whether anybody listens to anything that comes of an image."""
        return (
            self._joints.get_subscription_count() > 0
            or (options.tf and listeners(self._node, self._tf) > 0)
            or (options.markers and self._markers.get_subscription_count() > 0)
        )

    def publish_transforms(self, header: Header, people: Sequence[Person], options: OutputOptions) -> None:
        """Publishes where one frame's people are to the camera, or to the frame in which they are fused."""
        if options.tf and header.frame_id and listeners(self._node, self._tf):
            transforms = people_to_transforms(people, header, options.tf_prefix)
            if transforms.transforms:
                self._tf.publish(transforms)

    def publish(self, header: Header, people: Sequence[Person], options: OutputOptions, up: Array) -> None:
        """Publishes one frame's people, all in the header's frame. up: [3] which way is up in it, about."""
        if self._joints.get_subscription_count():
            self._joints.publish(people_to_cloud(people, header))
        if self._markers.get_subscription_count():
            markers = self._marker_maker.markers(people if options.markers else (), header, up)
            if options.markers or markers.markers:
                self._markers.publish(markers)

    def clear(self, header: Header) -> None:
        """Takes what is shown out of RViz."""
        if self._markers.get_subscription_count():
            self._markers.publish(delete_all(header))
        self._marker_maker = MarkerMaker()

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _publisher(self, message_type: type, topic: str, depth: int) -> LifecyclePublisher:
        return self._node.create_lifecycle_publisher(message_type, self._space + topic, _reliable(depth))


class Outputs(PeopleOutputs):
    """The publishers of a camera's results. name: of the camera, before the topics; empty if it has none."""

    def __init__(self, node: LifecycleNode, name: str = "") -> None:
        super().__init__(node, name)
        self._predicted = self._publisher(PointCloud2, "joints_predicted", _RESULTS_DEPTH)
        self._overlay = self._publisher(Image, "overlay", 1)
        self._publishers += [self._predicted, self._overlay]

    def wanted(self, options: OutputOptions) -> bool:
        """Whether anybody listens to anything that comes of an image."""
        also = (self._predicted, self._overlay)
        return super().wanted(options) or any(publisher.get_subscription_count() for publisher in also)

    @property
    def prediction_wanted(self) -> bool:
        """Whether anybody listens to predicted joints."""
        return bool(self._predicted.get_subscription_count())

    def publish_overlay(self, header: Header, picture: Picture, people: Sequence[Person]) -> None:
        """Publishes the image with the people drawn on it, for who wants to see it; it takes longer than the rest."""
        if self._overlay.get_subscription_count():
            scaled, scaled_people = limited(picture, people, _OVERLAY_MAX_SIDE_PX)
            self._overlay.publish(bgr_to_image(draw_people(scaled, scaled_people), header))

    def publish_predicted(self, header: Header, people: Sequence[Person]) -> None:
        """Publishes people as they will be at the header's time."""
        self._predicted.publish(people_to_cloud(people, header))


def listeners(node: Node, publisher: Publisher) -> int:
    """How many listen to a node's publisher; the node itself, which may listen to the same topic, does not count."""
    own = sum(subscription.topic_name == publisher.topic_name for subscription in node.subscriptions)
    return max(publisher.get_subscription_count() - own, 0)


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
