"""The real node without camera_info, and on compressed images."""

import array
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import bgr_to_compressed, bgr_to_image, image_to_bgr
from pose3d_ros.ros.people_conversion import cloud_to_joints

FIRST, LAST, STEP = 120, 180, 3  # frames of the clip with the person in full view


def adds(messages):
    return [marker for message in messages for marker in message.markers if marker.action == marker.ADD]


def test_without_camera_info_there_is_an_overlay_and_not_one_metre(start_node, robot, clip):
    frames, stamps, _ = clip
    node = start_node("pose3d_node", {"camera_info_timeout_s": 1.0})
    robot.wait_for_node(node)
    images = robot.advertise(Image, "image")
    offset = time.time_ns()
    drawn = 0
    for index in range(FIRST, LAST, STEP):
        image = bgr_to_image(frames[index], robot.header(offset + stamps[index]))
        drawn += not np.array_equal(image_to_bgr(robot.answer_to(images, image, "overlay")), frames[index])
    images_sent = len(range(FIRST, LAST, STEP))
    robot.spin_until(lambda: len(robot.heard["joints"]) == images_sent, 60, "joints of every image")
    assert drawn > 0.8 * images_sent
    assert all(cloud.width == 0 for cloud in robot.heard["joints"])
    assert not robot.heard["tf"]
    assert not adds(robot.heard["markers"])
    level, message, _ = robot.report("camera_info")
    assert level == 1
    assert "no camera_info came for 1 s" in message
    assert "no metres" in message
    assert node.output().count("no camera_info came") == 1  # said once

    # Whoever assumes a field of view gets metres, and is told that they are rough.
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=60.0)
    request = SetParameters.Request(parameters=[Parameter(name="assumed_horizontal_fov_deg", value=value)])
    assert robot.call(SetParameters, "pose3d/set_parameters", request).results[0].successful
    for index in range(FIRST, FIRST + 5):
        image = bgr_to_image(frames[index], robot.header(offset + 10_000_000_000 + stamps[index]))
        cloud = robot.answer_to(images, image)
    assert len(cloud_to_joints(cloud)) == 1
    robot.spin_until(lambda: robot.heard["tf"] and adds(robot.heard["markers"]), 60, "frames and markers")
    level, message, _ = robot.report("camera_info")
    assert level == 1
    assert "60 degrees is assumed" in message
    robot.silence("image")
    assert node.stop() == 0


def test_compressed_images_from_a_best_effort_publisher(start_node, robot, clip):
    frames, stamps, camera = clip
    robot.forget()
    node = start_node("pose3d_node", {"image_transport": "compressed"})
    robot.wait_for_node(node)
    infos = robot.advertise(CameraInfo, "camera_info", "best_effort")
    images = robot.advertise(CompressedImage, "image/compressed", "best_effort")
    offset = time.time_ns()
    infos.publish(camera_to_info(camera, robot.header()))
    robot.spin_for(0.5)

    def send(index):
        return robot.answer_to(images, bgr_to_compressed(frames[index], robot.header(offset + stamps[index])))

    found = [len(cloud_to_joints(send(index))) for index in range(FIRST, FIRST + 30, STEP)]
    assert sum(found) >= 8

    # A JPEG that was cut off, one with what no JPEG holds and one that never was one are counted; then all goes on.
    whole = bytes(bgr_to_compressed(frames[LAST], robot.header()).data)
    half = len(whole) // 2
    damaged = {
        "the JPEG is truncated": whole[:half],
        "the JPEG is corrupt": whole[:half] + b"\xff\xa7" + whole[half + 2 :],
        "neither JPEG nor PNG": b"no picture at all",
    }
    for number, (reason, data) in enumerate(damaged.items(), 1):
        header = robot.header(offset + stamps[LAST] + number)
        images.publish(CompressedImage(header=header, format="jpeg", data=array.array("B", data)))
        robot.spin_until(lambda: robot.figure("rejected") == str(number), 60, "the rejection")  # noqa: B023
        assert reason in robot.figure("last_rejection")
    offset += 20_000_000_000
    assert [len(cloud_to_joints(send(index))) for index in range(FIRST, FIRST + 4)][-1] == 1
    _, _, figures = robot.report("images")
    assert figures["reliability"] == "best_effort"
    assert figures["topic"] == "/image/compressed"
    robot.silence("image/compressed")
    robot.silence("camera_info")
    assert node.stop() == 0
