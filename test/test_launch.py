"""The launch files with the real launch and launch_ros, which ROS 2 brings and no wheel does."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

# Not `launch` itself: our own folder of that name would do for a namespace package.
pytest.importorskip("launch.actions", reason="launch is not installed: it comes with ROS 2, not with the wheels")
pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed: it comes with ROS 2")

from launch import LaunchContext, LaunchService
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import LifecycleNode, Node

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"
DOMAIN_ID = "72"
START_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 10.0


def load(name):
    path = LAUNCH / name
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0] + "_launch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pose3d():
    return load("pose3d.launch.py")


@pytest.fixture
def context(pose3d):
    """A launch context with the arguments at their defaults."""
    context = LaunchContext()
    LaunchService()  # sets logging up
    for argument in pose3d.ARGUMENTS:
        argument.execute(context)
    return context


def node_of(pose3d, context, executable="pose3d_node"):
    return next(node for node in pose3d.nodes(context) if node.node_executable == executable)


def remappings(node, context):
    perform = context.perform_substitution
    return {
        "".join(map(perform, source)): "".join(map(perform, target))
        for source, target in node._Node__remappings  # launch_ros does not show them otherwise
    }


@pytest.mark.parametrize("file", sorted(path.name for path in LAUNCH.glob("*.launch.py")))
def test_every_argument_is_described(file):
    arguments = load(file).generate_launch_description().get_launch_arguments()
    assert arguments
    for argument in arguments:
        assert isinstance(argument, DeclareLaunchArgument)
        assert argument.description
        assert argument.description != "no description given"
        assert argument.default_value is not None, f"{argument.name} has no default"


@pytest.mark.parametrize(
    ("image", "camera_info"),
    [
        ("image", "camera_info"),
        ("/camera/image_raw", "/camera/camera_info"),
        ("front/color/image", "front/color/camera_info"),
        ("/image", "/camera_info"),
    ],
)
def test_camera_info_lies_beside_the_image(pose3d, context, image, camera_info):
    context.launch_configurations["image"] = image
    assert remappings(node_of(pose3d, context), context) == {"image": image, "camera_info": camera_info}


def test_camera_info_as_told(pose3d, context):
    context.launch_configurations["camera_info"] = "/elsewhere/info"
    assert remappings(node_of(pose3d, context), context)["camera_info"] == "/elsewhere/info"


def test_rviz_only_on_request_and_in_the_namespace(pose3d, context):
    rviz = node_of(pose3d, context, "rviz2")
    assert not rviz.condition.evaluate(context)
    context.launch_configurations.update(rviz="true", namespace="/front/")
    rviz = node_of(pose3d, context, "rviz2")
    assert rviz.condition.evaluate(context)
    assert remappings(rviz, context)["/pose3d/markers"] == "/front/pose3d/markers"


@pytest.fixture
def no_profile(monkeypatch):
    """Launch's actions write to os.environ; this takes it back."""
    for variable in load("pose3d.launch.py").FAST_DDS_VARIABLES:
        monkeypatch.setenv(variable, "")


@pytest.mark.usefixtures("no_profile")
def test_fast_dds_profile(pose3d, context):
    for action in pose3d.fast_dds_profile(context):
        action.execute(context)
    for variable in pose3d.FAST_DDS_VARIABLES:
        assert Path(context.environment[variable]).samefile(ROOT / "config" / "fastdds.xml")


@pytest.mark.usefixtures("no_profile")
def test_a_profile_of_the_user_stays(pose3d, context, monkeypatch):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml")
    for action in pose3d.fast_dds_profile(context):
        action.execute(context)
    assert context.environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/mine.xml"
    assert not context.environment["FASTDDS_DEFAULT_PROFILES_FILE"]


def test_no_profile_on_request(pose3d, context):
    context.launch_configurations["fastdds_profile"] = "false"
    assert pose3d.fast_dds_profile(context) == []


@pytest.mark.parametrize(("argument", "value"), [(None, True), ("false", False)])
def test_autostart_is_the_nodes_own(pose3d, context, argument, value):
    if argument:
        context.launch_configurations["autostart"] = argument
    node = node_of(pose3d, context)
    assert isinstance(node, LifecycleNode)
    (parameters,) = (group for group in node._Node__parameters if isinstance(group, dict))
    (autostart,) = (v for k, v in parameters.items() if context.perform_substitution(k[0]) == "autostart")
    assert autostart.evaluate(context) is value


def test_demo_starts_publisher_and_node():
    actions = load("demo.launch.py").generate_launch_description().entities
    assert [action.node_executable for action in actions if isinstance(action, Node)] == ["video_publisher"]


# ---- a real run ----


@pytest.fixture
def installation(tmp_path):
    """An ament prefix with the package's executables, as colcon would install them, for this Python and source tree."""
    prefix = tmp_path / "install"
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    executables = prefix / "lib" / "pose3d_ros"
    index.mkdir(parents=True)
    executables.mkdir(parents=True)
    (index / "pose3d_ros").touch()
    for name in ("pose3d_node", "video_publisher"):
        file = executables / name
        file.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from pose3d_ros.ros.{name} import main\nsys.exit(main())\n"
        )
        file.chmod(0o755)
    return prefix


@pytest.fixture
def arguments(tmp_path):
    """A clip that the tiny networks see a person in, and parameters that name them."""
    pytest.importorskip("onnx", reason="onnx is not installed: it makes this test's networks")
    import cv2
    import numpy as np
    import yaml
    from tiny_networks import write_models

    clip = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 240))
    for _ in range(30):
        writer.write(np.full((240, 320, 3), 200, np.uint8))
    writer.release()
    parameters = yaml.safe_load((ROOT / "config" / "pose3d.yaml").read_text())
    parameters["/**"]["ros__parameters"].update(
        model_dir=str(write_models(tmp_path / "models")), assumed_horizontal_fov_deg=60.0, camera_info_timeout_s=0.1
    )
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(parameters))
    return [f"video:={clip}", f"config:={config}", "namespace:=front", "rviz:=false"]


def test_demo_publishes_joints_and_stops_cleanly(installation, arguments, tmp_path, monkeypatch):
    """demo.launch.py in a process of its own: joints and TF arrive; SIGINT ends all of it, without an error."""
    rclpy = pytest.importorskip("rclpy")
    from sensor_msgs.msg import PointCloud2
    from tf2_msgs.msg import TFMessage

    script = textwrap.dedent(f"""
        import sys
        from launch import LaunchDescription, LaunchService
        from launch.actions import IncludeLaunchDescription
        from launch.launch_description_sources import PythonLaunchDescriptionSource
        service = LaunchService()
        service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
            PythonLaunchDescriptionSource({str(LAUNCH / "demo.launch.py")!r}),
            launch_arguments=[argument.split(":=") for argument in sys.argv[1:]],
        )]))
        sys.exit(service.run())
    """)
    prefixes = [str(installation), os.environ.get("AMENT_PREFIX_PATH", sys.prefix)]
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": os.pathsep.join(prefixes),
        "ROS_DOMAIN_ID": DOMAIN_ID,
        "ROS_LOG_DIR": str(tmp_path / "log"),
    }
    log = tmp_path / "output.txt"
    monkeypatch.chdir(tmp_path)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(DOMAIN_ID))
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        node = rclpy.create_node("listener", context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        clouds, transforms = [], []
        node.create_subscription(PointCloud2, "/front/pose3d/joints", clouds.append, 10)
        node.create_subscription(TFMessage, "/tf", transforms.append, 100)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            executor.spin_once(timeout_sec=0.1)
            if (transforms and any(cloud.width for cloud in clouds)) or "process has died" in log.read_text():
                break
        assert any(cloud.width == 24 for cloud in clouds), log.read_text()
        assert transforms[-1].transforms[0].header.frame_id == "camera_optical_frame"
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_TIMEOUT_S) == 0, log.read_text()
        text = log.read_text()
        assert text.count("process has finished cleanly") == 2, text
    finally:
        if process.poll() is None:
            process.kill()
        rclpy.shutdown(context=context)
