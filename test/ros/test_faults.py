"""What goes wrong on a robot, done to the real node in its own process: it lives on, counts it and says so."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_driver import GOOD_FRAME, Driver

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter

from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.people_conversion import cloud_to_joints

PELVIS = 0
STALLED = """
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("stalled")
node.create_subscription(Image, "pose3d/overlay", lambda _: None, 1)
rclpy.spin(node)
"""


@pytest.fixture(scope="module")
def driver(node, robot, clip):
    return Driver(robot, clip)


@pytest.fixture(autouse=True)
def alive(node, driver, clip):
    """After each fault a person is found again, and nothing was lost from the books."""
    yield
    driver.picture, driver.camera = clip[0][GOOD_FRAME], clip[2]
    assert 2 < pelvis_depth(driver) < 6
    driver.robot.balanced_books()
    assert "Traceback" not in node.output()


def pelvis_depth(driver):
    """Of the only person, in metres, after a few images."""
    for _ in range(4):
        cloud = driver.answer()
    (joints,) = cloud_to_joints(cloud)
    return joints["z"][PELVIS]


def encoded(picture, encoding):
    """The BGR picture in another encoding: [h, w, channels]."""
    if encoding == "bayer_rggb8":
        mosaic = picture[:, :, 1].copy()
        mosaic[::2, ::2], mosaic[1::2, 1::2] = picture[::2, ::2, 2], picture[1::2, 1::2, 0]
        return mosaic[:, :, None]
    if encoding == "yuv422_yuy2":
        return cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_YUY2)
    codes = {"rgb8": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_BGR2RGBA, "mono8": cv2.COLOR_BGR2GRAY}
    return cv2.cvtColor(picture, codes[encoding]).reshape(*picture.shape[:2], -1) if encoding in codes else picture


def test_the_encoding_changes_while_it_runs(driver, robot):
    depth = pelvis_depth(driver)
    for encoding in ("rgb8", "mono8", "bayer_rggb8", "rgba8", "yuv422_yuy2", "bgr8"):
        message = driver.message()
        pixels = encoded(driver.picture, encoding)
        message.encoding, message.step = encoding, pixels.shape[1] * pixels.shape[2]
        message.data = pixels.tobytes()
        (joints,) = cloud_to_joints(robot.answer_to(driver.images, message))
        assert joints["z"][PELVIS] == pytest.approx(depth, abs=0.5), encoding


def test_an_encoding_that_cannot_be_read_is_rejected_between_others(driver, robot):
    before = robot.balanced_books()["rejected"]
    for number, encoding in enumerate(("16UC1", "h264", ""), start=1):
        message = driver.message()
        message.encoding = encoding
        driver.images.publish(message)
        robot.spin_until(lambda: robot.figure("rejected") == str(before + number), 60, encoding)  # noqa: B023
        driver.answer()


@pytest.mark.parametrize("size", [(320, 240), (1280, 960)])
def test_the_resolution_changes_while_it_runs(driver, size):
    """Image and camera_info together, as drivers do when they are told to."""
    depth = pelvis_depth(driver)
    driver.picture, driver.camera = cv2.resize(driver.picture, size), driver.camera.resized(*size)
    assert pelvis_depth(driver) == pytest.approx(depth, abs=0.5)


def test_a_calibration_of_another_shape_takes_the_metres_and_is_told(driver, robot):
    camera = driver.camera
    driver.camera = camera.resized(camera.width, camera.height // 2)
    assert not cloud_to_joints([driver.answer() for _ in range(4)][-1]).size
    robot.wait_for_status("camera_info", lambda level, text: level and "another shape" in text, "the reason")


def test_4k(driver, robot):
    """The picture in the middle of 3840x2160; the camera is the same, with more round it."""
    depth, (width, height) = pelvis_depth(driver), (2880, 2160)
    border = (3840 - width) // 2
    scaled = driver.camera.resized(width, height)
    driver.picture = cv2.copyMakeBorder(
        cv2.resize(driver.picture, (width, height)), 0, 0, border, border, cv2.BORDER_REPLICATE
    )
    driver.camera = replace(
        scaled, K=scaled.K + np.array([[0, 0, border], [0, 0, 0], [0, 0, 0]]), width=width + 2 * border
    )
    assert pelvis_depth(driver) == pytest.approx(depth, abs=0.5)


def test_200_hz(driver, robot):
    """More than anybody can work on: the newest is, and the others are counted."""
    before = robot.balanced_books()
    sent = 400
    started = time.monotonic()
    for number in range(sent):
        driver.images.publish(driver.message(step_s=1 / 200))
        robot.spin_for(max(0.0, started + number / 200 - time.monotonic()))
    last_ns = driver.stamp_ns
    robot.spin_until(lambda: int(robot.figure("last_stamp_ns")) == last_ns, 60, "the last image to be counted")
    after = robot.balanced_books()
    gained = {name: after[name] - before[name] for name in after}
    assert 0 < gained["processed"] <= gained["received"] <= sent
    assert gained["rejected"] == 0
    robot.spin_until(lambda: stamp_to_ns(robot.heard["joints"][-1].header.stamp) == last_ns, 60, "the newest")


def test_1_hz(driver, robot):
    """By the clock: somebody is there in every image, and nobody misses images between them."""
    robot.spin_until(lambda: robot.figure("input_rate_hz") == "0.0", 60, "the end of what came before")
    robot.heard["joints"].clear()

    def send():
        driver.stamp_ns = time.time_ns()
        driver.images.publish(driver.message(step_s=0))

    timer = robot.node.create_timer(1.0, send)
    robot.spin_until(lambda: len(robot.heard["joints"]) >= 5, 60, "joints")
    robot.wait_for_status("images", lambda level, text: level == 0 and "Hz processed" in text, "nothing wrong")
    robot.node.destroy_timer(timer)
    assert float(robot.figure("input_rate_hz")) < 1.5
    assert all(cloud.width for cloud in robot.heard["joints"])


def test_noise_for_a_minute(driver, robot):
    """A minute of its stamps, at 2 Hz."""
    before = robot.balanced_books()
    pictures = np.random.default_rng(1).integers(0, 256, (10, 480, 640, 3), np.uint8)
    for number in range(60 * 2):
        driver.picture = pictures[number % len(pictures)]
        robot.answer_to(driver.images, driver.message(step_s=1 / 2))
    assert robot.balanced_books()["processed"] == before["processed"] + 60 * 2


def test_a_storm_of_parameters(driver, robot):
    """Sound and wrong sets at once, while images come: each is answered, and the last sound one holds."""
    requests = []
    for number in range(600):
        value = 5.0 if number % 2 else 0.3 + 0.0003 * number
        wanted = [Parameter("visible_threshold", value=value).to_parameter_msg()]
        requests.append(SetParametersAtomically.Request(parameters=wanted))

    def send_some_images(number):
        if number % 20 == 0:
            driver.images.publish(driver.message())

    service = "pose3d/set_parameters_atomically"
    responses = robot.call_often(SetParametersAtomically, service, requests, send_some_images)
    assert [response.result.successful for response in responses] == [True, False] * 300
    assert robot.set_parameters(visible_threshold=0.5) == ""


def test_a_subscriber_that_stalls_holds_nobody_up(driver, robot, ros_environment):
    """It is reliable, and its process is stopped, so that DDS itself acknowledges nothing."""
    with subprocess.Popen([sys.executable, "-c", STALLED], env=ros_environment) as stalled:
        try:
            robot.spin_until(lambda: robot.node.count_subscribers("pose3d/overlay") == 2, 60, "the second listener")
            robot.spin_for(1.0)
            os.kill(stalled.pid, signal.SIGSTOP)
            for _ in range(5):
                driver.answer("overlay")
            # Who waits for it waits until DDS gives it up, after 20 s.
            assert robot.node.count_subscribers("pose3d/overlay") == 2
        finally:
            stalled.kill()


def test_a_process_that_is_stopped_goes_on_where_it_was(driver, robot, node):
    os.kill(node.pid, signal.SIGSTOP)
    for _ in range(30):
        driver.images.publish(driver.message())
        robot.spin_for(0.03)
    os.kill(node.pid, signal.SIGCONT)
    assert cloud_to_joints(driver.answer()).size


def dds_ports(process):
    """Identities of the shared-memory ports that a process listens at, by their paths: Fast DDS has it lock a file
    beside each."""
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    locked = {int(lock[5].rsplit(":", 1)[1]) for lock in locks if lock[4] == str(process)}
    beside = [path for path in Path("/dev/shm").glob("fastrtps_port*_el") if path.stat().st_ino in locked]
    ports = [path.with_name(path.name.removesuffix("_el")) for path in beside]
    return {path: path.stat().st_ino for path in ports if path.exists()}


def test_a_process_that_is_stopped_keeps_its_port(driver, robot, node):
    """Fast DDS would make the port anew, and now and then the node would never hear of its camera again."""
    before = dds_ports(node.pid)
    if not before:
        pytest.skip("this DDS has no ports in /dev/shm")
    os.kill(node.pid, signal.SIGSTOP)
    for _ in range(3 * 10):
        driver.images.publish(driver.message())
        robot.spin_for(0.1)
    os.kill(node.pid, signal.SIGCONT)
    driver.answer()
    assert {path: path.stat().st_ino for path in before} == before


def test_a_process_that_is_stopped_at_work_finishes_it(driver, robot, node):
    """At different moments of an image's way through the node."""
    under_way = 0
    for delay_s in np.linspace(0, 0.03, 8):
        image = driver.message()
        driver.images.publish(image)
        time.sleep(delay_s)
        os.kill(node.pid, signal.SIGSTOP)
        robot.spin_for(0.3)
        heard = [message.header.stamp for message in robot.heard["overlay"]]
        under_way += image.header.stamp not in heard
        os.kill(node.pid, signal.SIGCONT)

        def answered(image=image):
            return image.header.stamp in [message.header.stamp for message in robot.heard["overlay"]]

        robot.spin_until(answered, 60, "the image that was under way")
    assert under_way > 0


def test_a_camera_process_that_dies_and_comes_back(driver, robot, start_node, node):
    """Killed, it takes no leave: for a while DDS believes it to be there."""
    driver.end()
    for _ in range(2):
        robot.forget()
        camera = start_node("video_publisher", {"loop": True})
        robot.spin_until(lambda: any(cloud.width for cloud in robot.heard["joints"]), 60, "joints of somebody")
        camera.stop(signal.SIGKILL)
        robot.wait_for_status(
            "images", lambda level, text: level == 1 and ("no image" in text or "nobody" in text), "the silence"
        )
    driver.advertise()


def test_two_nodes_of_one_name_are_told(driver, robot, start_node, node):
    robot.wait_for_status("lifecycle", lambda level, text: level == 0, "nothing wrong before")
    other = start_node("pose3d_node", {"autostart": False})
    robot.wait_for_status("lifecycle", lambda level, text: "2 nodes are called /pose3d" in text, "the second one")
    assert other.stop() == 0
    robot.wait_for_status("lifecycle", lambda *status: status == (0, "active"), "it alone")


@pytest.fixture
def hasty(start_node, ros_environment):
    """A second node that has only just been seen, in the midst of loading its networks."""
    import rclpy
    from rclpy.context import Context

    context = Context()
    rclpy.init(context=context)
    observer = rclpy.create_node("observer", context=context)
    process = start_node("pose3d_node", {}, "-r", "__node:=hasty")
    deadline = time.monotonic() + 60
    while "hasty" not in observer.get_node_names():
        assert time.monotonic() < deadline, process.output()
        time.sleep(0.005)
    yield process
    process.stop()
    observer.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [0.0, 0.3])
def test_a_signal_while_it_configures(hasty, number, delay_s, shutdown_limit_s):
    """As soon as the node is seen, and a little later: in the midst of loading the networks, or of its first image."""
    time.sleep(delay_s)
    started = time.monotonic()
    assert hasty.stop(number) == 0
    assert time.monotonic() - started < shutdown_limit_s
    assert "Traceback" not in hasty.output()


def test_a_process_that_is_stopped_while_it_configures_goes_on(hasty, robot):
    os.kill(hasty.pid, signal.SIGSTOP)
    robot.spin_for(1.0)
    os.kill(hasty.pid, signal.SIGCONT)
    robot.spin_until(lambda: "the node is active" in hasty.output(), 60, "the node to be active")
    assert hasty.stop() == 0
    assert "Traceback" not in hasty.output()
