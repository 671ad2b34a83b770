"""The real node with depth images, an outside detector's boxes and the ground beside its images."""

import array
import shutil
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from camera_driver import Driver
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from pose3d_ros.camera import Camera
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.people_conversion import cloud_to_joints
from pose3d_ros.ros.processes import NodeProcess

FARTHER = 1.1
SYNC_S = 0.5  # for a machine that is busy with other things
FRAMES = 6


def depth_message(header, metres, encoding="16UC1", hole_share=0.2):
    """A depth image with holes: zeros in millimetres, NaN in metres."""
    holes = np.random.default_rng(0).random(metres.shape) < hole_share
    if encoding == "16UC1":
        values = np.where(holes, 0, np.rint(1000 * metres)).astype("<u2")
    else:
        values = np.where(holes, np.nan, metres).astype("<f4")
    height, width = values.shape
    message = Image(header=header, height=height, width=width, encoding=encoding, step=width * values.itemsize)
    message.data = array.array("B", values.tobytes())
    return message


class DepthDriver(Driver):
    """Sends one frame of the clip, and a depth image of a wall at the person's distance; or none."""

    def __init__(self, robot, clip):
        super().__init__(robot, clip)
        self.depths = robot.advertise(Image, "depth")
        self.depth_infos = robot.advertise(CameraInfo, "depth_camera_info")

    def distance(self, depth=None, depth_first=True):
        """z of the pelvis in the answer to an image with this depth (a function of its header)."""
        image = self.message()
        message = depth(image.header) if depth else None
        if message and depth_first:
            self.depths.publish(message)
        elif message:
            self.images.publish(image)
            self.robot.spin_for(0.01)
            self.depths.publish(message)
            return self.pelvis(self.robot.answer_to(self.depths, message))
        return self.pelvis(self.robot.answer_to(self.images, image))

    @staticmethod
    def pelvis(cloud):
        (person,) = cloud_to_joints(cloud)
        return float(person["z"][0])

    def again(self):
        """Everybody is forgotten before the next image."""
        self.stamp_ns -= 10_000_000_000

    def settled(self, *arguments):
        self.again()
        return [self.distance(*arguments) for _ in range(FRAMES)][-1]


@pytest.fixture(scope="module")
def depth_node(start_node, robot):
    process = start_node("pose3d_node", {"use_depth": True, "sync_tolerance_s": SYNC_S})
    robot.wait_for_node(process)
    return process


@pytest.fixture(scope="module")
def driver(depth_node, robot, clip):
    return DepthDriver(robot, clip)


@pytest.fixture(scope="module")
def without(driver):
    """The person's distance by the images alone."""
    return driver.settled()


def test_without_depth_the_node_publishes_and_says_so(driver, robot, without):
    assert 1 < without < 10
    _, _, values = robot.report("depth")
    assert int(values["images_with"]) == 0
    assert int(values["images_without"]) >= FRAMES
    assert values["last_problem"] == "no depth came in time (sync_tolerance_s)"


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_in_millimetres_and_in_metres_moves_the_person(driver, robot, without, encoding):
    wall = np.full(driver.picture.shape[:2], FARTHER * without - 0.1)
    moved = driver.settled(lambda header: depth_message(header, wall, encoding))
    assert moved == pytest.approx(FARTHER * without, rel=0.035)
    assert int(robot.report("depth")[2]["images_with"]) > 0


def test_depth_that_comes_after_its_image_is_waited_for(driver, robot, without):
    wall = np.full(driver.picture.shape[:2], FARTHER * without - 0.1)
    driver.again()
    robot.spin_for(1.1)
    before = int(robot.report("depth")[2]["images_with"])
    for _ in range(FRAMES):
        driver.distance(lambda header: depth_message(header, wall), depth_first=False)
    assert int(robot.report("depth")[2]["images_with"]) > before


def test_a_newer_image_sends_the_one_that_waits_on_its_way(driver, robot):
    assert robot.set_parameters(sync_tolerance_s=1.0) == ""
    first, second = driver.message(), driver.message(step_s=0.1)

    driver.images.publish(first)
    robot.answer_to(driver.images, second)
    assert [cloud.header for cloud in robot.heard["joints"][-2:]] == [first.header, second.header]
    assert robot.set_parameters(sync_tolerance_s=SYNC_S) == ""


def scaled(driver):
    wall = np.full(driver.picture.shape[:2], 9.0)
    return lambda header: depth_message(header, wall[::2, ::2])


def in_another_frame(driver):
    wall = np.full(driver.picture.shape[:2], 2.0)

    def message(header):
        return depth_message(driver.robot.header(driver.stamp_ns, "depth_optical_frame"), wall)

    return message


def all_holes(driver):
    wall = np.full(driver.picture.shape[:2], 2.0)
    return lambda header: depth_message(header, wall, hole_share=1.0)


@pytest.mark.parametrize("ahead_s", [-3, 3])
def test_depth_seconds_ahead_or_behind_is_not_used_and_holds_nobody_up(driver, robot, without, ahead_s):
    """Its stamps, that is; depth that runs ahead tells at once that none will come."""
    wall = np.full(driver.picture.shape[:2], 2.0)

    def depth(header):
        driver.depths.publish(depth_message(driver.robot.header(driver.stamp_ns + ahead_s * 1_000_000_000), wall))

    before = robot.balanced_books()
    assert driver.settled(depth) == pytest.approx(without, rel=0.01)
    after = robot.balanced_books()
    assert after["processed"] - before["processed"] == after["received"] - before["received"] == FRAMES
    assert "no depth came in time" in robot.report("depth")[2]["last_problem"]


@pytest.mark.parametrize(("depth", "what"), [
    (scaled, "pixels, the image"), (in_another_frame, "in the frame 'depth_optical_frame'"), (all_holes, None)
])  # fmt: skip
def test_depth_that_will_not_do_changes_nothing(driver, robot, without, depth, what):
    assert driver.settled(depth(driver)) == pytest.approx(without, rel=0.01)
    if what:
        assert what in robot.report("depth")[2]["last_problem"]


def test_depth_of_other_intrinsics_is_not_used(driver, robot, without):
    wall = np.full(driver.picture.shape[:2], FARTHER * without)
    height, width = wall.shape
    info = camera_to_info(Camera.from_horizontal_fov(width, height, 95), robot.header())
    driver.depth_infos.publish(info)

    def is_told():
        driver.distance(lambda header: depth_message(header, wall))
        return "depth has the focal length" in robot.report("depth")[2]["last_problem"]

    robot.spin_until(is_told, 60, "the reason")
    assert driver.settled(lambda header: depth_message(header, wall)) == pytest.approx(without, rel=0.01)
    driver.depth_infos.publish(camera_to_info(driver.camera, robot.header()))
    robot.spin_for(0.3)


def test_the_counts_add_up_and_the_node_ends_well(driver, robot, depth_node):
    robot.balanced_books()
    for topic in ("depth", "depth_camera_info"):
        robot.silence(topic)
    driver.end()
    assert depth_node.stop() == 0
    assert "frame failed" not in depth_node.output()


def test_detections_are_the_regions(start_node, robot, clip):
    messages = pytest.importorskip("vision_msgs.msg", reason="needs vision_msgs")
    robot.forget()
    node = start_node("pose3d_node", {"use_detections": True, "sync_tolerance_s": 1.0})
    robot.wait_for_node(node)
    driver = Driver(robot, clip)
    detections = robot.advertise(messages.Detection2DArray, "detections")

    def people(*boxes, name="person"):
        image = driver.message()
        message = messages.Detection2DArray(header=image.header)
        for x0, y0, x1, y1 in boxes:
            thing = messages.Detection2D()
            thing.bbox.center.position.x, thing.bbox.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2
            thing.bbox.size_x, thing.bbox.size_y = x1 - x0, y1 - y0
            result = messages.ObjectHypothesisWithPose()
            result.hypothesis.class_id, result.hypothesis.score = name, 0.8
            thing.results.append(result)
            message.detections.append(thing)
        detections.publish(message)
        return cloud_to_joints(robot.answer_to(driver.images, image))

    assert [len(people()) for _ in range(3)] == [0, 0, 0]  # the own finder would have found the person
    alone = driver.message(step_s=3.0)
    (person,) = cloud_to_joints(robot.answer_to(driver.images, alone))  # and it does, where there are no detections
    points = np.stack([person["x"], person["y"], person["z"]], 1).astype(float)
    pixels = driver.camera.project(points)
    box = [float(value) for value in (*pixels.min(0) - 10, *pixels.max(0) + 10)]
    driver.stamp_ns -= 10_000_000_000
    assert len(people(box, name="dog")) == 0
    assert robot.set_parameters(person_class_ids="cat, dog") == ""
    assert len(people(box, name="dog")) == 1
    assert robot.set_parameters(person_class_ids="person,0") == ""
    driver.stamp_ns -= 10_000_000_000
    assert len(people(box)) == 1
    _, _, values = robot.report("detections")
    assert (int(values["images_with"]), int(values["images_without"])) == (6, 1)

    # A detector that is slower than the camera: its boxes serve the next images, while they are not too old.
    assert robot.set_parameters(sync_tolerance_s=0.03, detections_tolerance_s=0.2) == ""
    for step_s in (0.1, 0.15):
        robot.answer_to(driver.images, driver.message(step_s=step_s))
    _, _, values = robot.report("detections")
    assert (int(values["images_with"]), int(values["images_without"])) == (7, 2)
    robot.silence("detections")
    driver.end()
    assert node.stop() == 0


def transform(parent, child, shift, quaternion):
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    for axis, value in zip("xyz", shift, strict=True):
        setattr(message.transform.translation, axis, value)
    for axis, value in zip("xyzw", quaternion, strict=True):
        setattr(message.transform.rotation, axis, value)
    return message


def ground_after_some_images(driver, robot):
    """The node's report on the ground, and its camera_info has arrived."""
    for _ in range(3):
        driver.answer()
    return robot.report("ground")


def test_the_ground_by_tf(start_node, robot, clip):
    from rclpy.qos import DurabilityPolicy, QoSProfile

    robot.forget()
    node = start_node("pose3d_node", {"ground_frame": "base_footprint"})
    robot.wait_for_node(node)
    driver = Driver(robot, clip)
    assert "no TF between" in ground_after_some_images(driver, robot)[1]
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = robot.node.create_publisher(TFMessage, "/tf_static", latched)
    optical = (-0.5, 0.5, -0.5, 0.5)  # a level camera's optical frame in base_footprint (REP-103)
    static.publish(
        TFMessage(transforms=[transform("base_footprint", "camera_optical_frame", (0.1, 0.0, 1.25), optical)])
    )

    robot.spin_until(lambda: ground_after_some_images(driver, robot)[0] == 0, 60, "the ground")
    _, text, values = robot.report("ground")
    assert text == "the camera is 1.25 m above the ground"
    np.testing.assert_allclose([float(x) for x in values["up"].split()], [0, -1, 0], atol=1e-3)
    assert len(cloud_to_joints(driver.answer())) == 1
    robot.node.destroy_publisher(static)
    driver.end()
    assert node.stop() == 0


def test_the_ground_by_parameters_and_both_at_once(start_node, robot, clip):
    robot.forget()
    node = start_node("pose3d_node", {"camera_height_m": 1.2, "camera_pitch_deg": 5.0})
    robot.wait_for_node(node)
    driver = Driver(robot, clip)
    level, text, _ = ground_after_some_images(driver, robot)
    assert level == 0
    assert "1.20 m above" in text
    assert len(cloud_to_joints(driver.answer())) == 1
    driver.end()
    assert node.stop() == 0
    both = start_node("pose3d_node", {"camera_height_m": 1.2, "ground_frame": "base_footprint"})
    assert both.wait(60) == 1
    assert "set one of them" in both.output()


def test_without_vision_msgs_the_node_says_what_to_do(ros_environment, tmp_path):
    """A package of that name which cannot be imported stands for one that is not there."""
    (tmp_path / "vision_msgs").mkdir()
    (tmp_path / "vision_msgs" / "__init__.py").write_text("raise ImportError('not here')\n")
    path = ":".join(filter(None, [str(tmp_path), ros_environment.get("PYTHONPATH", "")]))
    log = tmp_path / "node.log"
    node = NodeProcess("pose3d_node", {"use_detections": True}, {**ros_environment, "PYTHONPATH": path}, log)
    started = time.monotonic()
    status = node.wait(60)
    node.stop()
    assert status == 1, f"{time.monotonic() - started:.0f} s: {node.output()}"
    assert "use_detections needs the package vision_msgs" in node.output()
    shutil.rmtree(tmp_path / "vision_msgs")
