"""Shows a video or a camera to pose3d_node and the result in RViz, where that is installed.

ros2 launch pose3d_ros demo.launch.py                      the clip of the package
ros2 launch pose3d_ros demo.launch.py video:=/path/to/video.mp4
ros2 launch pose3d_ros demo.launch.py camera:=0 rviz:=false
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

HERE = Path(__file__).resolve().parent


def has_rviz() -> bool:
    """Whether RViz is installed, which a robot often lacks."""
    try:
        get_package_prefix("rviz2")
    except (PackageNotFoundError, OSError):  # the other: no ROS 2 was sourced
        return False
    return True


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            "video", default_value="", description="Video, picture or stream address. Empty: the package's own clip."
        ),
        DeclareLaunchArgument(
            "camera", default_value="-1", description="Number of a camera to show instead of a video. -1: none."
        ),
        DeclareLaunchArgument(
            "video_camera_info",
            default_value="",
            description="Calibration file of that video or camera (camera_calibration's YAML, or JSON).",
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value=str(has_rviz()).lower(),
            choices=["true", "false"],
            description="Start RViz; by default where the package rviz2 is installed.",
        ),
    ]
    # First, as it also sets the environment that the publisher needs.
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / "pose3d.launch.py")),
        launch_arguments={"rviz": LaunchConfiguration("rviz")}.items(),
    )
    publisher = Node(
        package="pose3d_ros",
        executable="video_publisher",
        name="video_publisher",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            {
                # Typed, because a name such as 2024 would otherwise be read as a number.
                "video": ParameterValue(LaunchConfiguration("video"), value_type=str),
                "camera": ParameterValue(LaunchConfiguration("camera"), value_type=int),
                "camera_info": ParameterValue(LaunchConfiguration("video_camera_info"), value_type=str),
            }
        ],
    )
    return LaunchDescription([*arguments, node, publisher])
