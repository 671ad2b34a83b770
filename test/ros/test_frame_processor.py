"""One camera's way from message to people, with a stand-in for the networks."""

import array

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="needs the ROS 2 message packages")

from sensor_msgs.msg import CameraInfo, Image

from pose3d_ros.person import Ground
from pose3d_ros.ros.beside import Beside
from pose3d_ros.ros.frame_processor import CalibrationOptions, FrameProcessor
from pose3d_ros.ros.image_conversion import BadImageError

OPTIONS = CalibrationOptions(rectified=False, assumed_fov_deg=0.0, timeout_s=2.0)


class Recorder:
    """Stands in for the pipeline and notes what it is given."""

    def __init__(self):
        self.frames = []
        self.resets = 0

    def process(self, frame):
        self.frames.append(frame)
        return []

    def reset(self):
        self.resets += 1


@pytest.fixture
def pipeline():
    return Recorder()


def image(sec, encoding="bgr8"):
    message = Image(height=48, width=64, step=192, encoding=encoding)
    message.header.stamp.sec = sec
    message.data = array.array("B", bytes(48 * 192))
    return message


def test_a_frame_carries_stamp_and_camera(pipeline):
    processor = FrameProcessor(pipeline)
    processor.process(image(1), OPTIONS)
    processor.calibration.update(CameraInfo(width=64, height=48, k=[60.0, 0, 32, 0, 60, 24, 0, 0, 1]))
    processor.process(image(2), OPTIONS)
    first, second = pipeline.frames
    assert (first.stamp_ns, first.camera) == (1_000_000_000, None)
    assert (second.stamp_ns, second.camera.K[0, 0]) == (2_000_000_000, 60)
    assert second.image.shape == (48, 64, 3)
    assert second.image.dtype == np.uint8


def test_a_frame_carries_what_came_beside_the_image(pipeline):
    processor = FrameProcessor(pipeline)
    depth = image(1, "16UC1")
    depth.data = array.array("B", np.full((48, 96), 1500, "<u2").tobytes())
    ground = Ground(np.array([0.0, -1.0, 0.0]), 1.2)
    processor.process(image(1), OPTIONS, Beside(depth=depth, ground=ground))
    processor.process(image(2), OPTIONS)
    first, second = pipeline.frames
    np.testing.assert_allclose(first.depth_m, np.full((48, 64), 1.5))
    assert first.ground is ground
    assert first.regions is None
    assert (second.depth_m, second.regions, second.ground) == (None, None, None)


def test_depth_that_is_no_image_leaves_the_frame_alone(pipeline):
    processor = FrameProcessor(pipeline)
    processor.process(image(1), OPTIONS, Beside(depth=image(1, "rgb8")))
    assert pipeline.frames[0].depth_m is None
    assert "must be 16UC1" in processor.beside.depth_use.problem


def test_a_jump_back_in_time_resets(pipeline):
    processor = FrameProcessor(pipeline)
    assert not processor.process(image(9), OPTIONS).time_jumped
    assert processor.process(image(3), OPTIONS).time_jumped
    assert pipeline.resets == 1
    assert not processor.process(image(4), OPTIONS).time_jumped
    assert [frame.stamp_ns for frame in pipeline.frames] == [9_000_000_000, 3_000_000_000, 4_000_000_000]


@pytest.mark.parametrize(("sec", "text"), [(0, "stamp is zero"), (5, "same stamp")])
def test_useless_stamps_are_refused(pipeline, sec, text):
    processor = FrameProcessor(pipeline)
    processor.process(image(5), OPTIONS)
    with pytest.raises(BadImageError, match=text):
        processor.process(image(sec), OPTIONS)
    processor.process(image(6), OPTIONS)
    assert len(pipeline.frames) == 2
    assert pipeline.resets == 0


def test_an_image_that_was_overtaken_is_refused_and_nobody_is_forgotten(pipeline):
    processor = FrameProcessor(pipeline)
    processor.process(image(5), OPTIONS)
    late = image(4)
    late.header.stamp.nanosec = 900_000_000
    with pytest.raises(BadImageError, match="older than the one before"):
        processor.process(late, OPTIONS)
    assert pipeline.resets == 0


def test_a_restart_forgets_the_time(pipeline):
    processor = FrameProcessor(pipeline)
    processor.process(image(9), OPTIONS)
    processor.restart()
    assert not processor.process(image(3), OPTIONS).time_jumped


def test_a_bad_image_changes_nothing(pipeline):
    processor = FrameProcessor(pipeline)
    with pytest.raises(BadImageError, match="unknown encoding"):
        processor.process(image(5, encoding="nonsense"), OPTIONS)
    assert not processor.process(image(3), OPTIONS).time_jumped
