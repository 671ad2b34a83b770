"""What the node says about itself, in every state."""

from dataclasses import replace

import numpy as np
import pytest

from pose3d_ros.person import Ground
from pose3d_ros.ros.beside import Use
from pose3d_ros.ros.calibration import CalibrationState
from pose3d_ros.ros.diagnosis import (
    ImageSource,
    build_finding,
    camera_finding,
    companion_finding,
    engine_finding,
    ground_finding,
    image_finding,
    lifecycle_finding,
)
from pose3d_ros.ros.health import Finding, Level, to_diagnostics
from pose3d_ros.ros.stream_monitor import Gaps, StreamMonitor

EMPTY = StreamMonitor().read(0)
BEFORE = replace(EMPTY, received=100, processed=90, dropped=10)
GOOD = replace(BEFORE, received=130, processed=117, dropped=13, input_rate_hz=30.0, output_rate_hz=27.0, lost_share=0.0)
SLOW = replace(GOOD, input_rate_hz=1.0, output_rate_hz=1.0)
AT_14_HZ = Gaps(int(1e9 / 14), 0, 0, 0.0)
SOURCE = ImageSource("/image", "reliable", 1, "", "camera")


@pytest.mark.parametrize(
    ("now", "before", "source", "level", "text"),
    [
        (GOOD, BEFORE, SOURCE, Level.OK, "27.0 of 30.0 Hz"),
        (EMPTY, None, SOURCE._replace(publishers=0), Level.WARN, "nobody publishes /image"),
        (
            EMPTY,
            None,
            SOURCE._replace(publishers=0, elsewhere="/image/compressed is published"),
            Level.WARN,
            "nobody publishes /image, but /image/compressed is published",
        ),
        (EMPTY, None, SOURCE, Level.WARN, "no image on /image"),
        (BEFORE, BEFORE, SOURCE, Level.WARN, "no image on /image"),
        (replace(SLOW, silence_s=1.9), SLOW, SOURCE, Level.OK, "1.0 of 1.0 Hz"),
        (replace(SLOW, silence_s=2.6), SLOW, SOURCE, Level.WARN, "no image on /image"),
        (replace(GOOD, silence_s=0.2), GOOD, SOURCE, Level.WARN, "no image on /image"),
        (replace(EMPTY, camera_infos=30), None, SOURCE, Level.WARN, "fastdds.xml"),
        (replace(BEFORE, camera_infos=30), replace(BEFORE, camera_infos=29), SOURCE, Level.WARN, "though it has a"),
        (EMPTY, None, SOURCE._replace(problem="usb_cam is best effort"), Level.ERROR, "usb_cam is best effort"),
        (replace(GOOD, rejected=5, last_rejection="odd"), BEFORE, SOURCE, Level.WARN, "some images are rejected: odd"),
        (
            replace(GOOD, processed=90, rejected=30, last_rejection="odd"),
            BEFORE,
            SOURCE,
            Level.ERROR,
            "every image is rejected: odd",
        ),
        (replace(GOOD, processed=90), replace(BEFORE, waiting=1), SOURCE, Level.ERROR, "the networks hang"),
        (replace(GOOD, processed=91), replace(BEFORE, waiting=1), SOURCE, Level.OK, "27.0 of 30.0 Hz"),
        (replace(GOOD, processed=90, waiting=1), BEFORE, SOURCE, Level.OK, "27.0 of 30.0 Hz"),  # just come
        (GOOD, BEFORE, SOURCE._replace(frame_id=""), Level.WARN, "frame_id"),
        (
            replace(GOOD, lost_share=0.73, gaps=Gaps(33, 60, 220, 0.73)),
            BEFORE,
            SOURCE,
            Level.WARN,
            "73 % of the images are lost on the way",
        ),
        # camera_info of every image of the camera, and of each third that a throttle lets through.
        (replace(GOOD, lost_share=0.67, gaps=Gaps(100, 0, 0, 0.0)), BEFORE, SOURCE, Level.OK, "27.0 of 30.0 Hz"),
        (
            replace(GOOD, lost_share=float("nan"), gaps=Gaps(33, 9, 20, 0.4)),
            BEFORE,
            SOURCE,
            Level.WARN,
            "fastdds.xml",
        ),
        (replace(GOOD, gaps=Gaps(33, 9, 20, 0.4)), BEFORE, SOURCE, Level.WARN, "too slow"),
        (
            replace(GOOD, gaps=AT_14_HZ),
            BEFORE,
            SOURCE._replace(expected_rate_hz=30.0),
            Level.WARN,
            "14.0 images a second",
        ),
        (replace(GOOD, gaps=AT_14_HZ), BEFORE, SOURCE._replace(expected_rate_hz=27.0), Level.OK, "27.0 of 30.0 Hz"),
        (replace(GOOD, gaps=AT_14_HZ), BEFORE, SOURCE, Level.OK, "27.0 of 30.0 Hz"),
        (GOOD, BEFORE, SOURCE._replace(expected_rate_hz=30.0), Level.OK, "27.0 of 30.0 Hz"),  # too few to tell
        (
            replace(GOOD, gaps=AT_14_HZ, output_rate_hz=2.0),  # max_rate_hz
            BEFORE,
            SOURCE._replace(expected_rate_hz=15.0),
            Level.OK,
            "2.0 of 30.0 Hz",
        ),
        (BEFORE, BEFORE, SOURCE._replace(expected_rate_hz=30.0), Level.WARN, "no image on /image"),
        (replace(GOOD, unwanted=9), BEFORE, SOURCE, Level.OK, "nobody subscribes"),
        (replace(GOOD, time_jumps=1, last_jump_s=9.5), BEFORE, SOURCE, Level.WARN, "jumped back by 9.500 s"),
        (
            replace(GOOD, time_jumps=9, last_jump_s=9.5),
            BEFORE,
            SOURCE._replace(publishers=2),
            Level.ERROR,
            "2 publishers on /image with different clocks: stop one",
        ),
        # A camera that came back, while DDS still believes that its killed process is there.
        (
            replace(GOOD, time_jumps=1, last_jump_s=9.5),
            BEFORE,
            SOURCE._replace(publishers=2),
            Level.WARN,
            "jumped back by 9.500 s",
        ),
        (replace(GOOD, age_s=-0.3), BEFORE, SOURCE, Level.WARN, "0.300 s in the future"),
        (replace(GOOD, age_s=-0.01), BEFORE, SOURCE, Level.OK, "27.0 of 30.0 Hz"),
        (replace(GOOD, age_s=1e6), BEFORE, SOURCE, Level.WARN, "1000000 s in the past"),
        (replace(GOOD, age_s=-9.0), BEFORE, SOURCE._replace(clock_runs=False), Level.WARN, "/clock"),
        (replace(GOOD, age_s=-9.0), BEFORE, SOURCE._replace(simulated=True), Level.WARN, "future: use_sim_time is set"),
        (replace(GOOD, age_s=1e6), BEFORE, SOURCE._replace(simulated=True), Level.WARN, "past: use_sim_time is set"),
    ],
)
def test_the_images_state(now, before, source, level, text):
    finding = image_finding(now, before, source)
    assert finding.level == level
    assert text in finding.message
    assert finding.values["received"] == str(now.received)


@pytest.mark.parametrize(
    ("rates_hz", "told"),
    [
        ([(30, 400), (5, 400)], True),  # from one moment to the next
        ([(rate, 60) for rate in range(30, 4, -1)], True),
        ([(30, 400), (16, 400)], False),
        ([(5, 100), (30, 400)], False),  # a camera that is just starting
        ([(30, 200), (0.25, 1), (30, 200)], False),  # a pause
        ([(30, 200), (0.1, 1), (30, 200)], False),  # switched off for a while
    ],
)
def test_a_camera_that_slows_down(rates_hz, told):
    """Of the images' steps alone, against the best rate so far; the node reports every ten of them."""
    monitor = StreamMonitor()
    now_ns, best_hz, messages = 1_000_000_000, 0.0, []
    for number, rate_hz in enumerate(rate_hz for rate_hz, images in rates_hz for _ in range(images)):
        now_ns += round(1e9 / rate_hz)
        monitor.frame_received(now_ns, now_ns)
        if number % 10 == 0:
            now = monitor.read(now_ns)
            best_hz = max(best_hz, now.gaps.steady_rate_hz)
            messages.append(image_finding(now, None, SOURCE._replace(expected_rate_hz=best_hz)).message)
    assert any("not half of the 30" in message for message in messages) == told


def test_the_calibrations_state():
    waiting = CalibrationState(Level.WARN, "no camera_info")
    assert camera_finding(waiting, EMPTY, "/camera_info", "").level == Level.WARN
    mismatch = camera_finding(waiting, EMPTY, "/camera_info", "usb_cam is best effort")
    assert (mismatch.level, mismatch.message) == (Level.ERROR, "usb_cam is best effort")
    assert camera_finding(CalibrationState(Level.OK, "fine"), EMPTY, "/camera_info", "").message == "fine"


def test_the_managed_nodes_state():
    assert lifecycle_finding("active", "", "/pose3d", 1)[1:3] == (Level.OK, "active")
    twins = lifecycle_finding("active", "", "/pose3d", 2)
    assert (twins.level, twins.message[:29]) == (Level.WARN, "2 nodes are called /pose3d: t")
    broken = lifecycle_finding("unconfigured", "cannot configure: no file", "/pose3d", 2)
    assert (broken.level, broken.message) == (Level.ERROR, "unconfigured: cannot configure: no file")


def test_the_networks_state():
    well = engine_finding("pose2d.onnx", {"find": 1.25}, "")
    assert (well.level, well.values["find_ms"]) == (Level.OK, "1.2")
    assert engine_finding("pose2d.onnx", {}, "out of memory").level == Level.ERROR


def test_networks_that_are_being_built():
    building = build_finding("building pose2d.onnx: Tactics", 0.43, "")
    assert (building.level, building.values["built_percent"]) == (Level.WARN, "43")
    assert building.message == "building pose2d.onnx: Tactics, 43 %; frames are dropped meanwhile"
    failed = build_finding("TensorRT cannot", 0.3, "TensorRT cannot")
    assert (failed.level, failed.message) == (Level.ERROR, "TensorRT cannot")


def test_the_message_follows_rep_107():
    pytest.importorskip("diagnostic_msgs", reason="needs the ROS 2 message packages")
    from builtin_interfaces.msg import Time

    array = to_diagnostics([Finding("images", Level.ERROR, "bad", {"a": "b"})], "pose3d", Time(sec=3))
    (status,) = array.status
    assert array.header.stamp.sec == 3
    assert (status.name, status.level, status.message) == ("pose3d: images", b"\x02", "bad")
    assert (status.values[0].key, status.values[0].value) == ("a", "b")


@pytest.mark.parametrize(
    ("publishers", "problem", "now", "level", "text"),
    [
        (1, "", Use(30, 5, "old"), Level.OK, "20 of 20 images with depth"),
        (1, "", Use(15, 20, "too late"), Level.OK, "5 of 20 images with depth"),  # a sensor at a quarter of the rate
        (1, "", Use(10, 25, "too small"), Level.WARN, "20 images without depth: too small"),
        (0, "", Use(10, 5), Level.WARN, "nobody publishes /depth"),
        (1, "it is best effort", Use(10, 5), Level.ERROR, "it is best effort"),
    ],
)
def test_depth(publishers, problem, now, level, text):
    finding = companion_finding("depth", "/depth", publishers, problem, now, Use(10, 5))
    assert (finding.part, finding.level) == ("depth", level)
    assert text in finding.message
    assert finding.values["images_with"] == str(now.used)


def test_ground():
    known = ground_finding(Ground(np.array([0.0, -1.0, 0.0]), 1.25), "")
    assert (known.level, known.values["camera_height_m"]) == (Level.OK, "1.250")
    assert ground_finding(None, "no TF").level == Level.WARN
    assert ground_finding(None, "").level == Level.OK
