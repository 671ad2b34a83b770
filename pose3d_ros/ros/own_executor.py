"""What a command that starts nodes of its own listens to them by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor


@contextmanager
def own_executor() -> Iterator[tuple[Context, SingleThreadedExecutor]]:
    """A ROS context apart from the process', and an executor in it; both end with the block, and so do its nodes.

    A node that is only forgotten listens on until Python collects it, and others go on working for it.
    """
    context = Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    try:
        yield context, executor
    finally:
        nodes = executor.get_nodes()
        executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=context)
