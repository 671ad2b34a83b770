"""Publishes people as ROS4HRI expects bodies (REP-155)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import TwistStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from pose3d_ros.body_frames import angles_of, known_joints, origins_of, tree_of, turns_of
from pose3d_ros.person import Person
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.hri_conversion import (
    body_id,
    crop_of,
    joint_state_of,
    region_of,
    skeleton_of,
    transforms_of,
    velocity_of,
)
from pose3d_ros.ros.outputs import listeners
from pose3d_ros.ros.qos import TF_DEPTH

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

BODIES = "/humans/bodies"
USUAL_NAME = "pose3d"
"""Of the node; one of another name puts that before its bodies' ids, as it does its namespace."""
_DEPTH = 10
_NO_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
_SILENCE_S = 2.0  # of a camera, until its bodies count as gone
_IN_SPACE = {"joint_states": JointState, "velocity": TwistStamped}
_IN_THE_IMAGE = {"roi": NormalizedRegionOfInterest2D, "cropped": Image, "skeleton2d": Skeleton2D}


class _Seen(NamedTuple):
    """Whom a camera saw last. noted_s: real time."""

    stamp_ns: int
    noted_s: float
    bodies: list[str]


class HriOutputs:
    """/humans/bodies/tracked, the topics of each body, which end with it, and its frames.

    Frames are sent while anybody listens to the others: whoever listens to TF alone has the node's own frames.
    with_images: whether bodies belong to an image; else they have neither roi, cropped nor skeleton2d.
    Thread-safe: the worker publishes, while the executor's thread looks after who listens and who has fallen silent.
    """

    def __init__(self, node: LifecycleNode, with_images: bool) -> None:
        self._node = node
        self._types = _IN_SPACE | (_IN_THE_IMAGE if with_images else {})
        # The newest list is there for who comes late.
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._tracked = node.create_lifecycle_publisher(IdsList, f"{BODIES}/tracked", latched)
        self._tf = node.create_lifecycle_publisher(TFMessage, "/tf", TF_DEPTH)
        # Bodies of all nodes share one namespace.
        name = node.get_name() if node.get_name() != USUAL_NAME else ""
        self._prefix = "_".join(filter(None, [*node.get_namespace().split("/"), name]))
        self._lock = RLock()
        self._bodies: dict[str, dict[str, Publisher]] = {}
        self._seen: dict[str, _Seen] = {}

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        with self._lock:
            topics = [self._tracked, *(topic for topics in self._bodies.values() for topic in topics.values())]
            return any(topic.get_subscription_count() for topic in topics)

    def publish(
        self, header: Header, people: Sequence[Person], camera: str = "", image: NDArray[np.uint8] | None = None
    ) -> None:
        """Publishes the people that a camera sees, or all cameras together.

        camera: its name; empty if it has none. image: its BGR image [h, w, 3]; None if there is none.
        """
        with self._lock:
            if self.wanted:
                self._publish(header, people, camera, image)

    def forget_the_silent(self) -> None:
        """Tells that those are gone whose camera has sent nothing for two seconds of real time; called now and then."""
        with self._lock:
            known = len(self._seen)
            self._forget_the_unheard()
            if len(self._seen) < known:
                self._tell_tracked(Header(stamp=self._node.get_clock().now().to_msg()))

    def clear(self) -> None:
        """Tells that nobody is there."""
        with self._lock:
            self._seen.clear()
            self._tell_tracked(Header(stamp=self._node.get_clock().now().to_msg()))

    def destroy(self) -> None:
        """Ends the publishers."""
        with self._lock:
            self._keep(())
            for publisher in (self._tracked, self._tf):
                self._node.destroy_lifecycle_publisher(publisher)

    def _publish(self, header: Header, people: Sequence[Person], camera: str, image: NDArray[np.uint8] | None) -> None:
        person_of = {body_id(person.id, self._prefix, camera): person for person in people}
        self._note(camera, header, list(person_of))
        self._tell_tracked(header)
        if camera not in self._seen:
            return
        for body, person in person_of.items():
            if image is not None:
                height, width = image.shape[:2]
                self._send(body, "roi", region_of, person, header, width, height)
                self._send(body, "cropped", crop_of, person, header, image)
                self._send(body, "skeleton2d", skeleton_of, person, header, width, height)
            self._send(body, "velocity", velocity_of, person, header)
        self._publish_pose(header, person_of)

    def _publish_pose(self, header: Header, person_of: Mapping[str, Person]) -> None:
        """Frames and angles of those whose place is known."""
        placed = {body: person for body, person in person_of.items() if person.joints_m is not None}
        to_tf = bool(header.frame_id and listeners(self._node, self._tf))
        of_angles = any(self._is_heard(body, "joint_states") for body in placed)
        if not placed or not (to_tf or of_angles):
            return
        people = placed.values()
        joints = known_joints(
            np.array([person.joints_m for person in people]), np.array([person.joints_m_cov for person in people])
        )
        turns = turns_of(joints)
        if to_tf:
            trees = zip(placed, *tree_of(origins_of(joints), turns), strict=True)
            transforms = [t for body, origins, turn in trees for t in transforms_of(origins, turn, header, body)]
            if transforms:
                self._tf.publish(TFMessage(transforms=transforms))
        if of_angles:
            for body, angles in zip(placed, angles_of(turns), strict=True):
                self._send(body, "joint_states", joint_state_of, angles, header, body)

    def _is_heard(self, body: str, topic: str) -> bool:
        return bool(self._bodies[body][topic].get_subscription_count())

    def _send(self, body: str, topic: str, make: Callable[..., Any], *values: Any) -> None:
        """Publishes what `make` makes of the values, if that is anything and anybody listens."""
        if self._is_heard(body, topic) and (message := make(*values)) is not None:
            self._bodies[body][topic].publish(message)

    def _note(self, camera: str, header: Header, bodies: list[str]) -> None:
        """Remembers whom a camera sees; forgets whose last image, maybe this, is too old beside the newest."""
        self._seen[camera] = _Seen(stamp_to_ns(header.stamp), time.monotonic(), bodies)
        self._forget_the_unheard()
        newest_ns = max(seen.stamp_ns for seen in self._seen.values())
        silence_ns = 1e9 * _SILENCE_S
        self._seen = {name: seen for name, seen in self._seen.items() if newest_ns - seen.stamp_ns <= silence_ns}

    def _forget_the_unheard(self) -> None:
        """Forgets cameras that have sent nothing for too long a real time; their stamps count for nothing either."""
        now_s = time.monotonic()
        self._seen = {name: seen for name, seen in self._seen.items() if now_s - seen.noted_s <= _SILENCE_S}

    def _tell_tracked(self, header: Header) -> None:
        """Publishes the list of all who are there, each of whom has publishers from then on."""
        everybody = [body for seen in self._seen.values() for body in seen.bodies]
        self._keep(everybody)
        self._tracked.publish(IdsList(header=header, ids=everybody))

    def _keep(self, bodies: Collection[str]) -> None:
        """Makes publishers for those who are new, and ends those of who has gone."""
        for body in self._bodies.keys() - set(bodies):
            for publisher in self._bodies.pop(body).values():
                self._node.destroy_publisher(publisher)
        for body in bodies:
            if body not in self._bodies:
                # Not managed ones: they live only while the node is active. Without handlers of events, which the
                # executor's thread may be waiting for when this one destroys them, and which the node never forgets.
                self._bodies[body] = {
                    topic: self._node.create_publisher(
                        kind, f"{BODIES}/{body}/{topic}", _DEPTH, event_callbacks=_NO_EVENTS
                    )
                    for topic, kind in self._types.items()
                }
