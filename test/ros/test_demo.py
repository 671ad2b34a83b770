"""What the demo makes of its options, without a node."""

import argparse

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from pose3d_ros.ros import demo, video_publisher
from pose3d_ros.video import open_source


class FakeCamera:
    """In cv2.VideoCapture's place: grey images without end."""

    def isOpened(self):  # noqa: N802
        return True

    def read(self):
        return True, np.full((48, 64, 3), 90, np.uint8)

    def get(self, what):
        return {cv2.CAP_PROP_FRAME_COUNT: -1.0}.get(what, 0.0)

    def release(self):
        pass


@pytest.fixture
def opened(monkeypatch):
    """What was opened, in order; nothing of it is real."""
    targets = []

    def capture(target):
        targets.append(target)
        return FakeCamera()

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    return targets


def options(*arguments):
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("camera", "target", "parameters"),
    [
        ("0", 0, {"camera": 0, "video": ""}),
        ("/dev/video2", "/dev/video2", {"camera": -1, "video": "/dev/video2"}),
    ],
)
def test_a_camera_is_left_to_the_publisher_who_opens_it(opened, camera, target, parameters):
    args = options("--camera", camera)
    name, fps, length_s, size = demo._inspect(args)
    assert (name, fps, length_s, size) == (f"camera {camera}", 30, None, (0, 0))
    assert demo._calibration(args) is None
    given = demo._video_parameters(args, None, size)
    assert given.items() >= parameters.items()
    types = {spec.name: type(spec.default) for spec in video_publisher.VIDEO_PARAMETERS}
    assert all(type(value) is types[name] for name, value in given.items())
    assert not opened  # a camera can be open but once
    with open_source(video_publisher._source_name(given)) as source:
        image, _ = next(iter(source))
    assert opened == [target]
    assert source.is_live
    assert image.mean() == 90


def test_without_a_camera_the_video_is_shown():
    given = demo._video_parameters(options("--video", "walk.mp4", "--seconds", "3"), None, (64, 48))
    assert given.items() >= {"video": "walk.mp4", "camera": -1, "loop": True, "width": 64, "height": 48}.items()
    given = demo._video_parameters(options(), None, (0, 0))
    assert given.items() >= {"video": "", "camera": -1, "loop": False}.items()
