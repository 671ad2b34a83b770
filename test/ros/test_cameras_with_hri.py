"""The real node with several cameras and ROS4HRI's topics: bodies of each camera, or of all, in one list."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("onnx", reason="the tests make small networks with onnx")
pytest.importorskip("hri_msgs.msg", reason="needs hri_msgs")

import tiny_networks
from geometry_msgs.msg import TransformStamped, TwistStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, JointState
from tf2_msgs.msg import TFMessage

from pose3d_ros.body_frames import ANGLES
from pose3d_ros.camera import Camera
from pose3d_ros.ros import hri_outputs
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image

CAMERA = Camera.from_horizontal_fov(640, 480, 60)
BRIGHT = np.full((480, 640, 3), 240, np.uint8)  # the tiny networks see a person there, always at the same place
NAMES = ("front", "left")
BODIES = "/humans/bodies"
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def node(start_node, robot, tmp_path_factory):
    models = tiny_networks.write_models(tmp_path_factory.mktemp("models"))
    parameters = {"cameras": list(NAMES), "publish_hri": True, "model_dir": str(models), "threads": 1}
    process = start_node("pose3d_node", parameters)
    listen(robot, IdsList, "tracked", LATCHED)
    robot.wait_for_reports(process)
    robot.spin_until(lambda: robot.node.count_publishers(f"{BODIES}/tracked"), 60, "its publishers")
    return process


def listen(robot, kind, topic, qos=10):
    robot.node.create_subscription(kind, f"{BODIES}/{topic}", robot.heard[topic].append, qos)


def tracked(robot):
    """The newest list."""
    return sorted(robot.heard["tracked"][-1].ids) if robot.heard["tracked"] else None


def named(robot, camera):
    """A camera's bodies in the newest list."""
    return [body for body in tracked(robot) if body.startswith(camera)]


class Drivers:
    """Of both cameras."""

    def __init__(self, robot):
        self.robot = robot
        self.publishers = {
            name: (robot.advertise(CameraInfo, f"{name}/camera_info"), robot.advertise(Image, f"{name}/image"))
            for name in NAMES
        }
        self.stamp_ns = time.time_ns() - 60_000_000_000

    def show(self, names, until, what, step_s=0.02):
        """Sends images of these cameras, a step of their stamps apart, until something holds."""

        def sent():
            self.stamp_ns += int(1e9 * step_s)
            for name in names:
                header = self.robot.header(self.stamp_ns, f"{name}_optical")
                infos, images = self.publishers[name]
                infos.publish(camera_to_info(CAMERA, header))
                images.publish(bgr_to_image(BRIGHT, header))
            self.robot.spin_for(0.05)
            return until()

        self.robot.spin_until(sent, 60, what)

    def end(self):
        for name in NAMES:
            self.robot.silence(f"{name}/camera_info")
            self.robot.silence(f"{name}/image")


def frames(robot):
    """Of bodies: {name: parent}."""
    return {t.child_frame_id: t.header.frame_id for m in robot.heard["tf"] for t in m.transforms}


def test_each_camera_has_its_bodies(node, robot):
    drivers = Drivers(robot)
    for name in NAMES:
        listen(robot, NormalizedRegionOfInterest2D, f"{name}_p1/roi")
    drivers.show(NAMES, lambda: tracked(robot) == ["front_p1", "left_p1"], "both bodies")
    drivers.show(NAMES, lambda: robot.heard["front_p1/roi"] and robot.heard["left_p1/roi"], "both boxes")
    assert robot.heard["left_p1/roi"][-1].header.frame_id == "left_optical"
    drivers.show(NAMES, lambda: {"body_front_p1", "body_left_p1"} <= set(frames(robot)), "frames of both")
    assert frames(robot)["body_left_p1"] == "left_optical"
    assert frames(robot)["head_left_p1"] == "body_left_p1"
    # A camera that has fallen silent sees nobody any more.
    drivers.show(("front",), lambda: not named(robot, "left"), "the end of the other's body", step_s=0.3)
    assert named(robot, "front")
    robot.spin_until(lambda: not robot.node.count_publishers(f"{BODIES}/left_p1/roi"), 20, "the end of its topics")
    drivers.end()


def test_cameras_whose_clocks_differ_do_not_take_turns(node, robot, make_person, monkeypatch):
    """Whose images are too old beside the newest is left out, until that camera falls silent."""
    real_s = 100.0
    monkeypatch.setattr(hri_outputs, "time", SimpleNamespace(monotonic=lambda: real_s))
    other = LifecycleNode("others", context=robot.node.context)
    outputs = hri_outputs.HriOutputs(other, with_images=True)
    other.trigger_configure()
    other.trigger_activate()
    robot.spin_until(lambda: outputs.wanted, 60, "who listens")

    def tracked_after(camera, stamp_s):
        header = robot.header(int(1e9 * stamp_s))
        outputs.publish(header, [make_person()], camera)

        def lists():
            return [list(message.ids) for message in robot.heard["tracked"] if message.header == header]

        robot.spin_until(lists, 60, "the list")
        return lists()[0]

    assert tracked_after("left", 1000.0) == ["others_left_p1"]
    for number in range(1, 5):
        assert tracked_after("front", 1010.0 + number) == ["others_front_p1"]
        assert tracked_after("left", 1000.0 + number) == ["others_front_p1"]
    real_s += 3
    assert tracked_after("left", 1006.0) == ["others_left_p1"]
    outputs.destroy()
    other.destroy_node()


def test_fused_people_are_the_bodies(node, robot):
    assert robot.change_state("deactivate")
    robot.spin_until(lambda: tracked(robot) == [], 20, "nobody")
    assert robot.change_state("cleanup")
    assert not robot.set_parameters(fusion_frame="base")
    assert robot.change_state("configure")
    assert robot.change_state("activate")
    robot.forget()
    places = robot.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    ways = [TransformStamped(header=robot.header(1, "base"), child_frame_id=f"{name}_optical") for name in NAMES]
    places.publish(TFMessage(transforms=ways))
    listen(robot, JointState, "p1/joint_states")
    listen(robot, TwistStamped, "p1/velocity")
    drivers = Drivers(robot)
    drivers.show(NAMES, lambda: robot.heard["p1/joint_states"] and robot.heard["p1/velocity"], "somebody's angles")
    drivers.show(NAMES, lambda: tracked(robot) == ["p1"], "the list")
    assert {f"{name}_p1" for name in ANGLES} == set(robot.heard["p1/joint_states"][-1].name)
    assert robot.heard["p1/velocity"][-1].header.frame_id == "base"
    drivers.show(NAMES, lambda: frames(robot).get("body_p1") == "base", "the body's frame")
    # A body that several cameras see belongs to no image, and the cameras have none of their own.
    assert not robot.node.count_publishers(f"{BODIES}/p1/roi")
    assert not {"body_front_p1", "body_left_p1"} & set(frames(robot))
    drivers.end()
    assert node.stop() == 0
    assert "Traceback" not in node.output()
