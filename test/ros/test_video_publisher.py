"""The stand-in for a camera driver, in its own process."""

import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.ros.camera_conversion import camera_from_info, stamp_to_ns
from pose3d_ros.ros.image_conversion import compressed_to_bgr, image_to_bgr
from pose3d_ros.video import open_source

FRAMES, FPS = 30, 25


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A short video whose frames get brighter, with a calibration beside it."""
    folder = tmp_path_factory.mktemp("video")
    path = folder / "grey steps.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (320, 240))
    for i in range(FRAMES):
        writer.write(np.full((240, 320, 3), 8 * i, np.uint8))
    writer.release()
    text = '{"image_size": [320, 240], "K": [[300, 0, 160], [0, 300, 120], [0, 0, 1]]}'
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_video_is_published_in_order_and_on_time_and_then_it_ends(start_node, robot, video, scheme):
    heard = {Image: [], CompressedImage: [], CameraInfo: []}
    subscriptions = [
        robot.node.create_subscription(kind, topic, heard[kind].append, QoSProfile(depth=100))
        for kind, topic in ((Image, "image"), (CompressedImage, "image/compressed"), (CameraInfo, "camera_info"))
    ]
    parameters = {
        "video": f"{scheme}{video}",
        "loop": False,
        "compressed": True,
        "width": 160,
        "frame_id": "eye",
        "wait_for_subscribers": 2,
    }
    publisher = start_node("video_publisher", parameters)
    robot.spin_until(lambda: publisher.exit_status is not None, 60, "the video's end")
    robot.spin_for(0.5)
    assert publisher.exit_status == 0, publisher.output()
    images, jpegs, infos = heard.values()
    assert len(images) == FRAMES
    assert len(infos) >= FRAMES - 2  # who comes last may miss the first
    stamps = [stamp_to_ns(image.header.stamp) for image in images]
    # None comes early; how late they come is a matter of how busy the machine is.
    assert np.median(np.diff(stamps)) > 0.9e9 / FPS
    brightness = [image_to_bgr(image).mean() for image in images]
    assert np.abs(np.array(brightness) - 8 * np.arange(FRAMES)).max() < 6
    assert {(image.width, image.height, image.header.frame_id) for image in images} == {(160, 120, "eye")}
    assert {stamp_to_ns(info.header.stamp) for info in infos} <= set(stamps)
    assert camera_from_info(infos[-1]).K[0, 0] == pytest.approx(150)
    assert compressed_to_bgr(jpegs[-1]).shape == (120, 160, 3)
    assert jpegs[-1].header == images[-1].header
    for subscription in subscriptions:
        robot.node.destroy_subscription(subscription)


def test_a_video_begins_again_at_its_end_and_time_goes_on(start_node, robot, video):
    images = []
    subscription = robot.node.create_subscription(Image, "image", images.append, QoSProfile(depth=100))
    publisher = start_node("video_publisher", {"video": str(video), "wait_for_subscribers": 1})
    robot.spin_until(lambda: len(images) > 2 * FRAMES, 60, "more images than the video has twice")
    assert publisher.stop() == 0
    assert np.diff([stamp_to_ns(image.header.stamp) for image in images]).min() > 0
    brightness = np.array([image_to_bgr(image).mean() for image in images])
    assert np.sum(np.diff(brightness) < -8 * FRAMES / 2) == 2
    robot.node.destroy_subscription(subscription)


def test_an_address_is_live_only_where_nobody_knows_its_length(video):
    with open_source(f"file://{video}") as source:
        assert (source.is_live, source.count, source.fps) == (False, FRAMES, FPS)


def test_a_video_that_ends_for_good_is_a_failure_and_what_runs_is_not_changed(start_node, robot, video, tmp_path):
    mine = tmp_path / "mine.mp4"
    shutil.copy(video, mine)
    publisher = start_node("video_publisher", {"video": str(mine)})
    request = SetParameters.Request(parameters=[Parameter("fps", value=5.0).to_parameter_msg()])
    (answer,) = robot.call(SetParameters, "video_publisher/set_parameters", request).results
    assert not answer.successful
    assert "fps cannot be changed now: a video is running" in answer.reason
    mine.unlink()
    robot.spin_until(lambda: publisher.exit_status is not None, 60, "the end")
    assert publisher.exit_status == 1
    assert f"video_publisher: no file {mine}" in publisher.output()
