"""What goes wrong within the node, or in a way that must be made: networks that hang, bags that pause, DDS that gives
out. The real node in this process, with stand-ins for its networks."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from node_here import StandIn
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.camera import Camera
from pose3d_ros.ros import camera_stream, pose3d_node
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image

CAMERA = Camera.from_horizontal_fov(64, 48, 60)
PICTURE = np.full((48, 64, 3), 128, np.uint8)
BAG_NS = 1_600_000_000_000_000_000


@pytest.fixture
def hanging():
    """Networks that hang with their first image, which `hangs` tells, until the test ends, or sets `go_on`."""
    hangs, go_on = threading.Event(), threading.Event()

    def work(views):
        hangs.set()
        go_on.wait(60)
        return [[] for _ in views]

    networks = StandIn(work)
    networks.hangs, networks.go_on = hangs, go_on
    yield networks
    go_on.set()


def picture(robot, stamp_ns=None):
    return bgr_to_image(PICTURE, robot.header(stamp_ns))


def send_until(robot, send, condition, what, period_s=0.05):
    """Calls `send` every so often until the condition holds."""
    due_s = 0.0

    def holds():
        nonlocal due_s
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + period_s
            send()
        return condition()

    robot.spin_until(holds, 60, what)


def says(robot, part, text, since=0):
    """Whether diagnostics have said this of a part, since so many of them were heard."""
    statuses = [s for message in robot.heard["diagnostics"][since:] for s in message.status]
    return any(s.name == f"pose3d: {part}" and text in s.message for s in statuses)


def test_networks_that_hang_are_told(start_here, robot, hanging):
    start_here(networks=hanging)
    images = robot.advertise(Image, "image")
    send_until(
        robot,
        lambda: images.publish(picture(robot)),
        lambda: says(robot, "images", "the networks hang or are far too slow"),
        "diagnostics to say that the networks hang",
    )
    hanging.go_on.set()
    since = len(robot.heard["diagnostics"])
    send_until(
        robot,
        lambda: images.publish(picture(robot)),
        lambda: says(robot, "images", "Hz processed", since),
        "diagnostics to be well",
    )


@pytest.mark.parametrize(("stamp_ns", "reason"), [(0, "stamp is zero"), (BAG_NS, "the same stamp")])
def test_a_limit_of_the_rate_hides_no_useless_stamps(start_here, robot, stamp_ns, reason):
    start_here({"max_rate_hz": 10.0})
    images = robot.advertise(Image, "image")
    send_until(
        robot,
        lambda: images.publish(picture(robot, stamp_ns)),
        lambda: says(robot, "images", "every image is rejected: ") and says(robot, "images", reason),
        "diagnostics to say that no image can be used",
    )
    assert robot.figure("dropped_over_rate") == "0"


def test_a_calibration_that_changes_with_every_image_is_told_once(start_here, robot, capfd):
    start_here()
    images, infos = robot.advertise(Image, "image"), robot.advertise(CameraInfo, "camera_info")
    for number in range(10):
        image = picture(robot)
        camera = Camera.from_horizontal_fov(64, 48, 5 + 0.1 * number)
        infos.publish(camera_to_info(camera, image.header))
        robot.answer_to(images, image)
    robot.wait_for_status("camera_info", lambda level, text: level == 1 and "implausible" in text, "the calibration")
    assert capfd.readouterr().err.count("implausible") == 1


def test_depth_that_is_there_is_not_waited_for(start_here, robot):
    """Stamped a little before its image, as by a sensor that exposes by itself."""
    start_here({"use_depth": True, "sync_tolerance_s": 1.0})
    images, depths = robot.advertise(Image, "image"), robot.advertise(Image, "depth")
    start_ns = time.time_ns()
    took_s = []
    for number in range(10):
        stamp_ns = start_ns + number * 100_000_000
        header = robot.header(stamp_ns - 200_000)
        depths.publish(Image(header=header, height=48, width=64, encoding="16UC1", step=128, data=bytes(48 * 128)))
        robot.spin_for(0.1)
        began_s = time.monotonic()
        robot.answer_to(images, picture(robot, stamp_ns))
        took_s.append(time.monotonic() - began_s)
    assert np.median(took_s) < 0.5


def test_networks_are_freed_when_the_activation_fails_half_way(start_here, robot, monkeypatch):
    networks = StandIn()
    start_here({"autostart": False, "cameras": ["front", "left"]}, networks)
    assert robot.change_state("configure")
    subscribe, left = camera_stream.MatchedSubscription, 2

    def run_out(*arguments):
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError("DDS is out of resources")
        return subscribe(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(camera_stream, "MatchedSubscription", run_out)
        assert not robot.change_state("activate")
    assert robot.state() == "unconfigured"
    assert networks.closed.is_set()
    robot.spin_until(lambda: not robot.node.count_subscribers("front/image"), 60, "the end of the subscription")
    assert robot.change_state("configure")
    assert robot.change_state("activate")
    robot.spin_until(lambda: robot.node.count_subscribers("left/image"), 60, "the topics")


@pytest.mark.parametrize(("transition", "is_made"), [("deactivate", False), ("shutdown", True)])
def test_networks_are_freed_after_the_image_that_they_hang_with(
    start_here, robot, hanging, monkeypatch, capfd, transition, is_made
):
    monkeypatch.setattr(pose3d_node, "_DEACTIVATION_TIMEOUT_S", 0.2)
    start_here(networks=hanging)
    images = robot.advertise(Image, "image")
    send_until(robot, lambda: images.publish(picture(robot)), hanging.hangs.is_set, "the image that hangs")
    assert robot.change_state(transition) == is_made
    assert not hanging.closed.is_set()
    hanging.go_on.set()
    assert hanging.closed.wait(60)
    assert "frame failed" not in capfd.readouterr().err


def test_a_disk_that_hangs_does_not_hinder_the_deactivation(start_here, robot, hanging_disk, monkeypatch, tmp_path):
    monkeypatch.setattr(pose3d_node, "_DEACTIVATION_TIMEOUT_S", 1.0)
    start_here({"record_hard_frames": True, "hard_frames_dir": str(tmp_path)})
    images = robot.advertise(Image, "image")
    send_until(robot, lambda: images.publish(picture(robot)), hanging_disk.hangs.is_set, "a hard frame")
    assert robot.change_state("deactivate")
    hanging_disk.go_on.set()


def test_two_cameras_with_different_clocks_on_one_topic_are_told(start_here, robot, capfd):
    start_here()
    images = robot.advertise(Image, "image")
    other = robot.node.create_publisher(Image, "image", 10)
    count = 0

    def send():
        nonlocal count
        count += 1
        images.publish(picture(robot))
        other.publish(picture(robot, BAG_NS + count * 50_000_000))

    told = "2 publishers on /image with different clocks: stop one"
    began_s = time.monotonic()
    send_until(robot, send, lambda: says(robot, "images", told), "the two")
    most = 1 + (time.monotonic() - began_s) / 5
    assert capfd.readouterr().err.count("everybody was forgotten") <= most
    robot.node.destroy_publisher(other)


@pytest.mark.parametrize(
    ("wanted", "kind", "topic", "advice"),
    [
        (
            "raw",
            CompressedImage,
            "image/compressed",
            "/image/compressed is published: set image_transport to compressed",
        ),
        ("compressed", Image, "image", "/image is published: set image_transport to raw"),
    ],
)
def test_images_of_the_other_transport_are_told(start_here, robot, wanted, kind, topic, advice):
    start_here({"image_transport": wanted})
    publisher = robot.node.create_publisher(kind, topic, 10)
    robot.spin_until(lambda: says(robot, "images", f"but {advice}"), 60, "what to do")
    robot.node.destroy_publisher(publisher)


class Bag:
    """A bag's player: /clock, camera_info and images, 20 a second of its own time."""

    def __init__(self, robot):
        self.robot = robot
        self.clock = robot.node.create_publisher(Clock, "/clock", 10)
        self.images, self.infos = robot.advertise(Image, "image"), robot.advertise(CameraInfo, "camera_info")
        self.now_ns = BAG_NS

    def play(self, ahead_ns=0):
        """The next image. ahead_ns: by how much its stamp is before the clock."""
        self.now_ns += 50_000_000
        self.clock.publish(Clock(clock=self.robot.header(self.now_ns).stamp))
        header = self.robot.header(self.now_ns + ahead_ns)
        self.infos.publish(camera_to_info(CAMERA, header))
        self.images.publish(bgr_to_image(PICTURE, header))

    def end(self):
        self.robot.node.destroy_publisher(self.clock)


@pytest.fixture
def bag(start_here, robot):
    start_here({"use_sim_time": True})
    bag = Bag(robot)
    yield bag
    bag.end()


def test_a_bag_that_pauses_is_not_taken_for_a_network_that_loses_images(bag, robot):
    send_until(robot, bag.play, lambda: says(robot, "images", "Hz processed"), "diagnostics to be well")
    since = len(robot.heard["diagnostics"])
    robot.spin_until(lambda: says(robot, "images", "no image on /image", since), 60, "the pause")
    assert not says(robot, "images", "camera_info comes", since)


def test_who_has_simulated_time_is_not_told_to_set_it(bag, robot):
    send_until(
        robot, lambda: bag.play(ahead_ns=10**17), lambda: says(robot, "images", "s in the future"), "the wrong clock"
    )
    assert says(robot, "images", "use_sim_time is set, and /clock is not of these images")
    assert not says(robot, "images", "or set use_sim_time")
