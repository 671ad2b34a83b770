"""The real node with publish_hri, on tiny networks, as a ROS4HRI program sees it."""

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("hri_msgs", reason="needs the package hri_msgs")
pytest.importorskip("onnx", reason="the tests make small networks with onnx")

import tiny_networks
from camera_driver import Driver
from geometry_msgs.msg import TwistStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, JointState

from pose3d_ros.body_frames import ANGLES, LINKS
from pose3d_ros.camera import Camera
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image

CAMERA = Camera.from_horizontal_fov(640, 480, 60)
BRIGHT, DARK = (np.full((480, 640, 3), value, np.uint8) for value in (240, 0))
BODIES = "/humans/bodies"
TYPES = {
    "roi": NormalizedRegionOfInterest2D,
    "skeleton2d": Skeleton2D,
    "joint_states": JointState,
    "velocity": TwistStamped,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return str(tiny_networks.write_models(tmp_path_factory.mktemp("models")))


class Listener:
    """Hears the list of bodies, and what it subscribes to."""

    def __init__(self, robot):
        self.robot = robot
        self.heard = {}
        self._subscriptions = []
        self.subscribe(IdsList, f"{BODIES}/tracked")

    def subscribe(self, kind, topic):
        messages = self.heard[topic.removeprefix(f"{BODIES}/")] = []
        self._subscriptions.append(self.robot.node.create_subscription(kind, topic, messages.append, 10))

    def tracked(self):
        return list(self.heard["tracked"][-1].ids) if self.heard["tracked"] else None

    def close(self):
        for subscription in self._subscriptions:
            self.robot.node.destroy_subscription(subscription)


@pytest.fixture
def listener(robot):
    listener = Listener(robot)
    yield listener
    listener.close()


def body_topics(robot):
    """The topics of bodies that somebody publishes: {topic: type}."""
    return {
        name.removeprefix(f"{BODIES}/"): kinds[0]
        for name, kinds in robot.node.get_topic_names_and_types()
        if name.startswith(f"{BODIES}/") and name.count("/") == 4 and robot.node.count_publishers(name)
    }


def test_a_body_comes_stands_moves_and_goes(start_node, robot, clip, models, listener):
    node = start_node("pose3d_node", {"model_dir": models, "publish_hri": True, "publish_tf": False})
    robot.wait_for_node(node)
    # Nobody but a ROS4HRI program listens.
    robot.stop_listening("markers", "joints", "joints_predicted", "overlay", "tf")
    driver = Driver(robot, clip)
    driver.picture, driver.camera = BRIGHT, CAMERA
    driver.stamp_ns = time.time_ns() - 60_000_000_000
    robot.spin_until(lambda: robot.node.count_publishers(f"{BODIES}/tracked"), 60, "the list of bodies")

    def show(condition, what, picture=BRIGHT):
        """Sends images, each when the last one is answered, until the condition holds."""
        driver.picture = picture
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, what
            message = driver.message()
            driver.images.publish(message)
            tracked = listener.heard["tracked"]
            robot.spin_until(lambda: tracked and tracked[-1].header.stamp == message.header.stamp, 20, "an answer")  # noqa: B023

    show(lambda: listener.tracked() == ["b0001"], "a body")
    expected = {
        f"b0001/{topic}": f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}" for topic, kind in TYPES.items()
    }
    robot.spin_until(lambda: body_topics(robot) == expected, 20, "the body's topics")

    robot.listen("tf")
    for topic, kind in TYPES.items():
        listener.subscribe(kind, f"{BODIES}/b0001/{topic}")
    show(lambda: all(len(listener.heard[f"b0001/{topic}"]) > 3 for topic in TYPES) and robot.heard["tf"], "all of it")
    roi, skeleton, state, velocity = (listener.heard[f"b0001/{topic}"][-1] for topic in TYPES)

    assert 0 <= roi.xmin < roi.xmax <= 1
    assert 0 <= roi.ymin < roi.ymax <= 1
    assert roi.c == pytest.approx(240 / 255, abs=0.05)
    assert roi.header.frame_id == skeleton.header.frame_id == "camera_optical_frame"
    nose, ankle = skeleton.skeleton[Skeleton2D.NOSE], skeleton.skeleton[Skeleton2D.LEFT_ANKLE]
    assert roi.xmin < nose.x < roi.xmax
    assert nose.y < ankle.y
    left, right = (skeleton.skeleton[k] for k in (Skeleton2D.LEFT_SHOULDER, Skeleton2D.RIGHT_SHOULDER))
    assert right.x < left.x  # they face the camera

    # The tiny networks' person stands upright; the arms hang a little away from the body.
    angle = {name.removesuffix("_b0001"): value for name, value in zip(state.name, state.position, strict=True)}
    assert set(angle) == set(ANGLES)
    outwards = np.arctan2(0.04, 0.28)
    assert angle["l_p_shoulder"] == pytest.approx(outwards, abs=1e-3)
    assert angle["r_p_shoulder"] == pytest.approx(outwards, abs=1e-3)
    assert angle["l_knee"] == pytest.approx(0, abs=1e-3)
    assert angle["y_head"] == pytest.approx(0, abs=1e-3)

    transforms = {t.child_frame_id: t for t in robot.heard["tf"][-1].transforms}
    assert set(transforms) == {f"{link}_b0001" for link in LINKS}
    body = transforms["body_b0001"]
    assert body.header.frame_id == "camera_optical_frame"
    assert {t.header.frame_id for name, t in transforms.items() if name != "body_b0001"} == {"body_b0001"}
    q = body.transform.rotation
    x, _, z = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix().T
    np.testing.assert_allclose(x, [0, 0, -1], atol=1e-3)  # forward, out of the body: to the camera
    np.testing.assert_allclose(z, [0, -1, 0], atol=1e-3)
    assert transforms["head_b0001"].transform.translation.z == pytest.approx(0.7, abs=0.01)

    assert velocity.header.frame_id == "body_b0001"
    linear = velocity.twist.linear
    assert max(map(abs, (linear.x, linear.y, linear.z))) < 0.1

    # Whoever goes takes the topics along, and who comes after has an id and topics of their own.
    show(lambda: listener.tracked() == [], "nobody", DARK)
    robot.spin_until(lambda: not body_topics(robot), 20, "the topics to go")
    show(lambda: listener.tracked() == ["b0002"], "another body")
    robot.spin_until(lambda: {t.split("/")[0] for t in body_topics(robot)} == {"b0002"}, 20, "the other's topics")
    assert "the node is active" in robot.set_parameters(publish_hri=False)

    assert robot.change_state("deactivate")
    robot.spin_until(lambda: listener.tracked() == [] and not body_topics(robot), 20, "all bodies to go")
    assert robot.change_state("cleanup")
    robot.spin_until(lambda: not robot.node.count_publishers(f"{BODIES}/tracked"), 20, "the list to go")
    driver.end()
    robot.listen("markers", "joints", "joints_predicted", "overlay")
    assert node.stop() == 0
    assert "Traceback" not in node.output()


def test_bodies_of_several_cameras_are_in_one_list(start_node, robot, models, listener):
    robot.forget()
    node = start_node("pose3d_node", {"model_dir": models, "publish_hri": True, "cameras": ["front", "left"]})
    robot.wait_for_reports(node)
    images, infos = ({name: robot.advertise(kind, f"{name}/{topic}") for name in ("front", "left")} for kind, topic in (
        (Image, "image"), (CameraInfo, "camera_info")
    ))  # fmt: skip
    robot.spin_until(lambda: robot.node.count_publishers(f"{BODIES}/tracked"), 60, "the list of bodies")
    stamp_ns = time.time_ns() - 60_000_000_000

    def send(*names):
        nonlocal stamp_ns
        stamp_ns += 33_000_000
        for name in names:
            header = robot.header(stamp_ns, f"{name}_optical_frame")
            infos[name].publish(camera_to_info(CAMERA, header))
            images[name].publish(bgr_to_image(BRIGHT, header))
        robot.spin_for(0.1)

    def shown(names, ids):
        def condition():
            send(*names)
            return sorted(listener.tracked() or ()) == ids

        robot.spin_until(condition, 60, f"{ids}, not {listener.tracked()}")

    shown(("front", "left"), ["front_b0001", "left_b0001"])
    frames = {t.child_frame_id: t.header.frame_id for m in robot.heard["tf"] for t in m.transforms}
    assert frames["body_left_b0001"] == "left_optical_frame"
    # A camera that falls silent sees nobody any more.
    shown(("front",), ["front_b0001"])
    for name in ("front", "left"):
        robot.silence(f"{name}/image")
        robot.silence(f"{name}/camera_info")
    assert node.stop() == 0


def test_without_hri_msgs_the_node_says_what_is_missing(start_node, robot, models, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['hri_msgs'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from pose3d_ros.ros.processes import NodeProcess, ros_environment

    with NodeProcess(
        "pose3d_node", {"model_dir": models, "publish_hri": True}, ros_environment(), tmp_path / "log"
    ) as node:
        assert node.wait(60) == 1
        assert "publish_hri needs the package hri_msgs, which is not installed: apt install" in node.output()
        assert "Traceback" not in node.output()

    # Without publish_hri, nothing misses it.
    robot.forget()
    with NodeProcess(
        "pose3d_node", {"model_dir": models, "autostart": False}, ros_environment(), tmp_path / "log"
    ) as node:
        robot.wait_for_reports(node)
        assert "needs the package hri_msgs" in robot.set_parameters(publish_hri=True)
        assert robot.change_state("configure")
