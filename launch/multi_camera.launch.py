"""Starts a pose3d_node for each of several cameras, in namespaces of their own.

ros2 launch pose3d_ros multi_camera.launch.py cameras:=/path/to/cameras.yaml

The node of camera `front` is /front/pose3d, its outputs are /front/pose3d/joints and so on, and its people's frames
begin with front_person_. All other arguments of pose3d.launch.py hold for each of them.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SHARE = Path(__file__).resolve().parent.parent

ARGUMENTS = [
    DeclareLaunchArgument(
        "cameras",
        default_value=str(SHARE / "config" / "multi_camera.yaml"),
        description="YAML file with the topics `image` and `camera_info` of each camera, by its namespace.",
    )
]


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    file = Path(LaunchConfiguration("cameras").perform(context))
    cameras = yaml.safe_load(file.read_text(encoding="utf-8"))
    one = PythonLaunchDescriptionSource(str(SHARE / "launch" / "pose3d.launch.py"))
    groups = []
    for name, topics in cameras.items():
        given = {"namespace": name, "tf_prefix": f"{name}_person_", **topics}
        groups.append(GroupAction([IncludeLaunchDescription(one, launch_arguments=given.items())]))
    return groups


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])
