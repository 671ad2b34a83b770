"""The real node with a target frame, on tiny networks: everything in that frame at the image's time, or nothing."""

import time

import numpy as np
import pytest
from camera_driver import Driver

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("onnx", reason="the tests make small networks with onnx")

import tiny_networks
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from pose3d_ros.camera import Camera
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.health import Level
from pose3d_ros.ros.people_conversion import cloud_to_joints
from pose3d_ros.ros.target_frame import TargetFrame

FRAME = "camera_optical_frame"
OPTICAL = Rotation.from_euler("xyz", [-90, 0, -90], degrees=True)  # base_link -> camera_optical_frame of REP-103
HEIGHT_M = 1.2
TIMEOUT_S = 1.0
BRIGHT = np.full((480, 640, 3), 240, np.uint8)


class Frames:
    """Who publishes TF: the camera stands on base_link, which moves 1 m/s along odom's x."""

    def __init__(self, robot):
        self.robot = robot
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.moving = robot.node.create_publisher(TFMessage, "/tf", 100)
        self.static = robot.node.create_publisher(TFMessage, "/tf_static", latched)
        self.static.publish(self.message("base_link", FRAME, OPTICAL, (0.0, 0.0, HEIGHT_M), 0))

    def message(self, parent, child, turn, shift, stamp_ns):
        transform = TransformStamped(header=self.robot.header(stamp_ns, parent), child_frame_id=child)
        rotation, translation = transform.transform.rotation, transform.transform.translation
        rotation.x, rotation.y, rotation.z, rotation.w = turn.as_quat().tolist()
        translation.x, translation.y, translation.z = shift
        return TFMessage(transforms=[transform])

    def drive(self, stamp_ns, x):
        """Where the robot is at a time."""
        self.moving.publish(self.message("odom", "base_link", Rotation.identity(), (x, 0.0, 0.0), stamp_ns))


@pytest.fixture(scope="module")
def frames(robot):
    return Frames(robot)


@pytest.fixture(scope="module")
def driver(start_node, robot, clip, frames, tmp_path_factory):
    models = tiny_networks.write_models(tmp_path_factory.mktemp("models"))
    parameters = {"model_dir": str(models), "target_frame": "odom", "target_frame_timeout_s": TIMEOUT_S}
    node = start_node("pose3d_node", parameters)
    robot.wait_for_node(node)
    driver = Driver(robot, clip)
    driver.picture, driver.camera = BRIGHT, Camera.from_horizontal_fov(640, 480, 60)
    driver.stamp_ns = time.time_ns() - 60_000_000_000
    robot.spin_until(lambda: frames.moving.get_subscription_count() >= 2, 60, "the node to listen to TF")
    robot.spin_for(0.3)
    yield driver
    driver.end()
    assert node.stop() == 0


def answer(driver, frames, at=0.5):
    """Joints of the next image, taken when the robot was `at` metres along its way; and their header."""
    stamp_ns = driver.stamp_ns + int(1e9 / 30)
    frames.drive(stamp_ns - 10_000_000, at - 0.01)
    frames.drive(stamp_ns + 10_000_000, at + 0.01)
    cloud = driver.answer()
    return cloud_to_joints(cloud), cloud.header


def heard_of(robot, output, parts, stamp):
    """The parts of an output that carry a stamp, once they have come; each output takes its own time."""

    def found():
        all_parts = (part for message in robot.heard[output] for part in getattr(message, parts))
        return [part for part in all_parts if part.header.stamp == stamp]

    robot.spin_until(found, 60, output)
    return found()


def test_the_camera_s_own_frame_needs_no_tf(make_person):
    people = [make_person(1), make_person(2, metres=False)]
    for target in (TargetFrame("", None), TargetFrame(FRAME, FrameTree())):
        place = target.place(Header(frame_id=FRAME), 0.0)
        assert place.frame_id == FRAME
        assert place.people(people) is people
        assert place.up.tolist() == [0, -1, 0]
    assert TargetFrame("", None).findings() == []


def test_who_is_known_in_pixels_only_stays_so_and_images_without_a_frame_are_told(make_person):
    tree = FrameTree()
    tree.put("odom", FRAME, (0.0, 0.0, 0.0, 1.0), None, (1.0, 2.0, 3.0))
    target = TargetFrame("odom", tree)
    here, there = make_person(1), make_person(2, metres=False)
    moved, same = target.place(Header(frame_id=FRAME), 0.0).people([here, there])
    np.testing.assert_allclose(moved.joints_m, here.joints_m + np.array([1, 2, 3]))
    assert same is there
    assert target.place(Header(), 0.0) is None
    (finding,) = target.findings()
    assert (finding.level, finding.values["withheld"], finding.values["placed"]) == (Level.WARN, "1", "1")
    assert "the images have no frame_id" in finding.message
    (finding,) = target.findings()
    assert finding.level == Level.OK


def test_after_some_failures_few_images_are_waited_for():
    """So that a camera without TF does not hold the others up."""
    tree = FrameTree()
    target = TargetFrame("odom", tree)
    waited = []
    for _ in range(10):
        began = time.monotonic()
        assert target.place(Header(frame_id=FRAME), 0.2) is None
        waited.append(time.monotonic() - began > 0.19)
    assert waited == [True] * 4 + [False] * 6
    tree.put("odom", FRAME, (0.0, 0.0, 0.0, 1.0), None)
    assert target.place(Header(frame_id=FRAME), 0.2)


def test_joints_and_markers_are_where_the_person_is_at_the_image_s_time(driver, frames, robot):
    answer(driver, frames)
    joints, header = answer(driver, frames, at=2.0)
    assert header.frame_id == "odom"
    x, y, z = (joints[0][axis] for axis in "xyz")
    # The camera looks along x; the tiny networks' person stands upright before it.
    assert x[0] - 2.0 > 1
    assert abs(y[0]) < 0.2
    assert z[10] - z[0] == pytest.approx(0.85, abs=0.05)
    assert z[0] - z[3] == pytest.approx(0.9, abs=0.05)
    assert y[11] < y[14]  # they face the robot: their left is on its right

    # In the camera's frame they are as TF says, which stays relative to the camera.
    joint_frames = [t for t in heard_of(robot, "tf", "transforms", header.stamp) if t.child_frame_id != "base_link"]
    assert {t.header.frame_id for t in joint_frames} == {FRAME}
    in_camera = np.array([[getattr(t.transform.translation, axis) for axis in "xyz"] for t in joint_frames])
    in_odom = OPTICAL.apply(in_camera) + np.array([2.0, 0, HEIGHT_M])
    np.testing.assert_allclose(np.stack([x, y, z], 1), in_odom, atol=1e-4)

    markers = {m.ns: m for m in heard_of(robot, "markers", "markers", header.stamp)}
    assert {m.header.frame_id for m in markers.values()} == {"odom"}
    points = np.array([[p.x, p.y, p.z] for p in markers["joints"].points])
    np.testing.assert_allclose(points, in_odom, atol=1e-4)
    label = markers["id"].pose.position
    assert label.z == pytest.approx(z.max() + 0.2, abs=1e-3)
    # The position is least certain along the line of sight, which is x here.
    bars = np.array([[p.x, p.y, p.z] for p in markers["uncertainty"].points])[4:6]
    assert np.abs(bars[1] - bars[0]).argmax() == 0


def test_without_the_transform_nothing_comes_but_tf_and_the_overlay_and_it_is_told(driver, frames, robot):
    answer(driver, frames)
    since = len(robot.heard["diagnostics"])
    image = driver.message(step_s=0.5)  # the robot's place at this time is not known
    began = time.monotonic()
    robot.answer_to(driver.images, image, "overlay")
    assert time.monotonic() - began >= TIMEOUT_S
    robot.spin_for(0.3)
    assert image.header.stamp not in [m.header.stamp for m in robot.heard["joints"]]
    assert image.header.stamp not in [marker.header.stamp for m in robot.heard["markers"] for marker in m.markers]
    assert len(heard_of(robot, "tf", "transforms", image.header.stamp)) == 24

    def warned(level, message):
        return level == 1 and "images were withheld, for want of odom: the TF from base_link to odom" in message

    robot.wait_for_status("target_frame", warned, "the warning", since)
    _, _, values = robot.report("target_frame")
    assert int(values["withheld"]) >= 1
    assert "older" in values["last_reason"]

    # It goes on as soon as TF does.
    joints, header = answer(driver, frames, at=1.0)
    assert header.frame_id == "odom"
    assert len(joints) == 1


def test_a_transform_that_comes_a_little_late_is_waited_for(driver, frames, robot):
    def joints_came():
        """Unless a busy machine took longer for it than is waited."""
        frames.drive(driver.stamp_ns, 3.0)
        image = driver.message(step_s=0.1)
        driver.images.publish(image)
        robot.spin_for(0.2)
        assert robot.heard["joints"][-1].header.stamp != image.header.stamp
        frames.drive(driver.stamp_ns + 100_000_000, 3.2)
        robot.spin_for(0.5)
        return robot.heard["joints"][-1].header.stamp == image.header.stamp

    robot.spin_until(joints_came, 60, "the joints")
    assert cloud_to_joints(robot.heard["joints"][-1])[0]["x"][0] > 4
    assert "the node is active" in robot.set_parameters(target_frame="map")


def test_predicted_joints_are_in_the_target_frame_too(driver, frames, robot):
    assert not robot.set_parameters(max_prediction_s=1.0)

    def predicted():
        """Unless a busy machine took longer than joints are carried on."""
        driver.stamp_ns = time.time_ns() - 50_000_000
        answer(driver, frames, at=2.0)
        robot.spin_for(0.2)
        return robot.heard["joints_predicted"]

    robot.spin_until(predicted, 60, "predicted joints")
    cloud = robot.heard["joints_predicted"][-1]
    assert cloud.header.frame_id == "odom"
    assert cloud_to_joints(cloud)[0]["x"][0] > 3


def test_the_node_s_own_listening_to_tf_does_not_count(driver, frames, robot):
    robot.listen(*robot.leave_unwanted(driver))
