"""What the node says about itself: levels, findings, and the DiagnosticArray that carries them (REP-107)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticArray


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


class Finding(NamedTuple):
    """The state of one part of the node."""

    part: str
    level: Level
    message: str
    values: Mapping[str, str]


def to_diagnostics(findings: Iterable[Finding], node_name: str, stamp: Time) -> DiagnosticArray:
    """A diagnostic_msgs/DiagnosticArray with one status, named `<node>: <part>`, per finding."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    array = DiagnosticArray()
    array.header.stamp = stamp
    array.status = [
        DiagnosticStatus(
            level=bytes([finding.level]),
            name=f"{node_name}: {finding.part}",
            message=finding.message,
            hardware_id=node_name,
            values=[KeyValue(key=key, value=value) for key, value in finding.values.items()],
        )
        for finding in findings
    ]
    return array
