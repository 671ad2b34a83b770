"""The real node with ROS4HRI's topics: who is there, what is known of each; nothing of who has gone."""

import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("onnx", reason="the tests make small networks with onnx")
pytest.importorskip("hri_msgs.msg", reason="needs hri_msgs")

import tiny_networks
from geometry_msgs.msg import TwistStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2

from pose3d_ros.body_frames import ANGLES, LINKS, angles_of, origins_of, tree_of, turns_of
from pose3d_ros.camera import Camera
from pose3d_ros.person import Person
from pose3d_ros.ros.camera_conversion import camera_to_info, stamp_to_ns
from pose3d_ros.ros.hri_conversion import body_id, crop_of, joint_state_of, region_of, skeleton_of, transforms_of
from pose3d_ros.ros.hri_outputs import HriOutputs
from pose3d_ros.ros.image_conversion import bgr_to_image
from pose3d_ros.ros.people_conversion import cloud_to_joints
from pose3d_ros.skeleton import INDEX, NUM_JOINTS

CAMERA = Camera.from_horizontal_fov(640, 480, 60)
BRIGHT = np.full((480, 640, 3), 240, np.uint8)  # the tiny networks see a person there, always at the same place
DARK = np.zeros((480, 640, 3), np.uint8)


@pytest.fixture(scope="module")
def node(start_node, robot, tmp_path_factory):
    models = tiny_networks.write_models(tmp_path_factory.mktemp("models"))
    process = start_node("pose3d_node", {"publish_hri": True, "model_dir": str(models), "threads": 1})
    robot.wait_for_reports(process)
    listened = (
        (IdsList, "/humans/bodies/tracked", QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)),
        (NormalizedRegionOfInterest2D, "/humans/bodies/p1/roi", 10),
        (Image, "/humans/bodies/p1/cropped", 10),
        (Skeleton2D, "/humans/bodies/p1/skeleton2d", 10),
        (TwistStamped, "/humans/bodies/p1/velocity", 10),
        (JointState, "/humans/bodies/p1/joint_states", 10),
        (PointCloud2, "pose3d/joints", 10),
    )
    for kind, topic, qos in listened:
        robot.node.create_subscription(kind, topic, robot.heard[topic].append, qos)
    robot.spin_until(lambda: robot.node.count_publishers("/humans/bodies/tracked"), 60, "its publishers")
    return process


def show(robot, picture, until, what):
    """Publishes images of a picture until something is heard."""
    images, infos = robot.advertise(Image, "image"), robot.advertise(CameraInfo, "camera_info")
    start_ns = time.time_ns()
    for k in range(600):
        header = robot.header(start_ns + k * 50_000_000, "optical")
        infos.publish(camera_to_info(CAMERA, header))
        images.publish(bgr_to_image(picture, header))
        robot.spin_for(0.1)
        if until():
            return
    pytest.fail(f"not heard: {what}")


def test_a_body_its_box_and_its_skeleton(node, robot):
    heard = robot.heard
    topics = [f"/humans/bodies/p1/{part}" for part in ("roi", "cropped", "skeleton2d", "velocity")]
    show(robot, BRIGHT, lambda: all(heard[topic] for topic in topics), topics)
    assert list(heard["/humans/bodies/tracked"][-1].ids) == ["p1"]
    region = heard["/humans/bodies/p1/roi"][-1]
    assert region.header.frame_id == "optical"
    assert 0 <= region.xmin < region.xmax <= 1
    assert 0 <= region.ymin < region.ymax <= 1
    cropped = heard["/humans/bodies/p1/cropped"][-1]
    assert cropped.encoding == "bgr8"
    assert cropped.width == pytest.approx(640 * (region.xmax - region.xmin), abs=2.01)
    assert cropped.height == pytest.approx(480 * (region.ymax - region.ymin), abs=2.01)
    assert set(cropped.data) == {240}
    skeleton = heard["/humans/bodies/p1/skeleton2d"][-1]
    # The person stands still before a camera that does, too.
    assert abs(heard["/humans/bodies/p1/velocity"][-1].twist.linear.x) < 0.1
    hip = skeleton.skeleton[Skeleton2D.LEFT_HIP]
    assert 0 < hip.x < 1
    assert hip.c > 0


def test_frames_and_angles_are_those_of_the_joints(node, robot):
    def of_one_image():
        """Frames, angles and joints, of the newest image of which all have come."""
        clouds = {stamp_to_ns(cloud.header.stamp): cloud for cloud in robot.heard["pose3d/joints"]}
        states = {stamp_to_ns(state.header.stamp): state for state in robot.heard["/humans/bodies/p1/joint_states"]}
        for message in reversed(robot.heard["tf"]):
            stamp = stamp_to_ns(message.transforms[0].header.stamp)
            if message.transforms[0].child_frame_id == "body_p1" and stamp in clouds.keys() & states.keys():
                return message.transforms, states[stamp], clouds[stamp]
        return None

    show(robot, BRIGHT, of_one_image, "frames, angles and joints of one image")
    transforms, state, cloud = of_one_image()
    joints = cloud_to_joints(cloud)[0]
    places = np.stack([joints[axis] for axis in "xyz"], -1)
    assert [t.child_frame_id for t in transforms] == [f"{link}_p1" for link in LINKS]
    assert [t.header.frame_id for t in transforms] == ["optical", *["body_p1"] * (len(LINKS) - 1)]
    expected_places, expected_turns = tree_of(origins_of(places), turns_of(places))
    found = [[getattr(t.transform.translation, axis) for axis in "xyz"] for t in transforms]
    np.testing.assert_allclose(found, expected_places, atol=1e-3)
    turns = Rotation.from_quat([[getattr(t.transform.rotation, axis) for axis in "xyzw"] for t in transforms])
    np.testing.assert_allclose(turns.as_matrix(), expected_turns, atol=1e-3)
    np.testing.assert_allclose(turns.as_matrix()[0], [[0, 1, 0], [0, 0, -1], [-1, 0, 0]], atol=1e-3)  # to the camera
    angles = dict(zip(state.name, state.position, strict=True))
    assert list(angles) == [f"{name}_p1" for name in ANGLES]
    outwards = np.arctan2(0.04, 0.28)  # of the tiny networks' person
    assert angles["l_p_shoulder_p1"] == pytest.approx(outwards, abs=0.01)
    assert angles["r_p_shoulder_p1"] == pytest.approx(outwards, abs=0.01)
    assert angles["l_knee_p1"] == pytest.approx(0, abs=0.01)


def test_who_has_gone_is_not_tracked_and_has_no_topics(node, robot):
    tracked = robot.heard["/humans/bodies/tracked"]
    show(robot, BRIGHT, lambda: tracked and list(tracked[-1].ids), "somebody")
    show(robot, DARK, lambda: not tracked[-1].ids, "nobody")
    robot.spin_until(lambda: not robot.node.count_publishers("/humans/bodies/p1/roi"), 60, "the end of p1's topics")


def test_bodies_that_come_and_go_leave_nothing_in_the_node(node, robot, make_person):
    other = LifecycleNode("others", context=robot.node.context)
    outputs = HriOutputs(other, with_images=True)
    robot.spin_until(lambda: outputs.wanted, 60, "who listens")
    sizes = []
    for number in range(30):
        outputs.publish(robot.header(), [make_person(person_id=number)])
        sizes.append(len(other.default_callback_group.entities))
    outputs.destroy()
    other.destroy_node()
    assert sizes[-1] == sizes[0]


def test_nobody_is_tracked_by_a_camera_that_has_died(node, robot):
    tracked = robot.heard["/humans/bodies/tracked"]
    show(robot, BRIGHT, lambda: tracked and list(tracked[-1].ids), "somebody")
    robot.spin_until(lambda: not tracked[-1].ids, 60, "the end of the list")
    robot.spin_until(lambda: not robot.node.count_publishers("/humans/bodies/p1/roi"), 60, "the end of p1's topics")
    show(robot, BRIGHT, lambda: tracked[-1].ids, "somebody again")


def test_without_hri_msgs_the_node_says_what_to_do():
    from pose3d_ros.ros.optional_packages import check_packages

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "hri_msgs.msg", None)
        with pytest.raises(ImportError, match=r"publish_hri needs the package hri_msgs.*apt install ros-.*hri-msgs"):
            check_packages({"publish_hri": True, "use_detections": False})


def test_what_lies_outside_the_image_is_at_its_edge():
    joints = np.tile([700.0, -20.0], (NUM_JOINTS, 1))
    zeros = np.zeros(NUM_JOINTS)
    person = Person(
        3, np.array([-50.0, 10, 320, 600]), 0.8, joints, np.zeros((NUM_JOINTS, 2, 2)), zeros + 0.4,
        zeros.astype(np.uint8),
    )  # fmt: skip
    header = CameraInfo().header
    region = region_of(person, header, 640, 480)
    assert (region.xmin, region.ymax) == (0, 1)
    cropped = crop_of(person, header, BRIGHT)
    assert (cropped.width, cropped.height) == (321, 470)
    assert region.xmax == pytest.approx(320.5 / 640)
    point = skeleton_of(person, header, 640, 480).skeleton[0]
    assert (point.x, point.y) == (1, 0)
    assert point.c == pytest.approx(0.4)


def test_links_and_angles_that_are_not_known_are_left_out(make_person):
    joints = make_person().joints_m
    joints[INDEX["left_wrist"]] = np.nan
    turns, header = turns_of(joints), CameraInfo().header
    frames = {t.child_frame_id for t in transforms_of(*tree_of(origins_of(joints), turns), header, "p3")}
    assert {f"{link}_p3" for link in LINKS} - frames == {"l_elbow_p3", "l_wrist_p3"}
    state = joint_state_of(angles_of(turns), header, "p3")
    assert {f"{name}_p3" for name in ANGLES} - set(state.name) == {"l_elbow_p3", "l_r_shoulder_p3"}
    assert np.isfinite(state.position).all()
    assert not list(transforms_of(*tree_of(origins_of(joints), turns * np.nan), header, "p3"))


def test_bodies_of_other_nodes_have_other_names(start_node, node, robot, tmp_path):
    assert [body_id(3), body_id(3, "", "front"), body_id(3, "robot1", "")] == ["p3", "front_p3", "robot1_p3"]
    models = tiny_networks.write_models(tmp_path / "models")
    parameters = {"publish_hri": True, "model_dir": str(models), "threads": 1}
    inputs = ("-r", "/robot1/image:=/image", "-r", "/robot1/camera_info:=/camera_info")
    other = start_node("pose3d_node", parameters, "-r", "__ns:=/robot1", *inputs)
    robot.spin_until(lambda: "the node is active" in other.output(), 60, "the other node")
    tracked = robot.heard["/humans/bodies/tracked"]  # of both nodes, in any order
    show(robot, BRIGHT, lambda: any("robot1_p1" in message.ids for message in tracked), "the other node's body")
    assert other.stop() == 0
