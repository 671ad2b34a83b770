"""The real node with ROS4HRI's topics: who is there, box, skeleton and frames of each; nothing of who has gone."""

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
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from pose3d_ros.camera import Camera
from pose3d_ros.person import Person
from pose3d_ros.ros.camera_conversion import camera_to_info, stamp_to_ns
from pose3d_ros.ros.hri_conversion import region_of, skeleton_of
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
        (Skeleton2D, "/humans/bodies/p1/skeleton2d", 10),
        (TwistStamped, "/humans/bodies/p1/velocity", 10),
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
    for k in range(200):
        header = robot.header(start_ns + k * 50_000_000, "optical")
        infos.publish(camera_to_info(CAMERA, header))
        images.publish(bgr_to_image(picture, header))
        robot.spin_for(0.1)
        if until():
            return
    pytest.fail(f"not heard: {what}")


def test_a_body_its_box_and_its_skeleton(node, robot):
    heard = robot.heard
    topics = [f"/humans/bodies/p1/{part}" for part in ("roi", "skeleton2d", "velocity")]
    show(robot, BRIGHT, lambda: all(heard[topic] for topic in topics), topics)
    assert list(heard["/humans/bodies/tracked"][-1].ids) == ["p1"]
    region = heard["/humans/bodies/p1/roi"][-1]
    assert region.header.frame_id == "optical"
    assert 0 <= region.xmin < region.xmax <= 1
    assert 0 <= region.ymin < region.ymax <= 1
    skeleton = heard["/humans/bodies/p1/skeleton2d"][-1]
    # The person stands still before a camera that does, too.
    assert abs(heard["/humans/bodies/p1/velocity"][-1].twist.linear.x) < 0.1
    hip = skeleton.skeleton[Skeleton2D.LEFT_HIP]
    assert 0 < hip.x < 1
    assert hip.c > 0


def test_frames_lie_at_the_joints(node, robot):
    def pairs():
        clouds = {stamp_to_ns(cloud.header.stamp): cloud for cloud in robot.heard["pose3d/joints"]}
        bodies = [m for m in robot.heard["tf"] if m.transforms[0].child_frame_id == "body_p1"]
        return [
            ({t.child_frame_id: t for t in message.transforms}, clouds[stamp])
            for message in bodies
            if (stamp := stamp_to_ns(message.transforms[0].header.stamp)) in clouds
        ]

    show(robot, BRIGHT, pairs, "frames and joints of one image")
    frames, cloud = pairs()[-1]
    assert frames["body_p1"].header.frame_id == "optical"
    joints = cloud_to_joints(cloud)[0]
    for link, joint in (("body", "pelvis"), ("torso", "thorax"), ("l_elbow", "left_elbow"), ("r_ankle", "right_ankle")):
        place = frames[f"{link}_p1"].transform.translation
        expected = [joints[axis][INDEX[joint]] for axis in "xyz"]
        np.testing.assert_allclose([place.x, place.y, place.z], expected, atol=1e-3)


def test_who_has_gone_is_not_tracked_and_has_no_topics(node, robot):
    tracked = robot.heard["/humans/bodies/tracked"]
    show(robot, BRIGHT, lambda: tracked and list(tracked[-1].ids), "somebody")
    show(robot, DARK, lambda: not tracked[-1].ids, "nobody")
    robot.spin_until(lambda: not robot.node.count_publishers("/humans/bodies/p1/roi"), 60, "the end of p1's topics")


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
    assert region.xmax == pytest.approx(320.5 / 640)
    point = skeleton_of(person, header, 640, 480).skeleton[0]
    assert (point.x, point.y) == (1, 0)
    assert point.c == pytest.approx(0.4)
