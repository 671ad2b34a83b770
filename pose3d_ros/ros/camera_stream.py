"""One camera's way through the node: its topics, its people, its figures."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.follower import Follower
from pose3d_ros.person import Person
from pose3d_ros.pipeline import Outcome, View
from pose3d_ros.prepared_networks import PreparedNetworks
from pose3d_ros.ros.beside import Beside
from pose3d_ros.ros.calibration import CalibrationState
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.camera_watch import CameraWatch
from pose3d_ros.ros.companions import Companions
from pose3d_ros.ros.diagnosis import ImageSource, camera_finding, image_finding
from pose3d_ros.ros.frame_processor import CalibrationOptions, FrameProcessor
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.fusion import Seen
from pose3d_ros.ros.health import Finding, Level
from pose3d_ros.ros.image_conversion import BadImageError
from pose3d_ros.ros.managed_node import ManagedNode
from pose3d_ros.ros.outputs import OutputOptions, Outputs
from pose3d_ros.ros.parameter_declaration import Values
from pose3d_ros.ros.parameters import person_classes, pipeline_settings
from pose3d_ros.ros.qos import MatchedSubscription
from pose3d_ros.ros.rate_limit import RateLimit
from pose3d_ros.ros.stats import stream_stats
from pose3d_ros.ros.stream_monitor import Drop, StreamMonitor, StreamStatistics
from pose3d_ros.ros.target_frame import Place, TargetFrame

if TYPE_CHECKING:  # hri_msgs is not everywhere
    from pose3d_ros.ros.hri_outputs import HriOutputs

_LOG_THROTTLE_S = 5.0
_NUMBER = re.compile(r"\d[\d.]*")

AnyImage: TypeAlias = Image | CompressedImage


class Job(NamedTuple):
    """An image, what belongs to it, and the parameters that held when it came: they change between images, never within
    one."""

    stream: CameraStream
    message: AnyImage
    values: Values
    beside: Beside = Beside()


class CameraStream:
    """Takes a camera's messages in the executor's thread; prepares and finishes its images in the worker's.

    Publishers exist from the beginning to `destroy`, subscriptions from `start` to `stop`.
    name: of the camera; before its topics, frames and findings. Empty: they have none.
    values: returns the node's parameters, of one moment. also_wanted: whether others wait for what comes of an image.
    frames: TF, where parameters ask for it. hri: publishes its people as bodies too, where that is wanted.
    failure: why the last image failed; empty if it did not. seen: what came of the last one.
    """

    def __init__(
        self,
        node: ManagedNode,
        name: str,
        networks: PreparedNetworks,
        values: Callable[[], Values],
        also_wanted: Callable[[Values], bool],
        frames: FrameTree | None,
        hri: HriOutputs | None,
    ) -> None:
        self._node = node
        self.name = name
        self._also_wanted = also_wanted
        self._frames = frames
        self._networks = networks
        self._values = values
        self._logger = node.get_logger().get_child(name) if name else node.get_logger()
        self._monitor = StreamMonitor()
        self._processor = FrameProcessor(Follower(pipeline_settings(values())))
        self._watch = CameraWatch(name, networks, self._logger)
        self._outputs = Outputs(node, name)
        self._hri = hri
        target = values()["target_frame"]
        self._target = TargetFrame(target, frames if target else None)
        self._rate_limit = RateLimit()
        self._started = ExitStack()
        self._applied: Values | None = None
        self._last_report: StreamStatistics | None = None
        self._best_rate_hz = 0.0
        self._frame_id = ""
        self._said: set[str] = set()
        self.failure = ""
        self.seen: Seen | None = None

    def start(self, put: Callable[[Job], bool]) -> None:
        """Connects the topics; whoever was followed before is forgotten.

        put: leaves an image to the worker; True if an older one was lost by it.
        """
        self._watch.start()
        self._started.callback(self._watch.stop)
        self._processor.restart()
        self._monitor.restart()
        self._best_rate_hz = 0.0
        self.seen = None
        self._put = put
        compressed = self._values()["image_transport"] == "compressed"
        topic = self._named("image")
        if compressed:  # as image_transport does: next to the image topic, wherever that was remapped to
            topic = self._node.resolve_topic_name(topic) + "/compressed"
        message_type = CompressedImage if compressed else Image
        self._companions: Companions[Job] = Companions(
            self._node, self._named, self._values, self._processor.beside, self._frames, self._put_to_work
        )
        self._started.callback(self._end_companions)
        self._images = MatchedSubscription(self._node, message_type, topic, self._on_image, self._reliability)
        self._started.callback(self._images.destroy)
        self._camera_infos = MatchedSubscription(
            self._node, CameraInfo, self._named("camera_info"), self._on_camera_info, self._reliability
        )
        self._started.callback(self._camera_infos.destroy)

    def stop(self) -> None:
        """Disconnects the topics, however far `start` came."""
        self._started.close()

    def join(self, timeout_s: float) -> None:
        """Waits, after `stop`, for what is being written to disk, but no longer."""
        self._watch.join(timeout_s)

    def clear(self) -> None:
        """Takes what was shown out of RViz."""
        self._outputs.clear(Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id))

    def destroy(self) -> None:
        """Ends the publishers."""
        self._outputs.destroy()

    # ---- the executor's thread -------------------------------------------------------------------------------------

    def findings(self) -> list[Finding]:
        """What there is to say of the camera since the last call; looks after the subscriptions, too."""
        for subscription in (self._images, self._camera_infos):
            subscription.refresh()
        self._companions.refresh()
        now_ns = self._now_ns()
        figures = self._monitor.read(now_ns)
        # What two reports in a row agree on: one may go by a few stamps that came late.
        before_hz = self._last_report.gaps.steady_rate_hz if self._last_report else 0.0
        self._best_rate_hz = max(self._best_rate_hz, min(figures.gaps.steady_rate_hz, before_hz))
        images, infos = self._images, self._camera_infos
        source = ImageSource(
            images.topic,
            images.reliability,
            images.publishers.number,
            images.publishers.problem,
            self._frame_id,
            self._node.get_parameter("use_sim_time").value,
            now_ns > 0,
            self._named("image"),
            "" if images.publishers.number else self._elsewhere(),
            self._values()["expected_rate_hz"] or self._best_rate_hz,
        )
        findings = [
            image_finding(figures, self._last_report, source),
            camera_finding(self._processor.calibration.state, figures, infos.topic, infos.publishers.problem),
            *self._companions.findings(),
            *self._target.findings(),
            *self._watch.findings(),
        ]
        self._last_report = figures
        return [finding._replace(part=f"{self.name} {finding.part}".lstrip()) for finding in findings]

    def stats(self) -> dict[str, Any]:
        """All figures of the camera, by the names that docs/ros_api.md gives."""
        calibration = self._processor.calibration.state
        return {
            "images": stream_stats(self._monitor.read(self._now_ns())),
            "calibration": {"level": int(calibration.level), "text": calibration.text},
            **self._watch.stats(),
        }

    def _on_image(self, message: AnyImage) -> None:
        values = self._values()
        stamp_ns = stamp_to_ns(message.header.stamp)
        kind = self._monitor.frame_received(stamp_ns, self._now_ns())
        if not self._networks.is_ready:
            self._monitor.frame_dropped(Drop.NOT_READY)
        elif not self._is_wanted(values):
            self._monitor.frame_dropped(Drop.UNWANTED)
        elif not kind.usable:
            self._reject(kind.value)
        elif not self._rate_limit.admits(stamp_ns, values["max_rate_hz"]):
            self._monitor.frame_dropped(Drop.OVER_RATE)
        else:
            self._companions.offer(Job(self, message, values), values, message.header.frame_id, stamp_ns)

    def _is_wanted(self, values: Values) -> bool:
        """Whether anybody listens to what comes of an image."""
        return self._outputs.wanted(self._output_options(values)) or self._also_wanted(values)

    def _put_to_work(self, job: Job, beside: Beside) -> None:
        if self._put(job._replace(beside=beside)):
            self._monitor.frame_dropped(Drop.OVERTAKEN)

    def _elsewhere(self) -> str:
        """Whether images come by the transport that was not asked for, and what to do; empty if they do not."""
        if self._values()["image_transport"] == "compressed":
            transport, topic, kind = "raw", self._images.topic.removesuffix("/compressed"), "Image"
        else:
            transport, topic, kind = "compressed", self._images.topic + "/compressed", "CompressedImage"
        published = [endpoint.topic_type for endpoint in self._node.get_publishers_info_by_topic(topic)]
        comes = f"sensor_msgs/msg/{kind}" in published
        return f"{topic} is published: set image_transport to {transport}" if comes else ""

    def _end_companions(self) -> None:
        if self._companions.destroy():
            self._monitor.frame_dropped(Drop.OVERTAKEN)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._monitor.camera_info_received(stamp_to_ns(message.header.stamp), self._now_ns())
        self._processor.calibration.update(message)

    # ---- the worker's thread ---------------------------------------------------------------------------------------

    def view(self, job: Job) -> View | None:
        """What the pipeline is to work on for an image of ours; None if that cannot be used, which is told."""
        try:
            if job.values is not self._applied:
                self._processor.follower.change(pipeline_settings(job.values))
                self._applied = job.values
            view, time_jumped = self._processor.prepare(
                job.message, _calibration_options(job.values), job.beside, person_classes(job.values)
            )
            self._watch.look_at(view.frame, time_jumped)
        except BadImageError as error:
            self._reject(str(error))
            return None
        except Exception as error:
            self._fail(error)
            return None
        if time_jumped:
            self.seen = None
            self._logger.warning(
                "the images' time jumped back: everybody was forgotten", throttle_duration_sec=_LOG_THROTTLE_S
            )
        self._say_once(self._processor.calibration.state)
        return view

    def finish(self, job: Job, view: View, outcome: Outcome) -> None:
        """Publishes what came of an image of ours, or tells what went wrong with it."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            self._publish(job, view, outcome)
        except Exception as error:
            if self._node.context.ok():  # else the node is being shut down under our feet
                self._fail(error)

    def overtaken(self) -> None:
        """An image of ours was given up while it waited."""
        self._monitor.frame_dropped(Drop.OVERTAKEN)

    def _publish(self, job: Job, view: View, people: list[Person]) -> None:
        header, options = job.message.header, self._output_options(job.values)
        self._frame_id = header.frame_id
        self.failure = ""
        follower = view.follower
        self.seen = Seen(follower, header.frame_id, follower.since_ns, view.frame.stamp_ns, people)
        self._outputs.publish_transforms(header, people, options)
        place = self._target.place(header, job.values["target_frame_timeout_s"])
        if place is not None:
            self._outputs.publish(place.header(header), place.people(people), options, place.up)
        if self._hri is not None:
            self._hri.publish(header, people, self.name, view.frame.image)
        published_ns = self._now_ns()
        if place is not None and self._outputs.prediction_wanted:
            self._predict(header, place, job.values["max_prediction_s"])
        self._outputs.publish_overlay(header, view.frame.image, people)
        self._watch.note(view.frame, people, job.values)
        self._monitor.frame_processed(stamp_to_ns(header.stamp), published_ns)

    def _predict(self, header: Header, place: Place, longest_s: float) -> None:
        now_ns = self._now_ns()
        ahead_s = 1e-9 * (now_ns - stamp_to_ns(header.stamp))
        if not 0 <= ahead_s <= longest_s:
            self._logger.warning(
                f"no joints predicted: the image is {ahead_s:.3f} s old, max_prediction_s is {longest_s:g}; "
                "if that is no delay, the clocks differ (a bag needs use_sim_time)",
                throttle_duration_sec=_LOG_THROTTLE_S,
            )
            return
        people = place.people(self._processor.follower.ahead(now_ns), ahead_s)
        self._outputs.publish_predicted(place.header(Header(stamp=Time(nanoseconds=now_ns).to_msg())), people)

    def _fail(self, error: Exception) -> None:
        """One frame's failure, of a network or of our own: it is counted and told, and the next frame is tried."""
        self.failure = f"{type(error).__name__}: {error}"
        self._monitor.frame_rejected(self.failure)
        self._logger.error(f"frame failed: {self.failure}", throttle_duration_sec=_LOG_THROTTLE_S)
        self._logger.debug("".join(traceback.format_exception(error)))

    def _say_once(self, state: CalibrationState) -> None:
        kind = _NUMBER.sub("", state.text)  # of an autofocus they change with every image
        if kind in self._said:
            return
        self._said.add(kind)
        # Two lines, because rclpy refuses another severity from the same place.
        if state.level == Level.OK:
            self._logger.info(f"camera_info: {state.text}")
        else:
            self._logger.warning(f"camera_info: {state.text}")

    # ---- both --------------------------------------------------------------------------------------------------------

    def _reject(self, reason: str) -> None:
        self._monitor.frame_rejected(reason)
        self._logger.warning(f"image rejected: {reason}", throttle_duration_sec=_LOG_THROTTLE_S)

    def _named(self, topic: str) -> str:
        return f"{self.name}/{topic}".lstrip("/")

    def _output_options(self, values: Values) -> OutputOptions:
        prefix = f"{self.name}_" if self.name else ""
        return OutputOptions(values["publish_markers"], values["publish_tf"], prefix + values["tf_prefix"])

    def _reliability(self) -> str:
        return str(self._values()["reliability"])

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _calibration_options(values: Values) -> CalibrationOptions:
    return CalibrationOptions(
        values["image_is_rectified"], values["assumed_horizontal_fov_deg"], values["camera_info_timeout_s"]
    )
