"""Starts one pose3d_node for several cameras, which share its networks.

ros2 launch pose3d_ros multi_camera.launch.py cameras:=/path/to/cameras.yaml fusion_frame:=base_link

The outputs of camera `front` are /pose3d/front/joints and so on, and its people's frames begin with front_person_; with
a fusion_frame there are /pose3d/fused/joints, too. All other arguments of pose3d.launch.py hold.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SHARE = Path(__file__).resolve().parent.parent

ARGUMENTS = [
    DeclareLaunchArgument(
        "cameras",
        default_value=str(SHARE / "config" / "multi_camera.yaml"),
        description="YAML file with the topics `image` and `camera_info` of each camera, by its name.",
    )
]


def generate_launch_description() -> LaunchDescription:
    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / "pose3d.launch.py"))
    given = {"cameras": LaunchConfiguration("cameras")}
    return LaunchDescription([*ARGUMENTS, IncludeLaunchDescription(source, launch_arguments=given.items())])
