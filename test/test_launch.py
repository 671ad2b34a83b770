"""The launch files with the real launch and launch_ros, which ROS 2 brings and no wheel does."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml

# Not `launch` itself: our own folder of that name would do for a namespace package.
pytest.importorskip("launch.actions", reason="launch is not installed: it comes with ROS 2, not with the wheels")
pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed: it comes with ROS 2")

from launch import LaunchContext, LaunchService
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import LifecycleNode, Node

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"
DOMAIN_ID = "72"
START_TIMEOUT_S = 60.0
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


def fixed_frame(pose3d, context):
    """Of RViz."""
    arguments = node_of(pose3d, context, "rviz2")._Node__arguments  # launch_ros does not show them otherwise
    return arguments[arguments.index("-f") + 1]


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


DRIVERS = {  # what the drivers themselves call their topics, with the arguments that config/cameras.yaml names
    "realsense": (
        "camera_color_optical_frame",
        {
            "image": "/camera/camera/color/image_raw",
            "camera_info": "/camera/camera/color/camera_info",
            "depth": "/camera/camera/aligned_depth_to_color/image_raw",
            "depth_camera_info": "/camera/camera/aligned_depth_to_color/camera_info",
        },
    ),
    "oak": (
        "oak_rgb_camera_optical_frame",
        {
            "image": "/oak/rgb/image_raw",
            "camera_info": "/oak/rgb/camera_info",
            "depth": "/oak/stereo/image_raw",
            "depth_camera_info": "/oak/stereo/camera_info",
        },
    ),
    "v4l2_camera": ("camera", {"image": "/image_raw", "camera_info": "/camera_info"}),
}


def test_every_driver_is_known(pose3d):
    assert pose3d.CAMERAS.keys() == DRIVERS.keys()


@pytest.mark.parametrize("driver", DRIVERS)
def test_topics_of_a_driver(pose3d, context, driver):
    context.launch_configurations["driver"] = driver
    assert remappings(node_of(pose3d, context), context) == DRIVERS[driver][1]
    context.launch_configurations["image"] = "/mine/image_rect"
    mine = {"image": "/mine/image_rect", "camera_info": "/mine/camera_info"}
    assert remappings(node_of(pose3d, context), context) == DRIVERS[driver][1] | mine


def test_a_compressed_topic_is_named_without_its_transport(pose3d, context):
    context.launch_configurations["image"] = "/camera/image_raw/compressed"
    with pytest.raises(ValueError, match="without /compressed, and set image_transport:=compressed"):
        pose3d.nodes(context)


@pytest.mark.parametrize(
    ("driver", "image", "depth"),
    [
        ("realsense", "/front/camera/color/image_raw", "/front/camera/aligned_depth_to_color/image_raw"),
        ("oak", "/front/rgb/image_raw", "/front/stereo/image_raw"),
        ("v4l2_camera", "/front/image_raw", None),
    ],
)
def test_a_driver_in_another_namespace(pose3d, context, driver, image, depth):
    context.launch_configurations.update(driver=driver, camera_namespace="/front/")
    found = remappings(node_of(pose3d, context), context)
    assert (found["image"], found.get("depth")) == (image, depth)
    assert all(topic.startswith("/front/") for topic in found.values())
    assert found.keys() == DRIVERS[driver][1].keys()


@pytest.mark.parametrize("driver", ["", *DRIVERS])
def test_rviz_starts_in_the_frame_of_the_images(pose3d, context, driver):
    context.launch_configurations["driver"] = driver
    assert fixed_frame(pose3d, context) == (DRIVERS[driver][0] if driver else "camera_optical_frame")
    context.launch_configurations["rviz_frame"] = "base_link"
    assert fixed_frame(pose3d, context) == "base_link"


def test_depth_and_detections_as_told(pose3d, context):
    context.launch_configurations.update(image="/mine/image", depth="/mine/depth/image", detections="/yolo/boxes")
    assert remappings(node_of(pose3d, context), context) == {
        "image": "/mine/image",
        "camera_info": "/mine/camera_info",
        "depth": "/mine/depth/image",
        "depth_camera_info": "/mine/depth/camera_info",
        "detections": "/yolo/boxes",
    }


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


@pytest.mark.parametrize("name", ["autostart", "use_sim_time", "use_depth"])
@pytest.mark.parametrize(("argument", "value"), [("", None), ("true", True), ("false", False)])
def test_a_switch_is_as_the_config_file_says_unless_it_is_given(pose3d, context, name, argument, value):
    context.launch_configurations[name] = argument
    node = node_of(pose3d, context)
    assert isinstance(node, LifecycleNode)
    assert parameters_of(node, context).get(name) is value


def parameters_of(node, context):
    """Those that the launch file gives by itself."""
    groups = [group for group in node._Node__parameters if isinstance(group, dict)]
    return {context.perform_substitution(name[0]): value for group in groups for name, value in group.items()}


@pytest.mark.parametrize(
    ("name", "value"),
    [("tf_prefix", "front_person_"), ("backend", "onnxruntime"), ("image_transport", "compressed")],
)
def test_a_parameter_only_where_it_is_given(pose3d, context, name, value):
    assert name not in parameters_of(node_of(pose3d, context), context)
    context.launch_configurations[name] = value
    given = parameters_of(node_of(pose3d, context), context)[name]
    assert yaml.safe_load("".join(map(context.perform_substitution, given))) == value


def test_demo_starts_publisher_and_node():
    actions = load("demo.launch.py").generate_launch_description().entities
    assert [action.node_executable for action in actions if isinstance(action, Node)] == ["video_publisher"]


@pytest.mark.parametrize("installed", [True, False])
def test_demo_starts_rviz_where_it_is_installed(monkeypatch, tmp_path, installed):
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    if installed:
        (index / "rviz2").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    arguments = load("demo.launch.py").generate_launch_description().get_launch_arguments()
    default = next(argument.default_value for argument in arguments if argument.name == "rviz")
    assert "".join(part.text for part in default) == ("true" if installed else "false")


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


class Launch:
    """`ros2 launch pose3d_ros <file> …` in a process and a DDS domain of its own, and a node to look at it with."""

    def __init__(self, file, arguments, installation, folder):
        import rclpy

        program = textwrap.dedent(f"""
            import sys
            from launch import LaunchDescription, LaunchService
            from launch.actions import IncludeLaunchDescription
            from launch.launch_description_sources import PythonLaunchDescriptionSource
            service = LaunchService()
            service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
                PythonLaunchDescriptionSource({str(LAUNCH / file)!r}),
                launch_arguments=[argument.split(":=") for argument in sys.argv[1:]],
            )]))
            sys.exit(service.run())
        """)
        prefixes = [str(installation), os.environ.get("AMENT_PREFIX_PATH", sys.prefix)]
        environment = {
            **os.environ,
            "AMENT_PREFIX_PATH": os.pathsep.join(prefixes),
            "ROS_DOMAIN_ID": DOMAIN_ID,
            "ROS_LOG_DIR": str(folder / "log"),
        }
        self._log = folder / "output.txt"
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=int(DOMAIN_ID))
        self.node = rclpy.create_node("observer", context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        with self._log.open("w") as output:
            # A session of its own, so that its nodes can be ended with it.
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, condition):
        """Until the condition holds; fails with all that was printed if it never does, or a process dies."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not condition():
            text = self._log.read_text()
            assert "process has died" not in text, text
            assert time.monotonic() < deadline, text
            self._executor.spin_once(timeout_sec=0.1)

    def stops_cleanly(self, processes):
        """Ctrl-C, which a terminal sends to all of them, ends so many processes, without an error."""
        os.killpg(self._process.pid, signal.SIGINT)
        assert self._process.wait(STOP_TIMEOUT_S) == 0, self._log.read_text()
        text = self._log.read_text()
        assert text.count("process has finished cleanly") == processes, text
        assert "failed to terminate" not in text, text

    def close(self):
        """Ends what is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._executor.shutdown()
        self._context.try_shutdown()


@pytest.fixture
def launch(installation, tmp_path):
    """Starts a launch file with arguments."""
    pytest.importorskip("rclpy")
    started = []

    def start(file, *arguments):
        started.append(Launch(file, arguments, installation, tmp_path))
        return started[-1]

    yield start
    for running in started:
        running.close()


def test_demo_publishes_joints_and_stops_cleanly(launch, arguments):
    from sensor_msgs.msg import PointCloud2
    from tf2_msgs.msg import TFMessage

    demo = launch("demo.launch.py", *arguments)
    clouds, transforms = [], []
    demo.node.create_subscription(PointCloud2, "/front/pose3d/joints", clouds.append, 10)
    demo.node.create_subscription(TFMessage, "/tf", transforms.append, 100)
    demo.wait_for(lambda: transforms and any(cloud.width == 24 for cloud in clouds))
    assert transforms[-1].transforms[0].header.frame_id == "camera_optical_frame"
    demo.stops_cleanly(processes=2)


def test_without_autostart_the_node_waits_for_its_transitions(launch, arguments):
    """As a lifecycle manager that knows no bond would do it."""
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    waiting = launch("pose3d.launch.py", *arguments[1:], "autostart:=false")
    change = waiting.node.create_client(ChangeState, "/front/pose3d/change_state")
    ask = waiting.node.create_client(GetState, "/front/pose3d/get_state")

    def answer(client, request):
        future = client.call_async(request)
        waiting.wait_for(future.done)
        return future.result()

    waiting.wait_for(lambda: change.service_is_ready() and ask.service_is_ready())
    assert answer(ask, GetState.Request()).current_state.id == State.PRIMARY_STATE_UNCONFIGURED
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert answer(change, ChangeState.Request(transition=Transition(id=transition))).success
    assert answer(ask, GetState.Request()).current_state.id == State.PRIMARY_STATE_ACTIVE
    waiting.stops_cleanly(processes=1)


def test_one_node_for_several_cameras(launch, arguments, tmp_path):
    """One node with all cameras' topics."""
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text("front: {image: /f/rgb, camera_info: /f/info}\nleft: {image: /l/rgb}\n")
    config = next(argument for argument in arguments if argument.startswith("config:="))
    several = launch("multi_camera.launch.py", f"cameras:={cameras}", "fusion_frame:=base_link", config)
    inputs = ["/f/rgb", "/f/info", "/l/rgb", "/l/camera_info"]
    outputs = [f"/pose3d/{name}/joints" for name in ("front", "left", "fused")]

    def up():
        return all(map(several.node.count_subscribers, inputs)) and all(map(several.node.count_publishers, outputs))

    several.wait_for(up)
    assert [several.node.count_subscribers(topic) for topic in inputs] == [1] * 4
    several.stops_cleanly(processes=1)


def test_what_belongs_to_a_camera_is_read_beside_it(pose3d, context, tmp_path):
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text(
        "front: {image: /f/rgb/image, depth: /f/depth/image}\nleft: {image: /l/rgb, camera_info: /l/k}\n"
    )
    context.launch_configurations["cameras"] = str(cameras)
    assert remappings(node_of(pose3d, context), context) == {
        "front/image": "/f/rgb/image",
        "front/camera_info": "/f/rgb/camera_info",
        "front/depth": "/f/depth/image",
        "front/depth_camera_info": "/f/depth/camera_info",
        "left/image": "/l/rgb",
        "left/camera_info": "/l/k",
    }


@pytest.mark.parametrize("content", ["", "front:", "front: {camera_info: /f/info}", "[front, left]"])
def test_a_file_that_names_no_cameras_is_told(pose3d, context, tmp_path, content):
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text(content)
    context.launch_configurations["cameras"] = str(cameras)
    with pytest.raises(ValueError, match=r"cameras\.yaml must give each camera, by its name, at least its topic"):
        pose3d.nodes(context)


def test_rviz_shows_the_fused_people_and_the_first_camera(pose3d, context, tmp_path):
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text("front: {image: /f/rgb}\nleft: {image: /l/rgb}\n")
    context.launch_configurations.update(cameras=str(cameras), fusion_frame="base_link")
    shown = remappings(node_of(pose3d, context, "rviz2"), context)
    assert shown["/pose3d/markers"] == "/pose3d/fused/markers"
    assert shown["/pose3d/overlay"] == "/pose3d/front/overlay"
    assert parameters_of(node_of(pose3d, context), context).keys() >= {"cameras", "fusion_frame"}
    assert fixed_frame(pose3d, context) == "base_link"
    # A driver says nothing of several cameras.
    context.launch_configurations.update(fusion_frame="", driver="realsense")
    assert fixed_frame(pose3d, context) == "camera_optical_frame"
