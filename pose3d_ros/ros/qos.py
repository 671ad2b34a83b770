"""Subscriptions that ask for what the publishers offer: a mismatch in reliability means no messages at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

DEPTH = 5
"""What DDS keeps until our callback comes. The callback only puts the message into the mailbox, where the newest wins
and the others are counted; with a depth of 1, DDS itself drops some on a busy machine, and nobody knows.
"""
TF_DEPTH = 100
"""Of /tf and /tf_static, as tf2_ros has it."""
_CHOICES = {"reliable": ReliabilityPolicy.RELIABLE, "best_effort": ReliabilityPolicy.BEST_EFFORT}


def matched_qos(wanted: str, offers: Sequence[QoSProfile], depth: int = DEPTH) -> QoSProfile:
    """The profile to subscribe with, given what all publishers of the topic offer.

    wanted: auto, reliable or best_effort. auto: reliable where everybody is, else best effort, which fits both.
    Durability: transient local (a message sent once, before we came) where everybody offers it and we are reliable.
    """
    everybody_reliable = bool(offers) and all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
    automatic = ReliabilityPolicy.RELIABLE if everybody_reliable else ReliabilityPolicy.BEST_EFFORT
    reliability = _CHOICES.get(wanted, automatic)
    kept = everybody_reliable and all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    durability = DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


class Publishers(NamedTuple):
    """Who publishes a topic, as far as it concerns us."""

    number: int
    problem: str


class MatchedSubscription:
    """A subscription that is made anew when the publishers of its topic offer something else.

    wanted_reliability: returns auto, reliable or best_effort. Call `refresh` now and then, from the executor's thread.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        wanted_reliability: Callable[[], str],
    ) -> None:
        self._node = node
        self._message_type = message_type
        self._callback = callback
        self._wanted_reliability = wanted_reliability
        self._subscription: Subscription | None = None
        self._policies: tuple[ReliabilityPolicy, DurabilityPolicy] | None = None
        # Resolved to be told only: what is asked of the node it resolves itself, and twice would undo rules that swap.
        self._name, self.topic = topic, node.resolve_topic_name(topic)
        self.publishers = Publishers(0, "")
        self.refresh()

    @property
    def reliability(self) -> str:
        """What we ask for now, in words."""
        return self._policies[0].name.lower() if self._policies else "none"

    def refresh(self) -> None:
        """Looks at who publishes, and subscribes anew if needed."""
        wanted = self._wanted_reliability()
        endpoints = self._node.get_publishers_info_by_topic(self._name)
        qos = matched_qos(wanted, [endpoint.qos_profile for endpoint in endpoints])
        self.publishers = Publishers(len(endpoints), self._problem(endpoints, qos))
        policies = (qos.reliability, qos.durability)
        # While nobody publishes there is nothing to match, and a camera that comes back most likely is as it was.
        if policies == self._policies or (self._subscription is not None and not endpoints and wanted == "auto"):
            return
        self.destroy()
        self._subscription = self._node.create_subscription(self._message_type, self._name, self._callback, qos)
        self._policies = policies

    def destroy(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _problem(self, endpoints: Sequence[Any], qos: QoSProfile) -> str:
        """Why messages of a publisher cannot reach us; empty if they can."""
        expected = f"{self._message_type.__module__.split('.')[0]}/msg/{self._message_type.__name__}"
        for endpoint in endpoints:
            if endpoint.topic_type != expected:
                return f"{endpoint.node_name} publishes {endpoint.topic_type} on {self.topic}, not {expected}: remap it"
            reliable = endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            if qos.reliability == ReliabilityPolicy.RELIABLE and not reliable:
                return (
                    f"{endpoint.node_name} publishes {self.topic} as best effort, but reliability is set to reliable, "
                    "so no message can come: set reliability to auto"
                )
        return ""
