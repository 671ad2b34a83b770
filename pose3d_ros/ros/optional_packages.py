"""Interface packages that only some parameters need."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

_NEEDED_BY = {"use_detections": "vision_msgs", "publish_hri": "hri_msgs"}


def check_packages(values: Mapping[str, Any]) -> None:
    """Raises ImportError, saying what to do, where a parameter asks for a package that is not installed."""
    for parameter, package in _NEEDED_BY.items():
        if values[parameter]:
            try:
                import_module(f"{package}.msg")
            except ImportError as error:
                raise ImportError(
                    f"{parameter} needs the package {package}, which is not installed: "
                    f"apt install ros-$ROS_DISTRO-{package.replace('_', '-')}, or set {parameter} to false"
                ) from error
