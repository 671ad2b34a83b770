"""The real node with six cameras: each by its name, none starves, one may die, people are fused."""

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("onnx", reason="the tests make small networks with onnx")

import tiny_networks
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from pose3d_ros.camera import Camera
from pose3d_ros.ros.camera_conversion import camera_to_info, stamp_to_ns
from pose3d_ros.ros.image_conversion import bgr_to_image
from pose3d_ros.ros.people_conversion import cloud_to_joints

CAMERA = Camera.from_horizontal_fov(640, 480, 60)
BRIGHT = np.full((480, 640, 3), 240, np.uint8)  # the tiny networks see a person there, always at the same place
NAMES = ("front", "left", "right", "rear", "near", "far")


class Cameras:
    """Drivers of all cameras, and what the node makes of their images, by name."""

    def __init__(self, robot):
        self.robot = robot
        self.images = {name: robot.advertise(Image, f"{name}/image") for name in NAMES}
        self.infos = {name: robot.advertise(CameraInfo, f"{name}/camera_info") for name in NAMES}
        self.stamp_ns = time.time_ns() - 60_000_000_000
        self.calibrate()

    def calibrate(self):
        for name, infos in self.infos.items():
            infos.publish(camera_to_info(CAMERA, self.robot.header(self.stamp_ns, f"{name}_optical")))
        self.robot.spin_for(0.3)

    def send(self, name, step_s=0.05):
        """An image, later than all before it; its stamp."""
        self.stamp_ns += int(step_s * 1e9)
        self.images[name].publish(bgr_to_image(BRIGHT, self.robot.header(self.stamp_ns, f"{name}_optical")))
        return self.stamp_ns

    def answer(self, name, output=None, step_s=0.05):
        """The output that carries the stamp of an image of this camera."""
        stamp_ns = self.send(name, step_s)
        heard = self.robot.heard[output or f"{name}/joints"]

        def found():
            return [m for m in heard if stamp_to_ns(m.header.stamp) == stamp_ns]

        self.robot.spin_until(found, 60, f"an answer to an image of {name}")
        return found()[0]


@pytest.fixture(scope="module")
def node(start_node, robot, tmp_path_factory):
    models = tiny_networks.write_models(tmp_path_factory.mktemp("models"))
    parameters = {"cameras": list(NAMES), "fusion_frame": "base", "model_dir": str(models), "threads": 1}
    process = start_node("pose3d_node", parameters)
    for name in (*NAMES, "fused"):
        for topic, kind in (("joints", PointCloud2), ("markers", MarkerArray)):
            append = robot.heard[f"{name}/{topic}"].append
            robot.node.create_subscription(kind, f"pose3d/{name}/{topic}", append, 100)
    robot.wait_for_reports(process)
    topics = [f"pose3d/{name}/joints" for name in (*NAMES, "fused")]
    robot.spin_until(lambda: all(map(robot.node.count_publishers, topics)), 60, "its publishers")
    robot.spin_for(0.5)
    return process


@pytest.fixture(scope="module")
def cameras(node, robot):
    return Cameras(robot)


def places(cloud):
    """[people, 24, 3] metres."""
    joints = cloud_to_joints(cloud)
    return np.stack([joints[axis] for axis in "xyz"], -1)


def frames_heard(robot):
    """(parent, child) of all transforms."""
    return {(t.header.frame_id, t.child_frame_id) for m in robot.heard["tf"] for t in m.transforms}


def gained(now, before):
    """What the counters of images have gained between two reports."""
    return {name: int(now[name]) - int(before[name]) for name in ("received", "processed", "dropped", "rejected")}


def test_each_camera_publishes_under_its_name(cameras, robot):
    for name in NAMES:
        cloud = cameras.answer(name)
        assert cloud.header.frame_id == f"{name}_optical"
        assert cloud_to_joints(cloud)["person"][:, 0].tolist() == [1]
    robot.spin_until(lambda: all(robot.heard[f"{name}/markers"] for name in NAMES), 60, "markers of both")
    wanted = {(f"{name}_optical", f"{name}_person_1/head") for name in NAMES}
    robot.spin_until(lambda: wanted <= frames_heard(robot), 60, "frames of both")
    for name in NAMES:
        assert robot.report(f"{name} images")[2]["topic"] == f"/{name}/image"
        assert "calibrated" in robot.report(f"{name} camera_info")[1]
    robot.report("networks")


def test_without_tf_nobody_is_fused_and_diagnostics_say_so(robot):
    level, message, _ = robot.report("fusion")
    assert level == 1
    assert "no TF between front_optical" in message


def test_a_person_whom_both_see_is_one_in_the_common_frame(cameras, robot):
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = robot.node.create_publisher(TFMessage, "/tf_static", latched)
    robot.spin_until(publisher.get_subscription_count, 60, "a listener to TF")
    robot.spin_for(0.3)
    message = TFMessage()
    person = places(cameras.answer("front"))[0]
    for name in NAMES:
        transform = TransformStamped(header=robot.header(cameras.stamp_ns, "base"), child_frame_id=f"{name}_optical")
        transform.transform.rotation.w = 1.0
        transform.transform.translation.x = 2.0
        message.transforms.append(transform)
    publisher.publish(message)
    robot.spin_until(lambda: cameras.answer("left") and robot.heard["fused/joints"], 60, "somebody in the common frame")
    cameras.answer("left", "left/joints")
    cloud = cameras.answer("front", "fused/joints")
    assert cloud.header.frame_id == "base"
    (ids,) = {tuple(joints["person"]) for joints in cloud_to_joints(cloud)}
    assert set(ids) == {1}
    # Both say the same of somebody whose sizes and rays are the same, so that it stays where it is; only surer.
    assert np.allclose(places(cloud)[0], person + np.array([2.0, 0, 0]), atol=0.02)
    alone = cloud_to_joints(cameras.answer("front"))["sigma"].mean()
    assert cloud_to_joints(cloud)["sigma"].mean() < 0.85 * alone
    robot.spin_until(lambda: robot.heard["fused/markers"], 60, "fused markers")
    robot.spin_until(lambda: ("base", "fused_person_1/head") in frames_heard(robot), 60, "fused frames")
    for name in NAMES:
        cameras.answer(name, step_s=0.01)
    assert robot.report("fusion")[1] == "1 people in base by 6 cameras"


def test_a_camera_that_floods_does_not_starve_the_other(cameras, robot):
    """How much of the flood is worked on depends on the machine; that each of left's images is, does not."""
    before = {name: robot.report(f"{name} images")[2] for name in NAMES}
    for _ in range(8):
        waiting_ns = cameras.send("left", 0.01)
        for _ in range(25):
            cameras.send("front", 0.001)
        heard = robot.heard["left/joints"]
        robot.spin_until(lambda: any(stamp_to_ns(m.header.stamp) == waiting_ns for m in heard), 60, "left's joints")  # noqa: B023
    robot.spin_until(lambda: robot.report("front images")[2]["waiting"] == "0", 60, "the end of the flood")
    front, left = (gained(robot.report(f"{name} images")[2], before[name]) for name in ("front", "left"))
    assert left == {"received": 8, "processed": 8, "dropped": 0, "rejected": 0}
    assert 0 < front["processed"] + front["dropped"] == front["received"] <= 8 * 25


def test_the_rate_is_limited_for_each_camera(cameras, robot):
    assert not robot.set_parameters(max_rate_hz=10.0)
    before = {name: int(robot.report(f"{name} images")[2]["dropped_over_rate"]) for name in NAMES}
    cameras.answer("front", step_s=1.0)
    cameras.answer("left", step_s=0.01)  # close after the other's, which does not count
    cameras.send("front", 0.01)
    over = {name: lambda name=name: int(robot.report(f"{name} images")[2]["dropped_over_rate"]) for name in NAMES}
    robot.spin_until(lambda: over["front"]() == before["front"] + 1, 60, "a drop")
    assert over["left"]() == before["left"]
    assert not robot.set_parameters(max_rate_hz=0.0)


def test_one_camera_dies_and_the_other_goes_on(cameras, robot, node):
    cameras.answer("left")
    fused = cameras.answer("front", "fused/joints")
    known = cloud_to_joints(fused)["person"][:, 0].tolist()
    assert len(known) == 1
    robot.silence("left/image")
    robot.wait_for_status(
        "left images", lambda level, text: level == 1 and "nobody publishes /left/image" in text, "it"
    )
    clouds = [cameras.answer("front", "fused/joints", 0.1) for _ in range(5)]
    assert [cloud_to_joints(cloud)["person"][:, 0].tolist() for cloud in clouds] == [known] * 5
    assert "left is left out: its last image is" in robot.report("fusion")[1]
    # A bad image of one camera is that camera's trouble only.
    bad = bgr_to_image(BRIGHT, robot.header(cameras.stamp_ns + 1, "front_optical"))
    bad.encoding = "nonsense"
    cameras.images["front"].publish(bad)
    robot.wait_for_status("front images", lambda level, text: "unknown encoding" in text, "the rejection")
    assert robot.report("left images")[2]["rejected"] == "0"
    assert len(cloud_to_joints(cameras.answer("front"))) == 1
    assert node.stop() == 0
    assert "Traceback" not in node.output()
