"""The real node and time: stamps that jump, repeat, lie in the future; a bag played again; simulated time."""

import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from camera_driver import CameraTopics
from rosgraph_msgs.msg import Clock

from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_image
from pose3d_ros.ros.people_conversion import cloud_to_joints

SECOND = 1_000_000_000
BAG = range(120, 240, 3)  # frames of the clip with somebody in them
START_NS = 1_700_000_000 * SECOND


class Player(CameraTopics):
    """Plays frames of the clip as a bag: waits for each one's joints, so that none is dropped."""

    def __init__(self, robot, clip):
        super().__init__(robot)
        self.clip = clip
        self.node_name = "pose3d"

    def send(self, index, start_ns):
        """One frame, its stamp counted from the start; its cloud."""
        header = self.robot.header(start_ns + self.clip[1][index] - self.clip[1][BAG[0]])
        self.infos.publish(camera_to_info(self.clip[2], header))
        return self.robot.answer_to(self.images, bgr_to_image(self.clip[0][index], header))

    def play(self, start_ns=START_NS, indices=BAG):
        """The bytes of every frame's joints."""
        # As a bag's player does with a latched topic; an image must not overtake the first calibration.
        self.infos.publish(camera_to_info(self.clip[2], self.robot.header(start_ns)))
        self.robot.spin_for(1.0)
        self.robot.forget()
        return [bytes(self.send(index, start_ns).data) for index in indices]

    def people(self, start_ns, number=4):
        """Ids of the people after some frames."""
        clouds = [self.send(index, start_ns) for index in range(150, 150 + number)]
        return cloud_to_joints(clouds[-1])["person"][:, 0].tolist()

    def play_until_told(self, start_ns, part, text, tick=lambda now_ns: None):
        """Plays until diagnostics say something of a part. tick: called with the time of what is played next."""

        def told():
            return any(text in message for message in said())

        def said():
            statuses = [status for message in self.robot.heard["diagnostics"] for status in message.status]
            return [status.message for status in statuses if status.name == f"{self.node_name}: {part}"]

        self.robot.forget()
        deadline = time.monotonic() + 60
        for count in range(10_000):
            now_ns = start_ns + count * SECOND // 2
            tick(now_ns)
            self.people(now_ns - self.clip[1][150] + self.clip[1][BAG[0]], number=15)  # half a second, without a gap
            if told():
                return
            assert time.monotonic() < deadline, f"of {part} only {said()}, never '{text}'"


@pytest.fixture(scope="module")
def player(node, robot, clip):
    return Player(robot, clip)


@pytest.fixture(scope="module")
def first_run(player):
    return player.play()


def test_a_bag_that_begins_again_gives_the_same_bytes(player, first_run, robot):
    assert sum(len(joints) > 0 for joints in first_run) > 0.8 * len(BAG)
    before = jumps(robot)
    for _ in range(2):
        assert player.play() == first_run
    assert jumps(robot) == before + 2


def test_another_node_gives_the_same_bytes(start_node, robot, player, first_run, node):
    player.end()
    node.stop()
    robot.forget()
    robot.wait_for_node(start_node("pose3d_node"))
    player.advertise()
    assert player.play() == first_run


def jumps(robot):
    return int(robot.report("images")[2]["time_jumps"])


def test_a_camera_that_was_restarted_counts_from_its_own_start(player, robot):
    """A driver that stamps with the camera's time since power-on."""
    assert player.people(START_NS + 100 * SECOND)
    before = jumps(robot)
    assert player.people(3 * SECOND) == [1]
    assert jumps(robot) == before + 1


def test_a_camera_that_was_away_comes_back_with_nobody_followed(player, robot):
    followed = player.people(START_NS + 200 * SECOND)
    before = jumps(robot)
    assert player.people(START_NS + 800 * SECOND) == [followed[0] + 1]  # not the one of ten minutes ago
    assert jumps(robot) == before


def test_a_jump_back_is_told(player):
    player.people(START_NS + 900 * SECOND)
    player.play_until_told(START_NS + 1000 * SECOND, "images", "s in the past: set use_sim_time")
    player.play_until_told(START_NS + 300 * SECOND, "images", "so that everybody was forgotten")


def test_stamps_from_the_future_are_worked_on_and_told(player, robot):
    player.play_until_told(time.time_ns() + 3600 * SECOND, "images", "s in the future: synchronise")
    before = jumps(robot)
    assert player.people(time.time_ns() - 5 * SECOND) == [1]  # and back: that is a jump
    assert jumps(robot) == before + 1


def test_the_last_stamp_that_ros_knows(player):
    last = (2**31 - 2) * SECOND
    assert len(player.people(last)) == 1
    assert player.people(last - 10 * SECOND) == [1]


def test_an_image_that_was_overtaken_is_rejected_and_the_person_stays(player, robot, clip):
    start_ns = START_NS + 400 * SECOND
    followed = player.people(start_ns, 6)
    rejected = int(robot.report("images")[2]["rejected"])
    header = robot.header(start_ns + clip[1][152] - clip[1][BAG[0]])
    player.images.publish(bgr_to_image(clip[0][152], header))
    robot.spin_until(lambda: robot.figure("rejected") == str(rejected + 1), 60, "the rejection")
    assert "older than the one before" in robot.figure("last_rejection")
    assert cloud_to_joints(player.send(156, start_ns))["person"][:, 0].tolist() == followed


def test_without_a_stamp_an_image_is_rejected(player, robot, clip):
    rejected = int(robot.report("images")[2]["rejected"])
    player.images.publish(bgr_to_image(clip[0][150], robot.header(0)))
    robot.spin_until(lambda: robot.figure("rejected") == str(rejected + 1), 60, "the rejection")
    assert "stamp is zero" in robot.figure("last_rejection")


def test_simulated_time(start_node, robot, player):
    player.end()
    player.node_name = "pose3d_sim"
    node = start_node(
        "pose3d_node", {"use_sim_time": True}, "-r", "__node:=pose3d_sim", "-r", "~/joints:=pose3d/joints"
    )
    robot.spin_until(lambda: "the node is active" in node.output(), 60, "the node")
    player.advertise()
    # Without a clock images are worked on all the same: their stamps are all that counts.
    player.play_until_told(START_NS, "images", "nobody publishes /clock")

    clock = robot.node.create_publisher(Clock, "/clock", 10)
    robot.spin_until(clock.get_subscription_count, 60, "a listener to the clock")

    def tick(now_ns):
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns + SECOND // 2, SECOND)
        clock.publish(message)
        robot.spin_for(0.05)

    player.play_until_told(START_NS + 500 * SECOND, "images", "Hz processed, latency", tick)
    own = [m for m in robot.heard["diagnostics"] if m.status[0].name.startswith(player.node_name)]
    assert 500 <= own[-1].header.stamp.sec - START_NS // SECOND <= 700
    # The clock has stopped, and images and reports go on.
    assert player.people(START_NS + 900 * SECOND)
    player.play_until_told(START_NS + 1000 * SECOND, "images", "s in the future")
    assert node.stop() == 0
    assert "Traceback" not in node.output()
