"""The real node in this process, with stand-ins for its networks: for what cannot be done to one in another process."""

import gc
import threading

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from pose3d_ros.ros.pose3d_node import Pose3DNode


class StandIn:
    """Networks that see nobody. work: makes the outcomes of views."""

    description, is_ready, failure, done = "a stand-in", True, "", 1.0

    def __init__(self, work=lambda views: [[] for _ in views]):
        self.process = work
        self.timings_ms, self.reference = {}, {}
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


class NodeHere:
    """The node, spinning in a thread of its own."""

    def __init__(self, networks, parameters, arguments=()):
        self.networks = networks
        self._context = Context()
        rclpy.init(context=self._context, args=["test", "--ros-args", *arguments])
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = Pose3DNode("pose3d", lambda *_: networks, context=self._context, parameter_overrides=overrides)
        if self.node.autostart:
            self.node.start()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def end(self):
        """Frees the node, however it stands, and its DDS participant, or others would see a second node of its name."""
        self._ended.set()
        self._thread.join(60)
        self.node.release()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._context.destroy()
        del self.node, self._executor
        gc.collect()  # the participant goes with the last who holds the context

    def _spin(self):
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)
