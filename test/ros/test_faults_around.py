"""What goes wrong around the real node, on tiny networks: a crowd, a busy domain, exchanged files, a full disk."""

import os
import shutil
import time

import numpy as np
import pytest
from camera_driver import Driver

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("onnx", reason="the tests make small networks with onnx")

import tiny_networks
from std_msgs.msg import String

from pose3d_ros.camera import Camera
from pose3d_ros.ros.health import Level
from pose3d_ros.ros.people_conversion import cloud_to_joints

COLUMNS, ROWS = 10, 3
OTHER_TOPICS = 50
HARD_FRAMES = 14  # somebody who has been followed for ten is hard to see
BRIGHT = np.full((480, 640, 3), 240, np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Networks that see thirty people, ten side by side, in every bright picture."""
    return tiny_networks.write_models(tmp_path_factory.mktemp("models"), tiny_networks.crowd_boxes(COLUMNS, ROWS))


@pytest.fixture(scope="module")
def node(start_node, robot, models):
    process = start_node("pose3d_node", {"model_dir": str(models), "threads": 1, "max_people": 1})
    robot.wait_for_node(process)
    return process


@pytest.fixture(scope="module")
def driver(node, robot, clip):
    driver = Driver(robot, clip)
    driver.picture, driver.camera = BRIGHT, Camera.from_horizontal_fov(640, 480, 60)
    return driver


@pytest.fixture(autouse=True)
def alive(node, driver):
    """After each fault the node answers, and nothing was lost from the books."""
    yield
    driver.answer()
    driver.robot.balanced_books()
    assert "Traceback" not in node.output()


def people(driver):
    """How many are there after a few images."""
    return len(cloud_to_joints([driver.answer() for _ in range(4)][-1]))


def test_thirty_people(driver, robot):
    crowd = COLUMNS * ROWS
    assert people(driver) == 1
    driver.stamp_ns = time.time_ns() - 20_000_000_000
    assert robot.set_parameters(max_people=crowd, find_every_n_frames=1) == ""
    assert people(driver) == crowd
    cloud = driver.answer()
    joints = cloud_to_joints(cloud)
    assert len(set(joints["person"][:, 0].tolist())) == crowd
    assert np.isfinite(joints["z"]).all()
    frames = robot.heard["tf"]
    robot.spin_until(lambda: len(frames[-1].transforms) == 24 * crowd, 60, "the frames of all")
    assert float(robot.report("images")[2]["latency_p95_ms"]) > 0
    # More than the node may follow: the others are left out.
    assert robot.set_parameters(max_people=1) == ""
    driver.stamp_ns -= 10_000_000_000  # everybody is forgotten
    assert people(driver) == 1


def test_fifty_other_topics(driver, robot, node, start_node, models):
    """Somebody else's, all of them busy; a node that comes up among them finds its own, too."""
    others = [robot.node.create_publisher(String, f"other/topic_{i}", 10) for i in range(OTHER_TOPICS)]
    heard = set()
    listeners = [
        robot.node.create_subscription(String, f"other/topic_{i}", lambda m, i=i: heard.add(i), 10)
        for i in range(OTHER_TOPICS)
    ]
    timer = robot.node.create_timer(0.05, lambda: [other.publish(String(data="noise")) for other in others])
    robot.spin_until(lambda: len(heard) == OTHER_TOPICS, 60, "the others to be busy")
    assert people(driver) == 1
    newcomer = start_node(
        "pose3d_node", {"model_dir": str(models), "threads": 1}, "-r", "__node:=newcomer", "-r", "image:=other/image"
    )
    robot.spin_until(lambda: "the node is active" in newcomer.output(), 60, "the newcomer")
    robot.spin_until(lambda: robot.node.count_subscribers("other/image"), 60, "the newcomer's input")
    assert newcomer.stop() == 0
    robot.node.destroy_timer(timer)
    for endpoint in others:
        robot.node.destroy_publisher(endpoint)
    for endpoint in listeners:
        robot.node.destroy_subscription(endpoint)


def test_model_files_are_exchanged_under_the_node(driver, robot, models, node):
    """What is loaded goes on; what is there when the node configures again must be what models.json says."""
    path, kept = models / "lift.onnx", models / "kept"
    shutil.copy(path, kept)
    shutil.copy(models / "pose2d.onnx", models / "other")
    os.replace(models / "other", path)
    assert people(driver) == 1
    path.write_bytes(b"")  # in place, too: what was loaded is not read again
    assert people(driver) == 1

    shutil.copy(models / "pose2d.onnx", path)
    assert robot.change_state("deactivate")
    assert robot.change_state("cleanup")
    assert not robot.change_state("configure")
    robot.wait_for_status(
        "lifecycle",
        lambda level, text: level == Level.ERROR and f"{path} is damaged or replaced" in text,
        "what is wrong with the file",
    )
    assert robot.state() == "unconfigured"
    os.replace(kept, path)
    assert robot.change_state("configure")
    assert robot.change_state("activate")
    robot.wait_for_node(node)
    driver.end()
    driver.advertise()
    assert people(driver) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_disk_of_hard_frames_is_full(driver, robot, tmp_path):
    """Each picture that may be kept is written to a device that has no room."""
    step_s = 0.3
    for number in range(1, HARD_FRAMES + 1):
        stamp_ns = driver.stamp_ns + number * int(1e9 * step_s)
        (tmp_path / f"hard_{stamp_ns:019d}.jpg.part").symlink_to("/dev/full")
    assert robot.set_parameters(record_hard_frames=True, hard_frames_dir=str(tmp_path)) == ""
    driver.picture = np.full_like(BRIGHT, 100)  # the tiny networks are unsure
    for _ in range(HARD_FRAMES):
        robot.answer_to(driver.images, driver.message(step_s))
    robot.wait_for_status(
        "people", lambda level, text: level == Level.WARN and "No space left on device" in text, "the full disk"
    )
    assert not [path for path in tmp_path.iterdir() if not path.is_symlink()]
    assert robot.set_parameters(record_hard_frames=False) == ""
    driver.picture = BRIGHT
    assert people(driver) == 1


def test_a_disk_that_hangs_does_not_keep_the_node_from_ending(
    driver, robot, start_node, models, tmp_path, shutdown_limit_s
):
    """Each picture that may be kept is written to a pipe that nobody reads."""
    step_s = 0.3
    for number in range(1, 200):
        os.mkfifo(tmp_path / f"hard_{driver.stamp_ns + number * int(1e9 * step_s):019d}.jpg.part")
    parameters = {"model_dir": str(models), "threads": 1, "record_hard_frames": True, "hard_frames_dir": str(tmp_path)}
    hanging = start_node("pose3d_node", parameters, "-r", "__node:=hanging")
    driver.picture = np.full_like(BRIGHT, 100)  # the tiny networks are unsure

    def records():
        robot.answer_to(driver.images, driver.message(step_s))
        return "record_hard_frames is on" in hanging.output()

    robot.spin_until(records, 60, "the other node to record")
    for _ in range(HARD_FRAMES):
        robot.answer_to(driver.images, driver.message(step_s))
    began = time.monotonic()
    assert hanging.stop() == 0
    assert time.monotonic() - began < shutdown_limit_s
    assert not list(tmp_path.glob("*.jpg"))
    driver.picture = BRIGHT
