"""What belongs to an image and comes by other topics: depth, an outside detector's boxes, the ground."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from pose3d_ros.ros.beside import Beside, BesideReader, Use
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.diagnosis import companion_finding, ground_finding
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.ground_source import GroundSource
from pose3d_ros.ros.health import Finding
from pose3d_ros.ros.parameter_declaration import Values
from pose3d_ros.ros.qos import MatchedSubscription
from pose3d_ros.ros.stamped_buffer import StampedBuffer

Job = TypeVar("Job")


class _Waiting(NamedTuple, Generic[Job]):
    """An image that waits for what belongs to it. values: the parameters that hold for it."""

    job: Job
    values: Values
    frame_id: str
    stamp_ns: int


class _Topic:
    """A topic whose messages belong to images, by their stamps. tolerance: parameter of how far those may differ."""

    def __init__(self, subscription: Callable[[Callable[[Any], None]], MatchedSubscription], tolerance: str) -> None:
        self.tolerance = tolerance
        self.buffer: StampedBuffer[Any] = StampedBuffer()
        self.on_message: Callable[[], None] = lambda: None
        self.last_use = Use()
        self.subscription = subscription(self._take)

    def _take(self, message: Any) -> None:
        self.buffer.put(stamp_to_ns(message.header.stamp), message)
        self.on_message()


class Companions(Generic[Job]):
    """Holds an image back until its companions have come, no longer than `sync_tolerance_s`, and then delivers it.

    Nothing is held back where parameters ask for no companions. A newer image sends the one that waits on its way.
    All of it happens in the executor's thread. named: a topic's name for this camera. frames: TF, if `ground_frame` is
    set. deliver: takes the image's job and what belongs to it.
    """

    def __init__(
        self,
        node: Node,
        named: Callable[[str], str],
        values: Callable[[], Values],
        reader: BesideReader,
        frames: FrameTree | None,
        deliver: Callable[[Job, Beside], None],
    ) -> None:
        def subscribed(kind: type, topic: str, callback: Callable[[Any], None]) -> MatchedSubscription:
            return MatchedSubscription(node, kind, named(topic), callback, lambda: str(values()["reliability"]))

        self._node, self._reader, self._deliver = node, reader, deliver
        self._waiting: _Waiting[Job] | None = None
        self._depth_info: CameraInfo | None = None
        self._info_subscription: MatchedSubscription | None = None
        self._topics: dict[str, _Topic] = {}
        if values()["use_depth"]:
            self._topics["depth"] = _Topic(lambda take: subscribed(Image, "depth", take), "sync_tolerance_s")
            self._info_subscription = subscribed(CameraInfo, "depth_camera_info", self._on_depth_info)
        if values()["use_detections"]:
            from vision_msgs.msg import Detection2DArray

            self._topics["detections"] = _Topic(
                lambda take: subscribed(Detection2DArray, "detections", take), "detections_tolerance_s"
            )
        for name, topic in self._topics.items():
            topic.last_use = self._uses()[name]  # a reader counts over all activations
            topic.on_message = self._deliver_if_complete
        self._ground = GroundSource(frames, values)
        # Real time: an image shall not wait longer while simulated time stands still.
        self._timer = node.create_timer(1.0, self._deliver_waiting, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def offer(self, job: Job, values: Values, frame_id: str, stamp_ns: int) -> None:
        """Takes an image's job, and delivers it when its companions are there. values: parameters that hold for it."""
        self._deliver_waiting()
        self._waiting = _Waiting(job, values, frame_id, stamp_ns)
        self._deliver_if_complete()
        if self._waiting is not None:
            self._timer.timer_period_ns = _ns(values["sync_tolerance_s"])
            self._timer.reset()

    def refresh(self) -> None:
        """Looks after the subscriptions."""
        for subscription in self._subscriptions():
            subscription.refresh()

    def findings(self) -> list[Finding]:
        """What there is to say of the companions since the last call."""
        uses = self._uses()
        findings = []
        for name, topic in self._topics.items():
            publishers = topic.subscription.publishers
            findings.append(
                companion_finding(name, topic.subscription.topic, publishers.number, publishers.problem,
                                  uses[name], topic.last_use)
            )  # fmt: skip
            topic.last_use = uses[name]
        if self._ground.is_wanted:
            findings.append(ground_finding(self._ground.ground, self._ground.problem))
        return findings

    def destroy(self) -> bool:
        """Ends the subscriptions; True if an image was waiting, which is lost."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions():
            subscription.destroy()
        lost, self._waiting = self._waiting is not None, None
        return lost

    def _uses(self) -> dict[str, Use]:
        return {"depth": self._reader.depth_use, "detections": self._reader.detections_use}

    def _subscriptions(self) -> list[MatchedSubscription]:
        own = [topic.subscription for topic in self._topics.values()]
        return own + ([self._info_subscription] if self._info_subscription is not None else [])

    def _on_depth_info(self, message: CameraInfo) -> None:
        self._depth_info = message

    def _deliver_if_complete(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        _, values, _, stamp_ns = waiting
        topics = self._topics.values()
        if all(topic.buffer.is_settled(stamp_ns, _ns(values[topic.tolerance])) for topic in topics):
            self._deliver_waiting()

    def _deliver_waiting(self) -> None:
        self._timer.cancel()
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        _, values, frame_id, stamp_ns = waiting
        found = {
            name: topic.buffer.nearest(stamp_ns, _ns(values[topic.tolerance])) for name, topic in self._topics.items()
        }
        ground = self._ground.ground_of(frame_id, stamp_ns, values)
        self._deliver(waiting.job, Beside(**found, depth_info=self._depth_info, ground=ground))


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)
