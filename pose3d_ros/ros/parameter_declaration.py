"""Declares a table of ParameterSpec on a ROS node and keeps its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from pose3d_ros.ros.parameters import Change, ParameterSpec

Values = Mapping[str, Any]


class ParameterError(ValueError):
    """Parameters that the node cannot start with; the message names them and says what to do."""


def _no_problems(values: Values) -> Iterable[str]:
    return ()


def _not_locked() -> str:
    return ""


class NodeParameters:
    """A node's parameters, declared from a table. A change is checked as a set before any of it holds.

    check_together: what is wrong with a whole set of values, each of which may be right by itself.
    lock: why parameters of Change.UNCONFIGURED must stay as they are just now; empty if they need not.
    Raises ParameterError naming every value that the node was started with and that will not do.
    """

    def __init__(
        self,
        node: Node,
        table: Sequence[ParameterSpec],
        check_together: Callable[[Values], Iterable[str]] = _no_problems,
        lock: Callable[[], str] = _not_locked,
    ) -> None:
        self._node = node
        self._specs = {spec.name: spec for spec in table}
        self._check_together = check_together
        self._lock = lock
        self._values: Values | None = None
        given = {name: value for name, value in _overrides(node).items() if name in self._specs}
        problems = [problem for name in sorted(given) if (problem := self._specs[name].problem(given[name]))]
        problems = problems or list(check_together({spec.name: spec.default for spec in table} | given))
        if problems:
            raise ParameterError("; ".join(problems))
        try:
            for spec in table:
                node.declare_parameter(spec.name, spec.default, _descriptor(spec))
        except ParameterException as error:
            raise ParameterError(str(error)) from error
        node.add_on_set_parameters_callback(self._on_set)

    @property
    def values(self) -> Values:
        """All values at this moment, never half of a change; an equal set is the same object.

        Call it in the executor's thread, which is where changes are made: there, none is under way.
        """
        if self._values is None:
            self._values = MappingProxyType({name: self._node.get_parameter(name).value for name in self._specs})
        return self._values

    def unknown(self) -> list[str]:
        """Names that the node was started with and that nobody declared: most likely typing errors."""
        return sorted(name for name in _overrides(self._node) if not self._node.has_parameter(name))

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        wanted = {parameter.name: parameter.value for parameter in parameters if parameter.name in self._specs}
        if not wanted:
            return SetParametersResult(successful=True)
        problems = [problem for name, value in wanted.items() if (problem := self._problem(name, value))]
        problems = problems or list(self._check_together({**self.values, **wanted}))
        if not problems:
            self._values = None  # read anew, once rclpy has stored them
        return SetParametersResult(successful=not problems, reason="; ".join(problems))

    def _problem(self, name: str, value: object) -> str | None:
        spec = self._specs[name]
        if spec.change == Change.UNCONFIGURED and value != self.values[name] and (why := self._lock()):
            return f"{name} cannot be changed now: {why}"
        return spec.problem(value)


def _overrides(node: Node) -> dict[str, Any]:
    # There is no public way to see what came from the command line and files before declaring it.
    return {name: parameter.value for name, parameter in getattr(node, "_parameter_overrides", {}).items()}


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    read_only = spec.change == Change.NEVER
    descriptor = ParameterDescriptor(name=spec.name, description=spec.description, read_only=read_only)
    if spec.choices:
        descriptor.additional_constraints = f"one of {', '.join(spec.choices)}"
    if spec.minimum is not None and spec.maximum is not None:
        if isinstance(spec.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum), step=1)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(spec.minimum), to_value=float(spec.maximum), step=0.0)
            ]
    return descriptor
