"""The node: images in, people in 3D out. It joins the parts; each of them is in a module of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.engines.engine import EngineError
from pose3d_ros.pipeline import PipelineSettings
from pose3d_ros.prepared_pipeline import PreparedPipeline
from pose3d_ros.ros.calibration import CalibrationState
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.diagnosis import ImageSource, build_finding, camera_finding, engine_finding, image_finding
from pose3d_ros.ros.frame_processor import CalibrationOptions, FrameProcessor
from pose3d_ros.ros.health import Finding, Level, to_diagnostics
from pose3d_ros.ros.image_conversion import BadImageError
from pose3d_ros.ros.mailbox import Mailbox
from pose3d_ros.ros.outputs import OutputOptions, Outputs
from pose3d_ros.ros.parameter_declaration import ParameterError, declare_parameters, unknown_parameters
from pose3d_ros.ros.parameters import PARAMETERS, pipeline_settings
from pose3d_ros.ros.qos import MatchedSubscription
from pose3d_ros.ros.run_node import run_node
from pose3d_ros.ros.stream_monitor import StreamMonitor, StreamStatistics

_REPORT_PERIOD_S = 1.0
_LOG_THROTTLE_S = 5.0
_STOP_TIMEOUT_S = 1.5

MakePipeline = Callable[[Path | None, PipelineSettings], PreparedPipeline]


class Pose3DNode(Node):
    """Finds people in a camera's images and publishes their joints; docs/ros_api.md lists topics and parameters.

    The executor's thread only takes messages, serves parameters and reports; a thread of its own does the work.
    Construction loads the networks, `start` connects the topics, `stop` ends both.
    Raises ParameterError or EngineError, with a text for people, when it cannot work as it was told to.
    """

    def __init__(self, make_pipeline: MakePipeline = PreparedPipeline) -> None:
        super().__init__("pose3d")
        values = declare_parameters(self, PARAMETERS)
        for name in unknown_parameters(self, PARAMETERS):
            self.get_logger().warning(f"there is no parameter '{name}': check its spelling")
        model_dir = Path(values["model_dir"]).expanduser() if values["model_dir"] else None
        self._pipeline = make_pipeline(model_dir, pipeline_settings(values))
        self._was_ready = self._pipeline.is_ready
        self.get_logger().info(self._pipeline.description)
        self._monitor = StreamMonitor()
        self._processor = FrameProcessor(self._pipeline)
        self._mailbox: Mailbox[Image | CompressedImage] = Mailbox()
        self._last_report: StreamStatistics | None = None
        self._engine_failure = ""
        self._frame_id = ""
        self._said: set[str] = set()

    def start(self) -> None:
        """Connects the topics and begins to work."""
        compressed = self._value("image_transport") == "compressed"
        # As image_transport does: next to the image topic, wherever that was remapped to.
        topic = self.resolve_topic_name("image") + ("/compressed" if compressed else "")
        message_type = CompressedImage if compressed else Image
        self._outputs = Outputs(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._images = MatchedSubscription(self, message_type, topic, self._on_image, self._reliability)
        self._camera_infos = MatchedSubscription(
            self, CameraInfo, "camera_info", self._on_camera_info, self._reliability
        )
        self._worker = threading.Thread(target=self._work, name="pose3d_worker", daemon=True)
        self._worker.start()
        # Not the node's clock: under simulated time a stopped /clock would silence the diagnosis too.
        self._timer = self.create_timer(_REPORT_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def stop(self) -> None:
        """Ends the work; waits a moment for the frame in hand."""
        self._mailbox.close()
        if hasattr(self, "_worker"):
            self._worker.join(_STOP_TIMEOUT_S)
            if self._worker.is_alive():
                return  # a frame is in the engines, which must not be closed under it
        self._pipeline.close()

    # ---- the executor's thread -------------------------------------------------------------------------------------

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._monitor.frame_received(stamp_to_ns(message.header.stamp), self._now_ns())
        if self._mailbox.put(message):
            self._monitor.frame_dropped()

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._monitor.camera_info_received(stamp_to_ns(message.header.stamp), self._now_ns())
        self._processor.calibration.update(message)

    def _report(self) -> None:
        for subscription in (self._images, self._camera_infos):
            subscription.refresh()
        figures = self._monitor.read(self._now_ns())
        publishers = self._images.publishers
        source = ImageSource(
            self._images.topic, self._images.reliability, publishers.number, publishers.problem, self._frame_id
        )
        camera = self._processor.calibration.state
        infos = self._camera_infos
        findings = [
            image_finding(figures, self._last_report, source),
            camera_finding(camera, figures, infos.topic, infos.publishers.problem),
            self._networks_finding(),
        ]
        self._last_report = figures
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(to_diagnostics(findings, name, self.get_clock().now().to_msg()))

    def _networks_finding(self) -> Finding:
        pipeline = self._pipeline
        if pipeline.failure:
            self.get_logger().error(pipeline.failure, once=True)
        if not pipeline.is_ready:
            return build_finding(pipeline.description, pipeline.done, pipeline.failure)
        if not self._was_ready:
            self._was_ready = True
            self.get_logger().info(pipeline.description)
        return engine_finding(pipeline.description, dict(pipeline.timings_ms), self._engine_failure)

    # ---- the worker's thread ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (message := self._mailbox.take()) is not None:
            if not self._pipeline.is_ready:
                self._monitor.frame_dropped()
                continue
            try:
                self._process(message)
            except Exception as error:
                if self.context.ok():  # else the node is being shut down under our feet
                    self._fail(error)

    def _process(self, message: Image | CompressedImage) -> None:
        options = CalibrationOptions(
            self._value("image_is_rectified"),
            self._value("assumed_horizontal_fov_deg"),
            self._value("camera_info_timeout_s"),
        )
        try:
            result = self._processor.process(message, options)
        except BadImageError as error:
            self._monitor.frame_rejected(str(error))
            self.get_logger().warning(f"image rejected: {error}", throttle_duration_sec=_LOG_THROTTLE_S)
            return
        if result.time_jumped:
            self.get_logger().warning("the images' time jumped back: everybody was forgotten")
        self._say_once(self._processor.calibration.state)
        self._frame_id = message.header.frame_id
        self._engine_failure = ""
        outputs = OutputOptions(self._value("publish_markers"), self._value("publish_tf"), self._value("tf_prefix"))
        self._outputs.publish(message.header, result.people, outputs)
        self._monitor.frame_processed(stamp_to_ns(message.header.stamp), self._now_ns())
        self._outputs.publish_overlay(message.header, result.picture, result.people)

    def _fail(self, error: Exception) -> None:
        """One frame's failure, of a network or of our own: it is counted and told, and the next frame is tried."""
        self._engine_failure = f"{type(error).__name__}: {error}"
        self._monitor.frame_rejected(self._engine_failure)
        self.get_logger().error(f"frame failed: {self._engine_failure}", throttle_duration_sec=_LOG_THROTTLE_S)

    def _say_once(self, state: CalibrationState) -> None:
        if state.text in self._said:
            return
        self._said.add(state.text)
        # Two lines, because rclpy refuses another severity from the same place.
        if state.level == Level.OK:
            self.get_logger().info(f"camera_info: {state.text}")
        else:
            self.get_logger().warning(f"camera_info: {state.text}")

    # ---- both --------------------------------------------------------------------------------------------------------

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _reliability(self) -> str:
        return str(self._value("reliability"))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def _make() -> Pose3DNode:
    node = Pose3DNode()
    node.start()
    return node


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    return run_node("pose3d_node", _make, Pose3DNode.stop, (ParameterError, EngineError), args)


if __name__ == "__main__":
    sys.exit(main())
