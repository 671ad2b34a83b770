"""Runs a node until a signal ends it, with an exit status that scripts can trust."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

# rclpy.spin waits without end, and now and then misses the shutdown that a signal brings (seen in Jazzy).
_WAKE_PERIOD_S = 0.3
SomeNode = TypeVar("SomeNode", bound=Node)


def run_node(
    name: str,
    make_node: Callable[[], SomeNode],
    stop_node: Callable[[SomeNode], None],
    expected_errors: tuple[type[Exception], ...],
    args: list[str] | None = None,
) -> int:
    """Makes the node, spins it, and stops it on SIGINT or SIGTERM; returns the exit status.

    name: of the program, for messages. expected_errors: what `make_node` raises with a text meant for people; it is
    printed, and the status is 1. stop_node: frees what the node holds, before it is destroyed.
    """
    # rclpy's own handler shuts the context down, which ends the spin. Python's would besides raise KeyboardInterrupt
    # wherever the main thread happens to be.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init(args=args)
    node: SomeNode | None = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok():
            executor.spin_once(timeout_sec=_WAKE_PERIOD_S)
    except ExternalShutdownException:
        pass
    except expected_errors as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except Exception:
        # A signal during set-up shuts the context down, and then anything that needs it fails.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            stop_node(node)
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
