"""The real node on a machine with a GPU and TensorRT (stand-ins): it builds its engines first, and then works."""

import os
import time
from pathlib import Path

import gpu_machine
import numpy as np
import pytest
import tiny_networks

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("onnx", reason="the stand-in for TensorRT reads networks with onnx")

from sensor_msgs.msg import CameraInfo, Image

from pose3d_ros.person import Frame
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image
from pose3d_ros.ros.people_conversion import cloud_to_joints

GOOD_FRAME = 150
BUILD_TIMEOUT_S = 180


@pytest.fixture
def start_on_gpu(ros_environment, robot, tmp_path):
    """Starts the node with parameters on a machine whose cache of engines is empty."""
    from pose3d_ros.ros.processes import NodeProcess

    nodes = []
    # What the last test's node said at its end must not be taken for this one's.
    robot.spin_until(lambda: not robot.node.count_publishers("/diagnostics"), 60, "the last node to leave")
    robot.spin_for(0.3)
    robot.forget()

    def start(faults="", variant="10.13", **parameters):
        environment = {**ros_environment, **gpu_machine.environment(variant, tmp_path / "cache", faults)}
        nodes.append(NodeProcess("pose3d_node", parameters, environment, tmp_path / "node.log"))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def tiny(tmp_path):
    """A folder of networks whose engines are quickly built."""
    return str(tiny_networks.write_models(tmp_path / "models"))


def networks(robot):
    """All that the node has said of its networks so far: level, message, values."""
    statuses = [status for message in robot.heard["diagnostics"] for status in message.status]
    found = [status for status in statuses if status.name == "pose3d: networks"]
    return [(s.level[0], s.message, {value.key: value.value for value in s.values}) for s in found]


def builder_runs(tmp_path):
    """Is a process at work that builds into this test's cache?"""
    mark = f"XDG_CACHE_HOME={tmp_path / 'cache'}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command, environment = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue  # somebody else's, or gone
        if b"pose3d_ros.engine_worker" in command and mark in environment:
            return True
    return False


# The oldest and the newest; ../test_engines_on_the_gpu.py has the two between.
@pytest.mark.parametrize(("variant", "version"), [("8.5", "8.5.2.2"), ("11", "11.0.0.114")])
def test_the_node_builds_engines_and_gives_the_cpus_joints(start_on_gpu, robot, clip, variant, version):
    frames, _, camera = clip
    node = start_on_gpu(variant=variant, precision="fp32", threads=1)
    robot.wait_for_node(node)
    images, infos = robot.advertise(Image, "image"), robot.advertise(CameraInfo, "camera_info")

    begin_ns = time.time_ns()

    def send(seconds):
        header = robot.header(begin_ns + int(1e9 * seconds))
        infos.publish(camera_to_info(camera, header))
        return header

    number = 0
    while not any(level == 0 for level, _, _ in networks(robot)):
        images.publish(bgr_to_image(frames[GOOD_FRAME], send(0.1 * number)))
        robot.spin_for(0.2)
        number += 1
        assert number < 5 * BUILD_TIMEOUT_S, node.output()
    building = [(message, values) for level, message, values in networks(robot) if level == 1]
    assert any(message.startswith("building ") for message, _ in building)
    percent = [int(values["built_percent"]) for _, values in building]
    assert percent == sorted(percent)
    assert 0 <= percent[0] <= percent[-1] <= 100
    assert f"Stand-in Orin (sm_87), TensorRT {version}, fp32, CUDA graphs" in networks(robot)[-1][1]
    robot.spin_until(lambda: "Stand-in Orin" in node.output(), 60, "the line in the log")

    # A jump back in time makes it forget whom it saw in the last frames sent above.
    header = send(-10)
    robot.spin_for(0.3)
    (joints,) = cloud_to_joints(robot.answer_to(images, bgr_to_image(frames[GOOD_FRAME], header)))
    cpu = Pipeline(settings=PipelineSettings(threads=1, backend="onnxruntime", precision="fp32"))
    (person,) = cpu.process(Frame(frames[GOOD_FRAME], begin_ns, camera))
    found = np.stack([joints[axis] for axis in "xyz"], -1)
    assert np.abs(found - person.joints_m).max() < 1e-3
    robot.silence("image")
    robot.silence("camera_info")
    assert node.stop() == 0


def test_a_node_that_can_build_nothing_says_why_and_lives(start_on_gpu, robot, tiny):
    node = start_on_gpu("build", model_dir=tiny, backend="tensorrt", precision="fp32")
    robot.wait_for_node(node)
    robot.spin_until(lambda: any(level == 2 for level, _, _ in networks(robot)), BUILD_TIMEOUT_S, "the failure")
    _, message, _ = networks(robot)[-1]
    assert "backend tensorrt cannot be had: TensorRT 10.13.3.9 cannot build find.onnx" in message
    assert "Conv_7" in message
    assert node.output().count("cannot build find.onnx") == 1
    assert robot.state() == "active"
    assert robot.change_state("deactivate")
    assert robot.change_state("cleanup")
    assert node.stop() == 0


def test_without_room_for_engines_the_node_works_on_the_cpu_and_says_why(start_on_gpu, robot, tiny, tmp_path):
    node = start_on_gpu("full disk", model_dir=tiny, precision="fp32")
    robot.wait_for_node(node)
    robot.spin_until(lambda: any(level == 0 for level, _, _ in networks(robot)), BUILD_TIMEOUT_S, "the networks")
    text = networks(robot)[-1][1]
    assert "; CPU, " in text
    assert "No space left on device; free some space" in text
    images = robot.advertise(Image, "image")
    robot.answer_to(images, bgr_to_image(np.full((480, 640, 3), 240, np.uint8), robot.header()))
    robot.silence("image")
    assert not list(tmp_path.rglob("*.plan"))
    assert node.stop() == 0
    assert "Traceback" not in node.output()


def test_a_node_that_builds_drops_images_and_ends_when_told_and_its_builder_with_it(
    start_on_gpu, robot, clip, tiny, tmp_path
):
    node = start_on_gpu("slow", model_dir=tiny, precision="fp32")
    robot.wait_for_node(node)

    def is_building():
        return any(values.get("built_percent", "0") != "0" for _, _, values in networks(robot))

    robot.spin_until(is_building, BUILD_TIMEOUT_S, "a build")
    robot.spin_until(lambda: builder_runs(tmp_path), BUILD_TIMEOUT_S, "a builder")
    images = robot.advertise(Image, "image")

    def has_dropped():
        images.publish(bgr_to_image(clip[0][GOOD_FRAME], robot.header()))
        return int(robot.figure("dropped_not_ready")) > 0

    robot.spin_until(has_dropped, 60, "a dropped image")
    robot.silence("image")
    assert node.stop() == 0  # it would be killed if it waited for the build
    assert not builder_runs(tmp_path)
    assert len(list(tmp_path.rglob("*.plan"))) < 3
