"""A lifecycle node that says why a transition failed; rclpy's own swallows the reason, and dies of a wrong request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = "unconfigured", "inactive", "active", "finalized"


class TransitionError(RuntimeError):
    """A transition that cannot be made now; the message says why and what to do. The node stays in its state."""


class ManagedNode(LifecycleNode):
    """Subclasses do their work in `configure`, `activate`, `deactivate` and `release`.

    Each of them raises TransitionError when it cannot: the transition then fails, the node stays what it was, and
    `failure` and the log say why. Any other exception is a mistake of ours: `release` is called, and the node is
    unconfigured again. A transition that the state does not allow is answered with a failure, likewise.

    state: unconfigured, inactive, active or finalized. failure: why the last transition failed; empty if it did not.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self.state = UNCONFIGURED
        self.failure = ""
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = self._guarded(service.callback)

    # ---- what a subclass does ---------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Unconfigured to inactive: takes what the work needs."""

    def activate(self) -> None:
        """Inactive to active: begins to work. Publishers are enabled already."""

    def deactivate(self) -> None:
        """Active to inactive: stops working. Publishers are still enabled."""

    def release(self) -> None:
        """Any state to unconfigured or finalized: frees whatever there is to free. Must not fail."""

    # ---- the transitions' callbacks ----------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._make("configure", INACTIVE, self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        super().on_activate(state)  # enables the lifecycle publishers
        result = self._make("activate", ACTIVE, self.activate)
        if result != TransitionCallbackReturn.SUCCESS:
            super().on_deactivate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        result = self._make("deactivate", INACTIVE, self.deactivate)
        if result != TransitionCallbackReturn.FAILURE:
            super().on_deactivate(state)  # disables the lifecycle publishers
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._make("clean up", UNCONFIGURED, self.release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy."""
        return self._make("shut down", FINALIZED, self.release)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Called by rclpy after an unexpected exception; what caused it stays in `failure`."""
        self.release()
        self.state = UNCONFIGURED
        return TransitionCallbackReturn.SUCCESS

    def _make(self, what: str, next_state: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except TransitionError as error:
            self._fail(f"cannot {what}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._fail(f"cannot {what}: {type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        self.state = next_state
        self.failure = ""
        self.get_logger().info(f"the node is {next_state}")
        return TransitionCallbackReturn.SUCCESS

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.get_logger().error(reason)

    def _guarded(self, change_state: Callable[..., Any]) -> Callable[..., Any]:
        """The service's callback, and what is missing there: of a transition that the state does not have, rclpy dies
        when it is named by its number, and says nothing when it is named by its label.
        """

        def callback(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
            self.failure = ""
            try:
                response = change_state(request, response)
            except rclpy_implementation.RCLError:
                response.success = False
            if not (response.success or self.failure):
                wanted = f"'{request.transition.label}'" if request.transition.label else request.transition.id
                self._fail(f"the node is {self.state}, from where there is no transition {wanted}")
            return response

        return callback
