"""The real node in its own process, over real DDS, on the package's clip: what it sends, and what it survives."""

import array
import json
import time
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import Marker

from pose3d_ros import skeleton
from pose3d_ros.ros.camera_conversion import camera_to_info, stamp_to_ns
from pose3d_ros.ros.image_conversion import bgr_to_image, image_to_bgr
from pose3d_ros.ros.parameters import PARAMETERS, Change
from pose3d_ros.ros.people_conversion import cloud_to_joints
from pose3d_ros.ros.video_publisher import DEFAULT_VIDEO

FRAME = "camera_optical_frame"
STEP = 3  # every third frame of the clip is enough
GOOD_FRAME = 150


@dataclass(repr=False)  # pytest would print all the messages
class Camera:
    """A driver with the clip's calibration; stamps are in the clip's time, at an offset."""

    robot: object
    clip: tuple
    images: object
    infos: object
    offset_ns: int

    def send(self, index, output="joints"):
        """Sends a frame of the clip with its camera_info, and returns the answer."""
        header = self.robot.header(self.offset_ns + self.clip[1][index])
        self.infos.publish(camera_to_info(self.clip[2], header))
        return self.robot.answer_to(self.images, bgr_to_image(self.clip[0][index], header), output)

    def calibrate(self, **fields):
        """Sends a changed camera_info, and gives it time to arrive."""
        info = camera_to_info(self.clip[2], self.robot.header())
        for name, value in fields.items():
            setattr(info, name, value)
        self.infos.publish(info)
        self.robot.spin_for(0.3)

    def next_header(self):
        """A header for an image of the test's own, later than all before it."""
        self.offset_ns += 20_000_000_000
        return self.robot.header(self.offset_ns)


@pytest.fixture(scope="module")
def camera(node, robot, clip):
    images = robot.advertise(Image, "image")
    # The clip lies in the past: played faster than it was recorded, its stamps must not overtake the clock.
    began_ns = time.time_ns() - clip[1][-1]
    camera = Camera(robot, clip, images, robot.advertise(CameraInfo, "camera_info"), began_ns)
    camera.calibrate()
    return camera


@dataclass(repr=False)
class Played:
    """All that came back for the clip: index of the frame by stamp, and outputs by kind."""

    index: dict
    heard: dict

    def joints(self):
        """(index of the frame, joints [people, 24]) of every image."""
        return [(self.index[stamp_to_ns(m.header.stamp)], cloud_to_joints(m)) for m in self.heard["joints"]]


@pytest.fixture(scope="module")
def played(camera, robot, clip):
    for index in range(0, len(clip[0]), STEP):
        camera.send(index, "overlay")  # the last of the outputs
    robot.spin_until(lambda: len(robot.heard["joints"]) == len(robot.heard["overlay"]), 60, "joints of every image")
    robot.spin_for(0.5)
    index = {camera.offset_ns + clip[1][i]: i for i in range(0, len(clip[0]), STEP)}
    return Played(index, {name: list(messages) for name, messages in robot.heard.items()})


@pytest.fixture(scope="module")
def truth():
    """The clip's true joints: per frame [24, 3] in metres, or None while nobody is there."""
    frames = json.loads(DEFAULT_VIDEO.with_suffix(".json").read_text(encoding="utf-8"))["joints_m"]
    return [None if joints is None else np.array(joints) for joints in frames]


# ---- outputs ---------------------------------------------------------------------------------------------------------


def test_topics_have_the_documented_types_and_are_reliable(node, robot):
    types = dict(robot.node.get_topic_names_and_types())
    expected = {
        "/pose3d/markers": "visualization_msgs/msg/MarkerArray",
        "/pose3d/joints": "sensor_msgs/msg/PointCloud2",
        "/pose3d/overlay": "sensor_msgs/msg/Image",
        "/tf": "tf2_msgs/msg/TFMessage",
        "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
        "/image": "sensor_msgs/msg/Image",
        "/camera_info": "sensor_msgs/msg/CameraInfo",
    }
    assert {topic: types.get(topic) for topic in expected} == {topic: [kind] for topic, kind in expected.items()}
    for topic in list(expected)[:5]:
        (endpoint,) = robot.node.get_publishers_info_by_topic(topic)
        assert endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_every_output_carries_the_stamp_and_frame_of_an_image(played):
    for name in ("markers", "joints", "overlay", "tf"):
        messages = played.heard[name]
        if name == "markers":
            messages = [marker for message in messages for marker in message.markers]
        elif name == "tf":
            messages = [transform for message in messages for transform in message.transforms]
        assert messages
        assert {stamp_to_ns(m.header.stamp) for m in messages} <= played.index.keys()
        assert {m.header.frame_id for m in messages} == {FRAME}


def test_every_image_has_its_joints_and_its_overlay(played):
    for name in ("joints", "overlay"):
        assert {stamp_to_ns(m.header.stamp) for m in played.heard[name]} == played.index.keys()


def test_the_person_is_found_with_24_joints(played, truth):
    present = {i for i in played.index.values() if truth[i] is not None}
    found = {i for i, people in played.joints() if len(people)}
    assert len(found & present) >= 0.8 * len(present)
    for _, people in played.joints():
        for person in people:
            assert person["joint"].tolist() == list(range(24))
            assert len(set(person["person"].tolist())) == 1
            assert np.isfinite(person["sigma"]).all()
            assert ((person["confidence"] >= 0) & (person["confidence"] <= 1)).all()
            assert set(person["state"].tolist()) <= {0, 1, 2}


def test_the_person_is_where_the_clip_has_them(played, truth):
    errors = []
    for index, people in played.joints():
        if truth[index] is not None and len(people):
            pelvis = people[0][skeleton.ROOT]
            errors.append(np.linalg.norm([pelvis["x"], pelvis["y"], pelvis["z"]] - truth[index][skeleton.ROOT]))
    assert np.median(errors) < 0.6


def test_transforms_form_a_tree_under_the_cameras_frame(played):
    clouds = dict(played.joints())
    assert played.heard["tf"]
    for message in played.heard["tf"]:
        stamps = {stamp_to_ns(t.header.stamp) for t in message.transforms}
        assert len(stamps) == 1  # all of a frame in one message
        people = clouds[played.index[stamps.pop()]]
        names = [t.child_frame_id for t in message.transforms]
        assert names == [f"person_{p['person'][0]}/{joint}" for p in people for joint in skeleton.JOINTS]
        assert {t.header.frame_id for t in message.transforms} == {FRAME}
        places = [
            [t.transform.translation.x, t.transform.translation.y, t.transform.translation.z]
            for t in message.transforms
        ]
        clouded = np.stack([people["x"], people["y"], people["z"]], -1).reshape(-1, 3)
        np.testing.assert_allclose(places, clouded, rtol=1e-5, atol=1e-6)
        assert all(t.transform.rotation.w == 1 for t in message.transforms)


def test_no_transform_is_sent_twice_with_one_stamp(played):
    sent = [(t.child_frame_id, stamp_to_ns(t.header.stamp)) for m in played.heard["tf"] for t in m.transforms]
    assert len(sent) == len(set(sent))


def test_markers_are_deleted_when_the_person_leaves(played):
    shown = set()
    most = 0
    for message in played.heard["markers"]:
        for marker in message.markers:
            assert marker.action in (Marker.ADD, Marker.DELETE)
            if marker.action == Marker.ADD:
                shown.add((marker.ns, marker.id))
            else:
                assert (marker.ns, marker.id) in shown
                shown.remove((marker.ns, marker.id))
        most = max(most, len(shown))
    assert most >= 4
    assert not shown  # nobody is in the clip's last frames


def test_the_overlay_is_the_image_with_the_people_on_it(played, clip):
    people = dict(played.joints())
    changed = 0
    for message in played.heard["overlay"]:
        index = played.index[stamp_to_ns(message.header.stamp)]
        assert message.encoding == "bgr8"
        same = np.array_equal(image_to_bgr(message), clip[0][index])
        assert len(people[index]) == 0 or not same
        changed += not same
    assert 0 < changed < len(played.index)


def test_diagnostics_tell_rates_latency_and_what_runs(played, robot):
    _, _, images = robot.report("images")
    assert int(images["received"]) == len(played.index)
    assert int(images["processed"]) == len(played.index)
    assert images["rejected"] == images["dropped"] == images["waiting"] == "0"
    assert images["reliability"] == "reliable"
    assert float(images["latency_p50_ms"]) > 0
    assert float(images["latency_p99_ms"]) >= float(images["latency_p95_ms"]) >= float(images["latency_p50_ms"])
    assert robot.report("camera_info")[0] == 0
    level, _, networks = robot.report("networks")
    assert level == 0
    assert networks["networks"]
    assert float(networks["find_ms"]) >= 0


# ---- bad input -------------------------------------------------------------------------------------------------------


def assert_person_is_found(camera):
    """Sends a few good frames of the clip: somebody must be there, in metres."""
    camera.next_header()
    clouds = [camera.send(index) for index in range(GOOD_FRAME, GOOD_FRAME + 4)]
    joints = cloud_to_joints(clouds[-1])
    assert len(joints) == 1
    assert 1 < joints[0]["z"][skeleton.ROOT] < 8


def spoiled(**fields):
    """What to change in a good image, and what to say to it."""
    return fields


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (spoiled(encoding="nonsense"), "unknown encoding 'nonsense'"),
        (spoiled(encoding="mono16"), "more than 8 bits"),
        (spoiled(encoding="16UC1"), "more than 8 bits"),
        (spoiled(data=array.array("B", bytes(1000))), "truncated"),
        (spoiled(width=0, height=0, step=0, data=array.array("B")), "empty picture"),
        (spoiled(step=7), "step is"),
        (spoiled(width=100_000, height=100_000, step=300_000), "above the limit"),
        (spoiled(stamp=0), "stamp is zero"),
    ],
)
def test_a_bad_image_is_counted_with_its_reason_and_the_next_is_right(camera, robot, clip, fields, reason):
    assert_person_is_found(camera)
    robot.report("images")
    rejected = int(robot.figure("rejected"))
    fields = dict(fields)
    header = camera.next_header() if "stamp" not in fields else robot.header(fields.pop("stamp"))
    image = bgr_to_image(clip[0][GOOD_FRAME], header)
    for name, value in fields.items():
        setattr(image, name, value)
    camera.images.publish(image)
    robot.spin_until(lambda: int(robot.figure("rejected")) == rejected + 1, 60, "the rejection")
    assert reason in robot.figure("last_rejection")
    assert_person_is_found(camera)


def test_an_image_sent_twice_is_counted(camera, robot, clip, node):
    image = bgr_to_image(clip[0][0], camera.next_header())
    robot.answer_to(camera.images, image)
    camera.images.publish(image)
    robot.spin_until(lambda: "same stamp" in robot.figure("last_rejection"), 60, "the rejection")
    assert "image rejected: " in node.output()


def test_noise_gives_an_answer(camera, robot):
    random = np.random.default_rng(0)
    for _ in range(3):
        noise = random.integers(0, 256, (480, 640, 3), np.uint8)
        robot.answer_to(camera.images, bgr_to_image(noise, camera.next_header()))
    assert_person_is_found(camera)


def test_twenty_megapixels_are_processed(camera, robot, clip):
    large = cv2.resize(clip[0][GOOD_FRAME], (5184, 3888), interpolation=cv2.INTER_LINEAR)
    overlay = robot.answer_to(camera.images, bgr_to_image(large, camera.next_header()), "overlay")
    assert overlay.header.frame_id == FRAME
    assert (overlay.width, overlay.height) == (1920, 1440)
    assert_person_is_found(camera)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"k": [float("nan")] * 9}, "not calibrated"),
        ({"width": 640, "height": 360}, "another shape"),
        ({"d": [0.1] * 3}, "3 coefficients"),
        ({"distortion_model": "magic", "d": [0.1] * 5}, "magic"),
    ],
)
def test_a_useless_camera_info_takes_the_metres_and_a_good_one_brings_them_back(camera, robot, clip, fields, reason):
    assert_person_is_found(camera)
    camera.calibrate(**fields)

    def has_no_metres():
        return not robot.answer_to(camera.images, bgr_to_image(clip[0][GOOD_FRAME], camera.next_header())).width

    robot.spin_until(lambda: all([has_no_metres() for _ in range(4)]), 60, "joints without metres to end")
    level, message, _ = robot.report("camera_info")
    assert level == 1
    assert reason in message
    camera.calibrate()
    assert_person_is_found(camera)


# ---- time, parameters, the end ---------------------------------------------------------------------------------------


def test_a_jump_back_in_time_is_noticed_and_survived(camera, robot, node):
    assert_person_is_found(camera)
    jumps = int(robot.report("images")[2]["time_jumps"])
    camera.offset_ns -= 3_600_000_000_000
    assert_person_is_found(camera)
    assert int(robot.report("images")[2]["time_jumps"]) == jumps + 1
    assert "time jumped back" in node.output()


def test_every_parameter_tells_what_it_is(node, robot):
    request = DescribeParameters.Request(names=[spec.name for spec in PARAMETERS])
    answers = robot.call(DescribeParameters, "pose3d/describe_parameters", request).descriptors
    for spec, found in zip(PARAMETERS, answers, strict=True):
        assert found.description == spec.description
        assert found.read_only == (spec.change == Change.NEVER)
        if type(spec.default) is int:
            assert found.integer_range[0].to_value == spec.maximum
        elif type(spec.default) is float:
            assert found.floating_point_range[0].to_value == spec.maximum


def text_parameter(name, value):
    kind = ParameterType.PARAMETER_STRING
    return Parameter(name=name, value=ParameterValue(type=kind, string_value=value))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("tf_prefix", "/no good", "frame names"),
        ("reliability", "fast", "one of"),
        ("model_dir", "elsewhere", "the node is active; clean it up first"),
    ],
)
def test_a_parameter_is_refused_with_a_reason(node, robot, name, value, reason):
    request = SetParameters.Request(parameters=[text_parameter(name, value)])
    (result,) = robot.call(SetParameters, "pose3d/set_parameters", request).results
    assert not result.successful
    assert reason in result.reason
    values = robot.call(GetParameters, "pose3d/get_parameters", GetParameters.Request(names=[name])).values
    assert values[0].string_value == {spec.name: spec.default for spec in PARAMETERS}[name]


def test_a_live_parameter_holds_from_the_next_frame_on(camera, robot):
    request = SetParameters.Request(parameters=[text_parameter("tf_prefix", "robot/human_")])
    assert robot.call(SetParameters, "pose3d/set_parameters", request).results[0].successful
    assert_person_is_found(camera)

    def is_renamed():
        return robot.heard["tf"][-1].transforms[0].child_frame_id.startswith("robot/human_")

    robot.spin_until(is_renamed, 60, "frames of the new name")


def test_a_publisher_that_comes_back_with_another_reliability_is_heard(camera, robot, clip):
    robot.silence("image")
    camera.images = robot.advertise(Image, "image", "best_effort")

    def matched():
        return robot.figure("reliability") == "best_effort"

    robot.spin_until(matched, 60, "the subscription to follow")
    robot.spin_for(1.0)
    assert_person_is_found(camera)


def test_counters_add_up_after_a_storm(camera, robot, clip):
    before = robot.balanced_books()
    for index in range(60):
        camera.images.publish(bgr_to_image(clip[0][index], camera.next_header()))
        robot.spin_for(0.005)
    after = robot.balanced_books()
    assert after["received"] > before["received"]
    assert after["rejected"] == before["rejected"]


def test_the_node_ends_within_two_seconds_and_without_a_traceback(node, camera, clip, shutdown_limit_s):
    for index in range(5):
        camera.images.publish(bgr_to_image(clip[0][index], camera.next_header()))
    started = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - started < shutdown_limit_s
    assert "Traceback" not in node.output()
