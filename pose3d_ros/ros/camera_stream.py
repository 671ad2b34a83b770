"""One camera's way through the node: its topics, its thread, its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.prepared_pipeline import PreparedPipeline
from pose3d_ros.ros.beside import Beside
from pose3d_ros.ros.calibration import CalibrationState
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.companions import Companions
from pose3d_ros.ros.diagnosis import ImageSource, build_finding, camera_finding, engine_finding, image_finding
from pose3d_ros.ros.frame_processor import CalibrationOptions, FrameProcessor
from pose3d_ros.ros.health import Finding, Level
from pose3d_ros.ros.image_conversion import BadImageError
from pose3d_ros.ros.managed_node import ManagedNode
from pose3d_ros.ros.outputs import OutputOptions, Outputs
from pose3d_ros.ros.parameter_declaration import Values
from pose3d_ros.ros.parameters import person_classes, pipeline_settings
from pose3d_ros.ros.qos import MatchedSubscription
from pose3d_ros.ros.rate_limit import RateLimit
from pose3d_ros.ros.stream_monitor import Drop, StreamMonitor, StreamStatistics
from pose3d_ros.ros.worker import Worker

_LOG_THROTTLE_S = 5.0

AnyImage: TypeAlias = Image | CompressedImage


class _Job(NamedTuple):
    """An image, what belongs to it, and the parameters that held when it came: they change between images, never within
    one."""

    message: AnyImage
    values: Values
    beside: Beside = Beside()


class CameraStream:
    """Takes a camera's messages in the executor's thread, and works on the newest in a thread of its own.

    Publishers exist from the beginning to `destroy`, which closes the pipeline too; subscriptions and thread from
    `start` to `stop`.
    values: returns the node's parameters, of one moment.
    """

    def __init__(self, node: ManagedNode, pipeline: PreparedPipeline, values: Callable[[], Values]) -> None:
        self._node = node
        self._pipeline = pipeline
        self._values = values
        self._monitor = StreamMonitor()
        self._processor = FrameProcessor(pipeline)
        self._outputs = Outputs(node)
        self._rate_limit = RateLimit()
        self._applied: Values | None = None
        self._last_report: StreamStatistics | None = None
        self._engine_failure = ""
        self._frame_id = ""
        self._is_idle = True
        self._said = {pipeline.description}  # by whoever made it

    def start(self) -> None:
        """Connects the topics and begins to work; whoever was followed before is forgotten."""
        self._processor.restart()
        compressed = self._values()["image_transport"] == "compressed"
        # As image_transport does: next to the image topic, wherever that was remapped to.
        topic = self._node.resolve_topic_name("image") + ("/compressed" if compressed else "")
        message_type = CompressedImage if compressed else Image
        self._worker: Worker[_Job] = Worker(self._work, f"{self._node.get_name()}_worker")
        self._companions: Companions[_Job] = Companions(
            self._node, self._values, self._processor.beside, self._put_to_work
        )
        self._images = MatchedSubscription(self._node, message_type, topic, self._on_image, self._reliability)
        self._camera_infos = MatchedSubscription(
            self._node, CameraInfo, "camera_info", self._on_camera_info, self._reliability
        )

    def stop(self, timeout_s: float) -> bool:
        """Disconnects the topics and waits for the image in hand; False if it took longer than that."""
        for subscription in (self._images, self._camera_infos):
            subscription.destroy()
        if self._companions.destroy():
            self._monitor.frame_dropped(Drop.OVERTAKEN)
        if self._worker.close():
            self._monitor.frame_dropped(Drop.OVERTAKEN)
        self._is_idle = self._worker.join(timeout_s)
        return self._is_idle

    def clear(self) -> None:
        """Takes what was shown out of RViz."""
        self._outputs.clear(Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id))

    def destroy(self) -> None:
        """Ends the publishers and frees the networks, unless an image is still in them."""
        self._outputs.destroy()
        if self._is_idle:
            self._pipeline.close()

    # ---- the executor's thread -------------------------------------------------------------------------------------

    def findings(self) -> list[Finding]:
        """What there is to say of camera and networks since the last call; looks after the subscriptions, too."""
        for subscription in (self._images, self._camera_infos):
            subscription.refresh()
        self._companions.refresh()
        now_ns = self._now_ns()
        figures = self._monitor.read(now_ns)
        images, infos = self._images, self._camera_infos
        source = ImageSource(
            images.topic,
            images.reliability,
            images.publishers.number,
            images.publishers.problem,
            self._frame_id,
            now_ns > 0,
        )
        findings = [
            image_finding(figures, self._last_report, source),
            camera_finding(self._processor.calibration.state, figures, infos.topic, infos.publishers.problem),
            self.networks_finding(),
            *self._companions.findings(),
        ]
        self._last_report = figures
        return findings

    def networks_finding(self) -> Finding:
        """What there is to say of the networks; their engines may be built before the work has started."""
        pipeline = self._pipeline
        if not pipeline.is_ready:
            if pipeline.failure and self._is_new(pipeline.failure):
                self._node.get_logger().error(pipeline.failure)
            return build_finding(pipeline.description, pipeline.done, pipeline.failure)
        if self._is_new(pipeline.description):
            self._node.get_logger().info(pipeline.description)
        return engine_finding(pipeline.description, dict(pipeline.timings_ms), self._engine_failure)

    def _on_image(self, message: AnyImage) -> None:
        values = self._values()
        stamp_ns = stamp_to_ns(message.header.stamp)
        self._monitor.frame_received(stamp_ns, self._now_ns())
        if not self._pipeline.is_ready:
            self._monitor.frame_dropped(Drop.NOT_READY)
        elif not self._outputs.wanted(_output_options(values)):
            self._monitor.frame_dropped(Drop.UNWANTED)
        elif not self._rate_limit.admits(stamp_ns, values["max_rate_hz"]):
            self._monitor.frame_dropped(Drop.OVER_RATE)
        else:
            self._companions.offer(_Job(message, values), message.header.frame_id, stamp_ns)

    def _put_to_work(self, job: _Job, beside: Beside) -> None:
        if self._worker.put(job._replace(beside=beside)):
            self._monitor.frame_dropped(Drop.OVERTAKEN)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._monitor.camera_info_received(stamp_to_ns(message.header.stamp), self._now_ns())
        self._processor.calibration.update(message)

    # ---- the worker's thread ---------------------------------------------------------------------------------------

    def _work(self, job: _Job) -> None:
        try:
            self._process(job.message, job.values, job.beside)
        except Exception as error:
            if self._node.context.ok():  # else the node is being shut down under our feet
                self._fail(error)

    def _process(self, message: AnyImage, values: Values, beside: Beside) -> None:
        if values is not self._applied:
            self._pipeline.change(pipeline_settings(values))
            self._applied = values
        try:
            result = self._processor.process(message, _calibration_options(values), beside, person_classes(values))
        except BadImageError as error:
            self._monitor.frame_rejected(str(error))
            self._node.get_logger().warning(f"image rejected: {error}", throttle_duration_sec=_LOG_THROTTLE_S)
            return
        if result.time_jumped:
            self._node.get_logger().warning("the images' time jumped back: everybody was forgotten")
        self._say_once(self._processor.calibration.state)
        self._frame_id = message.header.frame_id
        self._engine_failure = ""
        self._outputs.publish(message.header, result.people, _output_options(values))
        published_ns = self._now_ns()
        if self._outputs.prediction_wanted:
            self._predict(message.header, values["max_prediction_s"])
        self._outputs.publish_overlay(message.header, result.picture, result.people)
        self._monitor.frame_processed(stamp_to_ns(message.header.stamp), published_ns)

    def _predict(self, header: Header, longest_s: float) -> None:
        now_ns = self._now_ns()
        ahead_s = 1e-9 * (now_ns - stamp_to_ns(header.stamp))
        if not 0 <= ahead_s <= longest_s:
            self._node.get_logger().warning(
                f"no joints predicted: the image is {ahead_s:.3f} s old, max_prediction_s is {longest_s:g}; "
                "if that is no delay, the clocks differ (a bag needs use_sim_time)",
                throttle_duration_sec=_LOG_THROTTLE_S,
            )
            return
        stamp = Time(nanoseconds=now_ns).to_msg()
        self._outputs.publish_predicted(Header(stamp=stamp, frame_id=header.frame_id), self._processor.ahead(now_ns))

    def _fail(self, error: Exception) -> None:
        """One frame's failure, of a network or of our own: it is counted and told, and the next frame is tried."""
        self._engine_failure = f"{type(error).__name__}: {error}"
        self._monitor.frame_rejected(self._engine_failure)
        self._node.get_logger().error(f"frame failed: {self._engine_failure}", throttle_duration_sec=_LOG_THROTTLE_S)

    def _say_once(self, state: CalibrationState) -> None:
        if not self._is_new(state.text):
            return
        # Two lines, because rclpy refuses another severity from the same place.
        if state.level == Level.OK:
            self._node.get_logger().info(f"camera_info: {state.text}")
        else:
            self._node.get_logger().warning(f"camera_info: {state.text}")

    # ---- both --------------------------------------------------------------------------------------------------------

    def _is_new(self, text: str) -> bool:
        """Has this not been said yet? Then it is now."""
        is_new = text not in self._said
        self._said.add(text)
        return is_new

    def _reliability(self) -> str:
        return str(self._values()["reliability"])

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _output_options(values: Values) -> OutputOptions:
    return OutputOptions(values["publish_markers"], values["publish_tf"], values["tf_prefix"])


def _calibration_options(values: Values) -> CalibrationOptions:
    return CalibrationOptions(
        values["image_is_rectified"], values["assumed_horizontal_fov_deg"], values["camera_info_timeout_s"]
    )
