"""Publishes people as ROS4HRI expects bodies (REP-155)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from geometry_msgs.msg import TwistStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from pose3d_ros.person import Person
from pose3d_ros.ros.hri_conversion import body_id, region_of, skeleton_of, transforms_of, velocity_of

BODIES = "/humans/bodies"
_DEPTH = 10
_TF_DEPTH = 100


class _Body(NamedTuple):
    """The publishers of one person."""

    region: Publisher
    skeleton: Publisher
    velocity: Publisher


class HriOutputs:
    """/humans/bodies/tracked, and each body's roi, skeleton2d, velocity and frames; publishers end with the person.

    Frames are sent while anybody listens to `tracked`: whoever listens to TF alone has the node's own frames.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        # The newest list is there for who comes late.
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._tracked = node.create_lifecycle_publisher(IdsList, f"{BODIES}/tracked", latched)
        self._tf = node.create_lifecycle_publisher(TFMessage, "/tf", _TF_DEPTH)
        self._bodies: dict[str, _Body] = {}

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        topics = [self._tracked, *(publisher for body in self._bodies.values() for publisher in body)]
        return any(topic.get_subscription_count() for topic in topics)

    def publish(self, header: Header, people: Sequence[Person], width: int, height: int) -> None:
        """Publishes one image's people; width, height: of the image, pixels."""
        if not self.wanted:
            return
        person_of = {body_id(person.id): person for person in people}
        self._keep(person_of)
        self._tracked.publish(IdsList(header=header, ids=list(person_of)))
        for name, person in person_of.items():
            body = self._bodies[name]
            body.region.publish(region_of(person, header, width, height))
            body.skeleton.publish(skeleton_of(person, header, width, height))
            velocity = velocity_of(person, header)
            if velocity is not None:
                body.velocity.publish(velocity)
        transforms = [transform for person in people for transform in transforms_of(person, header)]
        if header.frame_id and transforms:
            self._tf.publish(TFMessage(transforms=transforms))

    def clear(self, header: Header) -> None:
        """Tells that nobody is there."""
        self._keep(())
        self._tracked.publish(IdsList(header=header))

    def destroy(self) -> None:
        """Ends the publishers."""
        self._keep(())
        for publisher in (self._tracked, self._tf):
            self._node.destroy_lifecycle_publisher(publisher)

    def _keep(self, names: Collection[str]) -> None:
        """Makes publishers for those who are new, and ends those of who has gone."""
        for name in [name for name in self._bodies if name not in names]:
            for publisher in self._bodies.pop(name):
                self._node.destroy_publisher(publisher)
        for name in names:
            if name not in self._bodies:
                # Not managed ones: they live only while the node is active.
                self._bodies[name] = _Body(
                    self._node.create_publisher(NormalizedRegionOfInterest2D, f"{BODIES}/{name}/roi", _DEPTH),
                    self._node.create_publisher(Skeleton2D, f"{BODIES}/{name}/skeleton2d", _DEPTH),
                    self._node.create_publisher(TwistStamped, f"{BODIES}/{name}/velocity", _DEPTH),
                )
