"""One camera's way from message to the frame."""

import array

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="needs the ROS 2 message packages")

from sensor_msgs.msg import CameraInfo, Image

from pose3d_ros.follower import Follower
from pose3d_ros.person import Ground
from pose3d_ros.ros.beside import Beside
from pose3d_ros.ros.camera_stream import _calibration_options
from pose3d_ros.ros.frame_processor import CalibrationOptions, FrameProcessor
from pose3d_ros.ros.image_conversion import BadImageError

OPTIONS = CalibrationOptions(rectified=False, assumed_fov_deg=0.0, timeout_s=2.0)


class Recorder(Follower):
    """Notes when it is told to forget everybody."""

    resets = -1  # a follower begins with one

    def reset(self):
        self.resets += 1
        super().reset()


@pytest.fixture
def follower():
    return Recorder()


def image(sec, encoding="bgr8"):
    message = Image(height=48, width=64, step=192, encoding=encoding)
    message.header.stamp.sec = sec
    message.data = array.array("B", bytes(48 * 192))
    return message


def test_a_frame_carries_stamp_and_camera(follower):
    processor = FrameProcessor(follower)
    first = processor.prepare(image(1), OPTIONS).view.frame
    processor.calibration.update(CameraInfo(width=64, height=48, k=[60.0, 0, 32, 0, 60, 24, 0, 0, 1]))
    who, second = processor.prepare(image(2), OPTIONS).view
    assert who is follower
    assert (first.stamp_ns, first.camera) == (1_000_000_000, None)
    assert (second.stamp_ns, second.camera.K[0, 0]) == (2_000_000_000, 60)
    assert second.image.shape == (48, 64, 3)
    assert second.image.dtype == np.uint8


def test_a_frame_carries_what_came_beside_the_image(follower):
    processor = FrameProcessor(follower)
    depth = image(1, "16UC1")
    depth.data = array.array("B", np.full((48, 96), 1500, "<u2").tobytes())
    ground = Ground(np.array([0.0, -1.0, 0.0]), 1.2)
    first = processor.prepare(image(1), OPTIONS, Beside(depth=depth, ground=ground)).view.frame
    second = processor.prepare(image(2), OPTIONS).view.frame
    np.testing.assert_allclose(first.depth_m, np.full((48, 64), 1.5))
    assert first.ground is ground
    assert first.regions is None
    assert (second.depth_m, second.regions, second.ground) == (None, None, None)


def test_depth_that_is_no_image_leaves_the_frame_alone(follower):
    processor = FrameProcessor(follower)
    frame = processor.prepare(image(1), OPTIONS, Beside(depth=image(1, "rgb8"))).view.frame
    assert frame.depth_m is None
    assert "must be 16UC1" in processor.beside.depth_use.problem


def test_a_jump_back_in_time_resets(follower):
    processor = FrameProcessor(follower)
    assert not processor.prepare(image(9), OPTIONS).time_jumped
    assert processor.prepare(image(3), OPTIONS).time_jumped
    assert follower.resets == 1
    after = processor.prepare(image(4), OPTIONS)
    assert not after.time_jumped
    assert after.view.frame.stamp_ns == 4_000_000_000


@pytest.mark.parametrize(("sec", "text"), [(0, "stamp is zero"), (5, "same stamp")])
def test_useless_stamps_are_refused(follower, sec, text):
    processor = FrameProcessor(follower)
    processor.prepare(image(5), OPTIONS)
    with pytest.raises(BadImageError, match=text):
        processor.prepare(image(sec), OPTIONS)
    assert not processor.prepare(image(6), OPTIONS).time_jumped
    assert follower.resets == 0


def test_an_image_that_was_overtaken_is_refused_and_nobody_is_forgotten(follower):
    processor = FrameProcessor(follower)
    processor.prepare(image(5), OPTIONS)
    late = image(4)
    late.header.stamp.nanosec = 900_000_000
    with pytest.raises(BadImageError, match="older than the one before"):
        processor.prepare(late, OPTIONS)
    assert follower.resets == 0


def test_a_restart_forgets_the_time(follower):
    processor = FrameProcessor(follower)
    processor.prepare(image(9), OPTIONS)
    processor.restart()
    assert not processor.prepare(image(3), OPTIONS).time_jumped


def test_a_bad_image_changes_nothing(follower):
    processor = FrameProcessor(follower)
    with pytest.raises(BadImageError, match="unknown encoding"):
        processor.prepare(image(5, encoding="nonsense"), OPTIONS)
    assert not processor.prepare(image(3), OPTIONS).time_jumped


def test_what_parameters_say_of_the_calibration_is_what_counts():
    values = {"image_is_rectified": True, "assumed_horizontal_fov_deg": 70.0, "camera_info_timeout_s": 3.0}
    assert _calibration_options(values) == CalibrationOptions(rectified=True, assumed_fov_deg=70.0, timeout_s=3.0)
