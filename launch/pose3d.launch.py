"""Starts pose3d_node on a camera's topics, and RViz on request.

ros2 launch pose3d_ros pose3d.launch.py driver:=realsense rviz:=true
ros2 launch pose3d_ros pose3d.launch.py image:=/camera/image_raw
ros2 launch pose3d_ros pose3d.launch.py cameras:=/path/to/cameras.yaml fusion_frame:=base_link
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

SHARE = Path(__file__).resolve().parent.parent
FAST_DDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # up to Jazzy, from Kilted on
DEMO_FRAME = "camera_optical_frame"  # of video_publisher's images

CAMERAS = yaml.safe_load((SHARE / "config" / "cameras.yaml").read_text(encoding="utf-8"))
# Arguments that are the node's parameters of the same name where they are not empty.
TEXTS = ("backend", "image_transport", "tf_prefix", "fusion_frame")
SWITCHES = ("autostart", "use_sim_time", "use_depth")

ARGUMENTS = [
    DeclareLaunchArgument(
        "driver",
        default_value="",
        choices=["", *CAMERAS],
        description="Driver whose usual topics to read (config/cameras.yaml). Empty: as image and camera_info say.",
    ),
    DeclareLaunchArgument(
        "camera_namespace",
        default_value="",
        description="First namespace of the driver's topics, in place of its usual one. Empty: the driver's own.",
    ),
    DeclareLaunchArgument(
        "image",
        default_value="",
        description="Topic of the camera's images, without /compressed. Empty: the driver's, or image.",
    ),
    DeclareLaunchArgument(
        "camera_info",
        default_value="",
        description="Topic of the camera's calibration. Empty: the driver's, or camera_info beside the image topic.",
    ),
    DeclareLaunchArgument(
        "use_depth",
        default_value="",
        choices=["", "true", "false"],
        description="Read depth images too. Empty: as the config file says.",
    ),
    DeclareLaunchArgument(
        "depth",
        default_value="",
        description="Topic of depth images registered to the images. Empty: the driver's, or depth.",
    ),
    DeclareLaunchArgument(
        "detections",
        default_value="detections",
        description="Topic of an outside detector's boxes (vision_msgs), which the parameter use_detections asks for.",
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="YAML file with the topics of each of several cameras, by its name: `image`, and, if they are not "
        "beside it or are wanted too, `camera_info`, `depth`, `depth_camera_info`, `detections`. It takes the place of "
        "driver, camera_namespace and the arguments of those names. Empty: one camera.",
    ),
    DeclareLaunchArgument(
        "fusion_frame",
        default_value="",
        description="Frame in which people whom several cameras see are fused. Empty: as the config file says.",
    ),
    DeclareLaunchArgument(
        "backend",
        default_value="",
        description="What runs the networks: auto, tensorrt or onnxruntime. Empty: as the config file says.",
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="Images to read: raw, or compressed (<image topic>/compressed). Empty: as the config file says.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and of its topics."),
    DeclareLaunchArgument(
        "tf_prefix", default_value="", description="Start of the joints' frame names. Empty: as the config file says."
    ),
    DeclareLaunchArgument(
        "config",
        default_value=str(SHARE / "config" / "pose3d.yaml"),
        description="YAML file with the node's parameters.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        choices=["", "true", "false"],
        description="Configure and activate the node at once. If not, a lifecycle manager, `ros2 lifecycle set` or "
        "launch's ChangeState event does it. Empty: as the config file says.",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        choices=["", "true", "false"],
        description="Take the time from /clock, as for a bag or a simulator. Empty: as the config file says.",
    ),
    DeclareLaunchArgument(
        "fastdds_profile",
        default_value="true",
        choices=["true", "false"],
        description="Give Fast DDS the shared memory that large images need (config/fastdds.xml); "
        "a profile that the environment names already is left alone. The camera's process needs it too.",
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=["true", "false"], description="Start RViz with our view."
    ),
    DeclareLaunchArgument(
        "rviz_frame",
        default_value="",
        description="Fixed frame of RViz: the frame of the images, or one that TF connects to it. Empty: fusion_frame, "
        "that of the driver's images, or camera_optical_frame.",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Least severity that is logged.",
    ),
]


def beside(image_topic: str) -> str:
    """The camera_info topic that belongs to an image topic: /front/image_raw -> /front/camera_info."""
    folder, slash, _ = image_topic.rpartition("/")
    return f"{folder}{slash}camera_info"


def driver(context: LaunchContext) -> dict[str, str]:
    """The driver's entry in config/cameras.yaml; empty: none was chosen."""
    return CAMERAS.get(LaunchConfiguration("driver").perform(context), {})


def topics_of_driver(context: LaunchContext) -> dict[str, str]:
    """The driver's topic of each of the node's inputs."""
    found = {name: topic for name, topic in driver(context).items() if name != "frame"}
    namespace = LaunchConfiguration("camera_namespace").perform(context).strip("/")
    return {name: moved(topic, namespace) for name, topic in found.items()} if namespace else found


def moved(topic: str, namespace: str) -> str:
    """The topic with another first namespace: /camera/camera/depth -> /front/camera/depth, /depth -> /front/depth."""
    first, *rest = topic.strip("/").split("/")
    return "/".join(["", namespace, *(rest or [first])])


def topics(context: LaunchContext) -> dict[str, str]:
    """What the node's inputs are called: those that were named, else the driver's."""
    of_driver = topics_of_driver(context)
    named = LaunchConfiguration("image").perform(context)
    image = named or of_driver.get("image", "image")
    beside_it = beside(image) if named else of_driver.get("camera_info", beside(image))
    found = {"image": image, "camera_info": LaunchConfiguration("camera_info").perform(context) or beside_it}
    depth = LaunchConfiguration("depth").perform(context)
    if depth:
        found |= {"depth": depth, "depth_camera_info": beside(depth)}
    found |= {name: topic for name, topic in of_driver.items() if name not in found}
    detections = LaunchConfiguration("detections").perform(context)
    return found if detections == "detections" else found | {"detections": detections}


def cameras(context: LaunchContext) -> dict[str, dict[str, str]]:
    """Topics of each of several cameras, by name; empty: one camera without a name."""
    file = LaunchConfiguration("cameras").perform(context)
    if not file:
        return {}
    found = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    if not (found and isinstance(found, dict) and all(isinstance(t, dict) and "image" in t for t in found.values())):
        raise ValueError(
            f"{file} must give each camera, by its name, at least its topic `image` (see multi_camera.yaml)"
        )
    return found


def inputs(context: LaunchContext) -> list[tuple[str, str]]:
    """The node's inputs, and the topics that they are remapped to."""
    several = cameras(context)
    if not several:
        return list(checked(topics(context)).items())
    return [
        (f"{name}/{topic}", remapped)
        for name, of_camera in several.items()
        for topic, remapped in (infos_beside(of_camera) | checked(of_camera)).items()
    ]


def checked(of_camera: dict[str, str]) -> dict[str, str]:
    """A camera's topics, of which the images' is the one that image_transport begins from."""
    image = of_camera["image"]
    if image.endswith("/compressed"):
        raise ValueError(f"image is {image}: name it without /compressed, and set image_transport:=compressed")
    return of_camera


def infos_beside(of_camera: dict[str, str]) -> dict[str, str]:
    """The calibrations that belong to a camera's topics of images."""
    belonging = {"image": "camera_info", "depth": "depth_camera_info"}
    return {info: beside(of_camera[topic]) for topic, info in belonging.items() if topic in of_camera}


def parameters(context: LaunchContext) -> dict[str, Any]:
    """The node's parameters that arguments give; the config file has the others."""
    given = {name: LaunchConfiguration(name).perform(context) for name in (*TEXTS, *SWITCHES)}
    return {name: value == "true" if name in SWITCHES else value for name, value in given.items() if value}


def fast_dds_profile(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Point Fast DDS to our profile unless the environment names one, and say which one holds."""
    if LaunchConfiguration("fastdds_profile").perform(context) != "true":
        return []
    for variable in FAST_DDS_VARIABLES:
        if context.environment.get(variable):
            return [LogInfo(msg=f"Fast DDS profile, from {variable}: {context.environment[variable]}")]
    profile = str(SHARE / "config" / "fastdds.xml")
    return [SetEnvironmentVariable(variable, profile) for variable in FAST_DDS_VARIABLES]


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    names = list(cameras(context))
    given = parameters(context)
    fusion_frame = given.get("fusion_frame", "")
    namespace = LaunchConfiguration("namespace").perform(context).strip("/")
    log_level = ["--log-level", LaunchConfiguration("log_level")]
    of_images = DEMO_FRAME if names else driver(context).get("frame", DEMO_FRAME)
    fixed_frame = LaunchConfiguration("rviz_frame").perform(context) or fusion_frame or of_images
    # The view's topics are those of a node without a namespace and of a camera without a name.
    node = f"/{namespace}/pose3d" if namespace else "/pose3d"
    picture = [node, *names[:1]]
    people = [node, "fused"] if fusion_frame else picture
    shown = [
        (f"/pose3d/{topic}", "/".join([*where, topic]))
        for topic, where in (("markers", people), ("joints", people), ("overlay", picture))
    ]
    return [
        LifecycleNode(
            package="pose3d_ros",
            executable="pose3d_node",
            name="pose3d",
            namespace=namespace,
            output="screen",
            parameters=[
                LaunchConfiguration("config"),
                *([given] if given else []),
                *([{"cameras": names}] if names else []),
            ],
            remappings=inputs(context),
            ros_arguments=log_level,
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            name="pose3d_rviz",
            arguments=["-d", str(SHARE / "config" / "pose3d.rviz"), "-f", fixed_frame],
            parameters=[{name: value} for name, value in given.items() if name == "use_sim_time"],
            remappings=shown,
            condition=IfCondition(LaunchConfiguration("rviz")),
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=fast_dds_profile), OpaqueFunction(function=nodes)])
