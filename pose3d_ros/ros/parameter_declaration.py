"""Declares a table of ParameterSpec on a ROS node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from pose3d_ros.ros.parameters import ParameterSpec


class ParameterError(ValueError):
    """Parameters that the node cannot start with; the message names them and says what to do."""


def declare_parameters(node: Node, table: Sequence[ParameterSpec]) -> dict[str, Any]:
    """Declares the table's parameters, with their ranges and checks for later changes too; returns their values.

    Raises ParameterError naming every value that the node was started with and that will not do.
    """
    specs = {spec.name: spec for spec in table}
    problems = [
        problem
        for name, override in sorted(_overrides(node).items())
        if name in specs and (problem := specs[name].problem(override))
    ]
    if problems:
        raise ParameterError("; ".join(problems))

    def check(parameters: list[Parameter]) -> SetParametersResult:
        found = [specs[p.name].problem(p.value) for p in parameters if p.name in specs]
        reasons = [problem for problem in found if problem]
        return SetParametersResult(successful=not reasons, reason="; ".join(reasons))

    node.add_on_set_parameters_callback(check)
    try:
        return {spec.name: node.declare_parameter(spec.name, spec.default, _descriptor(spec)).value for spec in table}
    except ParameterException as error:
        raise ParameterError(str(error)) from error


def unknown_parameters(node: Node, table: Sequence[ParameterSpec]) -> list[str]:
    """Names that the node was started with and that nobody declared: most likely typing errors."""
    known = {spec.name for spec in table}
    return sorted(name for name in _overrides(node) if name not in known and not node.has_parameter(name))


def _overrides(node: Node) -> dict[str, Any]:
    # There is no public way to see what came from the command line and files before declaring it.
    return {name: parameter.value for name, parameter in getattr(node, "_parameter_overrides", {}).items()}


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(name=spec.name, description=spec.description, read_only=not spec.live)
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
