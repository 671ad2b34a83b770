"""The gesture node in its own process: what it tells of joints, and when it stops."""

import json
import signal
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image
from pose3d_ros.ros.people_conversion import people_to_cloud
from pose3d_ros.ros.processes import NodeProcess
from pose3d_ros.skeleton import INDEX

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Watcher:
    """Sends joints to the node, and hears what it tells."""

    def __init__(self, robot, name="raised_hand"):
        self.robot = robot
        self.told = []
        robot.node.create_subscription(String, f"{name}/raised_hands", self._on_told, LATCHED)
        self.joints = robot.node.create_publisher(PointCloud2, "pose3d/joints", 10)

    def _on_told(self, message):
        self.told.append(json.loads(message.data))

    def wait_for(self, condition, what, send=lambda: None):
        """Sends thirty times a second until what the node last told, or tells from now on, fulfils it."""
        last = max(len(self.told) - 1, 0)
        next_at = time.monotonic()

        def found():
            nonlocal next_at
            if time.monotonic() >= next_at:
                next_at = time.monotonic() + 1 / 30
                send()
            return any(map(condition, self.told[last:]))

        self.robot.spin_until(found, 60, f"{what}; it told {self.told[-3:]}")

    def send(self, person, age_s=0.0, frame_id="camera_optical_frame"):
        """Joints of one person."""
        header = self.robot.header(time.time_ns() - int(age_s * 1e9), frame_id)
        self.joints.publish(people_to_cloud([person], header))


@pytest.fixture(scope="module")
def node(start_node):
    return start_node("raised_hand_node")


@pytest.fixture(scope="module")
def watcher(node, robot):
    watcher = Watcher(robot)
    robot.spin_until(lambda: watcher.told and watcher.joints.get_subscription_count(), 60, "the node")
    return watcher


@pytest.fixture
def person(make_person):
    """Somebody with the right hand up."""
    person = make_person(person_id=7)
    person.joint_score[:] = 0.9
    for side, height in (("right", -0.3), ("left", 0.3)):
        person.joints_m[INDEX[f"{side}_wrist"]] = person.joints_m[INDEX[f"{side}_shoulder"]] + [0, height, 0]
    return person


def hands(left, right):
    return lambda told: told == {"stopped": "", "people": {"7": {"left": left, "right": right}}}


def stopped(text):
    return lambda told: text in told["stopped"] and not told["people"]


def test_a_raised_hand_is_told_and_stops_when_no_joints_come(watcher, person):
    watcher.wait_for(hands("down", "up"), "the hand", lambda: watcher.send(person))
    watcher.wait_for(stopped("no joints for 0.5 s"), "the stop")
    watcher.wait_for(hands("down", "up"), "the hand again", lambda: watcher.send(person))


def test_a_hand_that_is_not_surely_seen_is_unknown(watcher, person):
    watcher.wait_for(hands("down", "up"), "the hand", lambda: watcher.send(person))
    person.joint_score[INDEX["right_wrist"]] = 0.2
    watcher.wait_for(hands("down", "unknown"), "the doubt", lambda: watcher.send(person))


def test_it_stops_on_joints_of_another_time(watcher, person):
    watcher.wait_for(stopped("not within 0.5 s of the clock"), "the stop", lambda: watcher.send(person, age_s=3.0))
    watcher.wait_for(hands("down", "up"), "the hand", lambda: watcher.send(person))
    watcher.wait_for(stopped("not within 0.5 s of the clock"), "the stop", lambda: watcher.send(person, age_s=-3.0))


def test_it_stops_on_a_cloud_of_another_kind(watcher, person):
    def send():
        watcher.joints.publish(PointCloud2(header=watcher.robot.header(), point_step=16))

    watcher.wait_for(stopped("not a cloud of joints"), "the stop", send)


def test_it_stops_where_nothing_tells_what_is_up(watcher, person):
    def send():
        watcher.send(person, frame_id="base_link")

    watcher.wait_for(stopped("the joints are in 'base_link'"), "the stop", send)


READER = """
import sys
import numpy as np
from sensor_msgs.msg import PointField

KINDS = {PointField.FLOAT32: "<f4", PointField.UINT8: "u1", PointField.UINT32: "<u4"}


def read_points(cloud, field_names=None, skip_nans=False):
    known = {field.name: field for field in cloud.fields}
    assert set(field_names) <= set(known), "a field is missing"
    fields = [known[name] for name in field_names]
    print("the stand-in reads", file=sys.stderr, flush=True)
    dtype = {
        "names": field_names,
        "formats": [KINDS[field.datatype] for field in fields],
        "offsets": [field.offset for field in fields],
        "itemsize": cloud.point_step,
    }
    return np.ndarray((cloud.width * cloud.height,), np.dtype(dtype), cloud.data)
"""


def test_ros_own_reader_is_used_where_it_is_installed(ros_environment, robot, person, tmp_path):
    """A module of its name and ways stands for sensor_msgs_py, which no wheel brings."""
    (tmp_path / "sensor_msgs_py").mkdir()
    (tmp_path / "sensor_msgs_py" / "__init__.py").touch()
    (tmp_path / "sensor_msgs_py" / "point_cloud2.py").write_text(READER)
    path = ":".join(filter(None, [str(tmp_path), ros_environment.get("PYTHONPATH", "")]))
    environment = {**ros_environment, "PYTHONPATH": path}
    arguments = ("-r", "__node:=reader")
    with NodeProcess("raised_hand_node", {}, environment, tmp_path / "log", *arguments) as node:
        watcher = Watcher(robot, "reader")
        robot.spin_until(lambda: watcher.told and watcher.joints.get_subscription_count(), 60, "the node")
        watcher.wait_for(hands("down", "up"), "the hand", lambda: watcher.send(person))
        assert "the stand-in reads" in node.output()
        other = PointCloud2(point_step=16)

        def send():
            other.header = robot.header(time.time_ns(), "camera_optical_frame")
            watcher.joints.publish(other)

        watcher.wait_for(stopped("not a cloud of joints: a field is missing"), "the stop", send)


def test_up_comes_from_tf(start_node, robot, node, watcher, person):
    """A camera that hangs upside down: what it sees below is above."""
    assert node.stop(signal.SIGTERM) == 0
    start_node("raised_hand_node", {"up_frame": "base_link"})
    watcher.wait_for(stopped("no TF between base_link"), "the missing TF", lambda: watcher.send(person))
    transform = TransformStamped(child_frame_id="camera_optical_frame")
    transform.header.frame_id = "base_link"
    turn = transform.transform.rotation  # optical z forward, x left, y up
    turn.x, turn.y, turn.z, turn.w = 0.5, 0.5, 0.5, 0.5
    publisher = robot.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    publisher.publish(TFMessage(transforms=[transform]))
    watcher.wait_for(hands("up", "down"), "the hands", lambda: watcher.send(person))
    # How late TF is differs each time, and is told once.
    transform.header.stamp = robot.header(time.time_ns() - 5_000_000_000).stamp
    moving = robot.node.create_publisher(TFMessage, "/tf", 10)

    def send():
        moving.publish(TFMessage(transforms=[transform]))
        watcher.send(person)

    watcher.wait_for(stopped("is not within 0.5 s of the stamp"), "the late TF", send)
    told = len(watcher.told)
    for _ in range(10):
        watcher.send(person)
        robot.spin_for(0.05)
    assert len(watcher.told) == told


def test_from_images_to_the_hand(start_node, robot, watcher, clip):
    """The real clip, in which a person raises the right hand, in its own time: from pixels to the gesture."""
    frames, stamps, camera = clip
    start_node("raised_hand_node", {"use_sim_time": True}, "-r", "__node:=whole")
    start_node("pose3d_node")
    told = []
    robot.node.create_subscription(String, "whole/raised_hands", told.append, LATCHED)
    clock = robot.node.create_publisher(Clock, "/clock", 10)
    images, infos = robot.advertise(Image, "image"), robot.advertise(CameraInfo, "camera_info")
    robot.spin_until(lambda: told and clock.get_subscription_count(), 60, "the node")
    for index in range(85, 140, 3):
        header = robot.header(stamps[index] + 1_700_000_000_000_000_000)
        clock.publish(Clock(clock=header.stamp))
        infos.publish(camera_to_info(camera, header))
        robot.answer_to(images, bgr_to_image(frames[index], header))
    robot.spin_until(lambda: '"right": "up"' in told[-1].data, 60, f"the hand; it told {told[-1].data}")
