"""The node: images in, people in 3D out. It joins the parts; each of them is in a module of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import TransitionCallbackReturn

from pose3d_ros.engines.engine import EngineError
<<<<<<< HEAD
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
=======
from pose3d_ros.pipeline import Pipeline, PipelineSettings
from pose3d_ros.ros.camera_stream import CameraStream
from pose3d_ros.ros.diagnosis import lifecycle_finding
from pose3d_ros.ros.health import to_diagnostics
from pose3d_ros.ros.managed_node import ACTIVE, UNCONFIGURED, ManagedNode, TransitionError
from pose3d_ros.ros.parameter_declaration import NodeParameters, ParameterError
from pose3d_ros.ros.parameters import PARAMETERS, pipeline_settings, problems_together
>>>>>>> ros
from pose3d_ros.ros.run_node import run_node

_REPORT_PERIOD_S = 1.0
_DEACTIVATION_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 1.5

MakePipeline = Callable[[Path | None, PipelineSettings], PreparedPipeline]


class Pose3DNode(ManagedNode):
    """Finds people in a camera's images and publishes their joints; docs/ros_api.md lists topics and parameters.

    Configuring loads the networks, activating connects the topics, deactivating disconnects them and keeps the
    networks, cleaning up frees them. The executor's thread only takes messages, serves parameters, makes transitions
    and reports; a thread of its own does the work. Several may live in one process, under names of their own.
    node_options: for rclpy's Node (namespace, context, parameter_overrides, …).
    Raises ParameterError, with a text for people, when it was given parameters that will not do.
    """

<<<<<<< HEAD
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
=======
    def __init__(self, name: str = "pose3d", make_pipeline: MakePipeline = Pipeline, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self._declared = NodeParameters(self, PARAMETERS, problems_together, self._lock)
        for unknown in self._declared.unknown():
            self.get_logger().warning(f"there is no parameter '{unknown}': check its spelling")
        self._make_pipeline = make_pipeline
        self._stream: CameraStream | None = None
>>>>>>> ros
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the node's clock: under simulated time a stopped /clock would silence the diagnosis too.
        self._timer = self.create_timer(_REPORT_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

<<<<<<< HEAD
    def stop(self) -> None:
        """Ends the work; waits a moment for the frame in hand."""
        self._mailbox.close()
        if hasattr(self, "_worker"):
            self._worker.join(_STOP_TIMEOUT_S)
            if self._worker.is_alive():
                return  # a frame is in the engines, which must not be closed under it
        self._pipeline.close()
=======
    @property
    def autostart(self) -> bool:
        """Whether to `start` at once."""
        return bool(self._declared.values["autostart"])
>>>>>>> ros

    def start(self) -> None:
        """Configures and activates. Raises TransitionError when one of them fails."""
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise TransitionError(self.failure)

    def configure(self) -> None:
        """Loads the networks and advertises the outputs."""
        values = self._declared.values
        model_dir = Path(values["model_dir"]).expanduser() if values["model_dir"] else None
        try:
            pipeline = self._make_pipeline(model_dir, pipeline_settings(values))
        except EngineError as error:
            raise TransitionError(str(error)) from error
        self.get_logger().info(pipeline.description)
        self._stream = CameraStream(self, pipeline, lambda: self._declared.values)

    def activate(self) -> None:
        """Connects the topics and begins to work."""
        assert self._stream is not None
        self._stream.start()

    def deactivate(self) -> None:
        """Ends the work, after the image in hand; the networks stay."""
        assert self._stream is not None
        if not self._stream.stop(_DEACTIVATION_TIMEOUT_S):
            raise RuntimeError(f"the image in hand was not done within {_DEACTIVATION_TIMEOUT_S:g} s")
        self._stream.clear()

    def release(self) -> None:
        """Ends the work, if there is any, and frees the networks."""
        stream, self._stream = self._stream, None
        if stream is not None:
            if self.state == ACTIVE:
                stream.stop(_STOP_TIMEOUT_S)
            stream.destroy()

    def _lock(self) -> str:
        return "" if self.state == UNCONFIGURED else f"the node is {self.state}; clean it up first, or start it with it"

    def _report(self) -> None:
<<<<<<< HEAD
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

=======
        findings = [lifecycle_finding(self.state, self.failure)]
        if self._stream is not None and self.state == ACTIVE:
            findings += self._stream.findings()
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(to_diagnostics(findings, name, self.get_clock().now().to_msg()))

>>>>>>> ros

def _make() -> Pose3DNode:
    node = Pose3DNode()
    if node.autostart:
        node.start()
    return node


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    return run_node("pose3d_node", _make, Pose3DNode.release, (ParameterError, TransitionError), args)


if __name__ == "__main__":
    sys.exit(main())
