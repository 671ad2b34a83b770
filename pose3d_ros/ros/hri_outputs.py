"""ROS4HRI's topics (REP-155): /humans/bodies/tracked, topics of each body, and its frames. Needs hri_msgs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from pose3d_ros.body_frames import Links, links_of
from pose3d_ros.person import Person
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.hri_conversion import (
    body_id,
    links_to_joint_state,
    links_to_transforms,
    person_to_region,
    person_to_skeleton,
    person_to_velocity,
)
from pose3d_ros.ros.people_conversion import people_with_metres

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

_SPACE = "/humans/bodies"
_QOS = QoSProfile(depth=10)  # reliable
_TF_DEPTH = 100
_SILENCE_NS = 1_000_000_000  # of a camera, until its bodies count as gone
_TYPES = {
    "roi": NormalizedRegionOfInterest2D,
    "skeleton2d": Skeleton2D,
    "joint_states": JointState,
    "velocity": TwistStamped,
}


class TrackedBodies:
    """Publishes the ids of all bodies that the node's cameras see, in one list."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._publisher = node.create_lifecycle_publisher(IdsList, f"{_SPACE}/tracked", _QOS)
        self._seen: dict[str, tuple[int, list[str]]] = {}

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._publisher.get_subscription_count())

    def of_camera(self, name: str) -> HriOutputs:
        """The outputs of one of the node's cameras."""
        return HriOutputs(self._node, name, self)

    def update(self, camera: str, header: Header, ids: list[str]) -> None:
        """A camera sees these bodies now. Cameras that have been silent for a second do not count."""
        now_ns = stamp_to_ns(header.stamp)
        self._seen[camera] = (now_ns, ids)
        self._seen = {name: seen for name, seen in self._seen.items() if abs(now_ns - seen[0]) <= _SILENCE_NS}
        self._publisher.publish(IdsList(header=header, ids=[one for _, seen in self._seen.values() for one in seen]))

    def destroy(self) -> None:
        """Ends the publisher."""
        self._node.destroy_lifecycle_publisher(self._publisher)


class HriOutputs:
    """What REP-155 has of a camera's people. Each body has publishers of its own, as long as it is there.

    camera: its name, which stands in the ids; empty if it has none.
    """

    def __init__(self, node: LifecycleNode, camera: str, tracked: TrackedBodies) -> None:
        self._node = node
        self._camera = camera
        self._tracked = tracked
        self._tf = node.create_lifecycle_publisher(TFMessage, "/tf", QoSProfile(depth=_TF_DEPTH))
        self._bodies: dict[str, _Body] = {}

    @property
    def wanted(self) -> bool:
        """Whether anybody listens to the list of bodies, from which their topics follow, or to TF."""
        return self._tracked.wanted or bool(self._tf.get_subscription_count())

    def publish(self, header: Header, people: Sequence[Person], width: int, height: int) -> None:
        """Publishes one frame's people, under the image's header. width, height: of the image, in pixels."""
        present = {body_id(person.id, self._camera): person for person in people}
        for gone in self._bodies.keys() - present.keys():
            self._bodies.pop(gone).destroy()
        for name, person in present.items():
            body = self._bodies.get(name)
            if body is None:
                body = self._bodies[name] = _Body(self._node, name)
            body.publish_picture(header, person, width, height)
        self._tracked.update(self._camera, header, list(present))
        transforms = TFMessage()
        for person in people_with_metres(people):
            name = body_id(person.id, self._camera)
            links = links_of(np.asarray(person.joints_m))
            self._bodies[name].publish_motion(header, person, links)
            transforms.transforms += links_to_transforms(links, header, name).transforms
        if header.frame_id and transforms.transforms:
            self._tf.publish(transforms)

    def clear(self, header: Header) -> None:
        """Nobody is seen any more."""
        self.publish(header, (), 1, 1)

    def destroy(self) -> None:
        """Ends the publishers."""
        for body in self._bodies.values():
            body.destroy()
        self._bodies.clear()
        self._node.destroy_lifecycle_publisher(self._tf)


class _Body:
    """The publishers of one body."""

    def __init__(self, node: LifecycleNode, name: str) -> None:
        self._node = node
        self._name = name
        # Without callbacks for events, so that the executor, in another thread, has nothing to do with them.
        silent = PublisherEventCallbacks(use_default_callbacks=False)
        self._publishers = {
            topic: node.create_publisher(kind, f"{_SPACE}/{name}/{topic}", _QOS, event_callbacks=silent)
            for topic, kind in _TYPES.items()
        }

    def publish_picture(self, header: Header, person: Person, width: int, height: int) -> None:
        """Where the body is in the image."""
        self._publish("roi", person_to_region(person, header, width, height))
        self._publish("skeleton2d", person_to_skeleton(person, header, width, height))

    def publish_motion(self, header: Header, person: Person, links: Links) -> None:
        """How the body, whose place in space is known, is bent and moves."""
        self._publish("joint_states", links_to_joint_state(links, header, self._name))
        velocity = person_to_velocity(person, links, header, self._name)
        if velocity is not None:
            self._publish("velocity", velocity)

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _publish(self, topic: str, message: Any) -> None:
        self._publishers[topic].publish(message)
