"""The node: images in, people in 3D out. It joins the parts; each of them is in a module of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import TransitionCallbackReturn
from std_srvs.srv import Trigger

from pose3d_ros.engines.engine import EngineError
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.prepared_networks import PreparedNetworks
from pose3d_ros.ros.camera_group import CameraGroup
from pose3d_ros.ros.diagnosis import lifecycle_finding
from pose3d_ros.ros.frame_listener import FrameListener
from pose3d_ros.ros.fusion import Fusion
from pose3d_ros.ros.health import to_diagnostics
from pose3d_ros.ros.managed_node import ACTIVE, UNCONFIGURED, ManagedNode, TransitionError
from pose3d_ros.ros.optional_packages import check_packages
from pose3d_ros.ros.parameter_declaration import NodeParameters, ParameterError, Values
from pose3d_ros.ros.parameters import PARAMETERS, pipeline_settings, problems_together
from pose3d_ros.ros.run_node import run_node
from pose3d_ros.ros.stats import snapshot

if TYPE_CHECKING:
    from pose3d_ros.ros.hri_outputs import HriOutputs

_REPORT_PERIOD_S = 1.0
_DEACTIVATION_TIMEOUT_S = 10.0
_WAKE_PERIOD_S = 0.1
_STOP_TIMEOUT_S = 1.2  # and up to 0.3 s each for a signal to be seen and a build to end: 2 s in all

MakeNetworks = Callable[[Path | None, PipelineSettings], PreparedNetworks]


class Pose3DNode(ManagedNode):
    """Finds people in the images of one or several cameras and publishes their joints.

    docs/ros_api.md lists topics and parameters.

    Configuring loads the networks, or begins to in the background where their engines may have to be built first;
    activating connects the topics, deactivating disconnects them and keeps the networks, cleaning up frees them.
    The executor's thread only takes messages, serves parameters, makes transitions and reports; a thread of its own
    does the work. Several may live in one process, under names of their own.
    node_options: for rclpy's Node (namespace, context, parameter_overrides, …).
    Raises ParameterError, with a text for people, when it was given parameters that will not do.
    """

    def __init__(
        self, name: str = "pose3d", make_networks: MakeNetworks = PreparedNetworks, **node_options: Any
    ) -> None:
        super().__init__(name, **node_options)
        self._declared = NodeParameters(self, PARAMETERS, problems_together, self._why_locked)
        for unknown in self._declared.unknown():
            self.get_logger().warning(f"there is no parameter '{unknown}': check its spelling")
        self._make_networks = make_networks
        self._cameras: CameraGroup | None = None
        self._tf: FrameListener | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(Trigger, "~/stats", self._on_stats)
        # Not the node's clock: under simulated time a stopped /clock would silence the diagnosis too.
        self._timer = self.create_timer(_REPORT_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def autostart(self) -> bool:
        """Whether to `start` at once."""
        return bool(self._declared.values["autostart"])

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
            check_packages(values)
            networks = self._make_networks(model_dir, pipeline_settings(values))
        except (EngineError, ImportError) as error:
            raise TransitionError(str(error)) from error
        self.get_logger().info(networks.description)
        try:
            self._cameras = self._group(networks, values)
        except BaseException:
            networks.close()
            raise

    def _group(self, networks: PreparedNetworks, values: Values) -> CameraGroup:
        """The cameras that parameters name, and what they share."""
        asked = any(values[name] for name in ("target_frame", "fusion_frame", "ground_frame"))
        self._tf = FrameListener(self) if asked else None
        frames = self._tf.frames if self._tf is not None else None
        hri = _hri_outputs(self, with_images=not values["fusion_frame"]) if values["publish_hri"] else None
        fusion = Fusion(self, values["fusion_frame"], frames, hri) if frames and values["fusion_frame"] else None
        return CameraGroup(self, networks, lambda: self._declared.values, frames, fusion, hri)

    def activate(self) -> None:
        """Connects the topics and begins to work."""
        assert self._cameras is not None
        self._cameras.start()

    def deactivate(self) -> None:
        """Ends the work, after the image in hand; the networks stay."""
        assert self._cameras is not None
        self._cameras.stop()
        deadline = time.monotonic() + _DEACTIVATION_TIMEOUT_S
        while not self._cameras.join(_WAKE_PERIOD_S):
            if not self.context.ok():
                raise RuntimeError("the node was shut down meanwhile")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the image in hand was not done within {_DEACTIVATION_TIMEOUT_S:g} s")
        self._cameras.clear()

    def release(self) -> None:
        """Ends the work, if there is any, and frees the networks."""
        cameras, self._cameras = self._cameras, None
        if cameras is not None:
            cameras.stop()
            cameras.join(_STOP_TIMEOUT_S)
            cameras.destroy()
        if self._tf is not None:
            self._tf.destroy()
            self._tf = None

    def _why_locked(self) -> str:
        return "" if self.state == UNCONFIGURED else f"the node is {self.state}; clean it up first"

    def _report(self) -> None:
        name = self.get_fully_qualified_name()
        namesakes = self.get_node_names_and_namespaces().count((self.get_name(), self.get_namespace()))
        findings = [lifecycle_finding(self.state, self.failure, name, namesakes)]
        if self._cameras is not None:
            findings += self._cameras.findings() if self.state == ACTIVE else [self._cameras.networks_finding()]
        self._diagnostics.publish(to_diagnostics(findings, name.lstrip("/"), self.get_clock().now().to_msg()))

    def _on_stats(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        parts = self._cameras.stats() if self._cameras is not None else {"cameras": {}}
        now_ns = self.get_clock().now().nanoseconds
        response.success, response.message = True, snapshot(self.get_fully_qualified_name(), self.state, now_ns, parts)
        return response


def _hri_outputs(node: Pose3DNode, with_images: bool) -> HriOutputs:
    from pose3d_ros.ros.hri_outputs import HriOutputs  # hri_msgs is not everywhere

    return HriOutputs(node, with_images)


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
