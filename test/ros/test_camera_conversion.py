"""CameraInfo -> Camera, and which camera an image was taken with."""

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="needs the ROS 2 message packages")

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.ros.calibration import CalibrationKeeper
from pose3d_ros.ros.camera_conversion import camera_from_info, camera_to_info, stamp_to_ns
from pose3d_ros.ros.health import Level

K = [600.0, 0, 330, 0, 610, 250, 0, 0, 1]
PIXELS = np.array([[10.0, 20], [320, 240], [600, 470]])


def info(**fields):
    message = CameraInfo(width=640, height=480, distortion_model="plumb_bob", k=K, d=[0.1, -0.05, 0.001, 0.002, 0.0])
    for name, value in fields.items():
        part = message
        *path, last = name.split("__")
        for step in path:
            part = getattr(part, step)
        setattr(part, last, value)
    return message


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", [0.1, -0.05, 0.001, 0.002, 0.01]),
        ("rational_polynomial", [0.1, -0.05, 0.001, 0.002, 0.01, 0.02, 0.03, 0.001]),
        ("equidistant", [0.01, 0.002, -0.001, 0.0005]),
        ("fisheye", [0.01, 0.002, -0.001, 0.0005]),
    ],
)
def test_every_distortion_model_arrives(model, coefficients):
    camera = camera_from_info(info(distortion_model=model, d=coefficients))
    expected = Camera(640, 480, np.reshape(K, (3, 3)), np.array(coefficients), model)
    np.testing.assert_allclose(camera.rays(PIXELS), expected.rays(PIXELS))


def test_there_and_back():
    camera = Camera(640, 480, np.reshape(K, (3, 3)), np.array([0.1, -0.05, 0.001, 0.002, 0.0]))
    message = camera_to_info(camera, Header(frame_id="camera"))
    assert message.header.frame_id == "camera"
    np.testing.assert_allclose(camera_from_info(message).rays(PIXELS), camera.rays(PIXELS))
    np.testing.assert_allclose(np.reshape(message.p, (3, 4))[:, :3], camera.K)


def test_a_name_without_distortion_does_not_matter():
    assert camera_from_info(info(distortion_model="whatever", d=[0.0] * 5)).distortion.size == 0
    with pytest.raises(CameraError, match="whatever"):
        camera_from_info(info(distortion_model="whatever"))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"k": [0.0] * 9}, "not calibrated"),
        ({"k": [np.nan, *K[1:]]}, "not calibrated"),
        ({"d": [np.nan] * 5}, "not finite"),
        ({"d": [0.1] * 3}, "3 coefficients"),
        ({"width": 0}, "size is"),
        ({"binning_x": 1000}, "binning"),
    ],
)
def test_useless_camera_infos_are_refused_with_a_reason(fields, text):
    with pytest.raises(CameraError, match=text):
        camera_from_info(info(**fields))


def test_binning_and_region_of_interest_keep_the_rays():
    whole = camera_from_info(info())
    # A region's pixel (x, y) is the sensor's (x + 40, y + 60).
    region = camera_from_info(info(roi__x_offset=40, roi__y_offset=60, roi__width=400, roi__height=300))
    assert (region.width, region.height) == (400, 300)
    np.testing.assert_allclose(region.rays(PIXELS - (40, 60)), whole.rays(PIXELS), atol=1e-9)
    # A binned pixel x covers the sensor's 2 x and 2 x + 1, so that its centre is 2 x + 0.5.
    binned = camera_from_info(info(binning_x=2, binning_y=2))
    assert (binned.width, binned.height) == (320, 240)
    np.testing.assert_allclose(binned.rays((PIXELS - 0.5) / 2), whole.rays(PIXELS), atol=1e-9)


def test_a_rectified_image_goes_by_p():
    camera = camera_from_info(info(p=[500.0, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0]), rectified=True)
    np.testing.assert_allclose(camera.rays(np.array([320.0, 240])), 0, atol=1e-12)
    assert camera.distortion.size == 0
    with pytest.raises(CameraError, match="not calibrated"):
        camera_from_info(info(), rectified=True)


def test_stamps_are_exact():
    header = Header()
    header.stamp.sec, header.stamp.nanosec = 1_795_415_946, 311_851_538
    assert stamp_to_ns(header.stamp) == 1_795_415_946_311_851_538


# ---- which camera an image was taken with ----------------------------------------------------------------------------

SECOND = 1_000_000_000


def test_the_newest_camera_info_is_the_truth():
    keeper = CalibrationKeeper()
    keeper.update(info())
    assert keeper.camera_for(640, 480, SECOND).K[0, 0] == 600
    assert keeper.state.level == Level.OK
    keeper.update(info(k=[700.0, *K[1:]]))
    assert keeper.camera_for(640, 480, SECOND).K[0, 0] == 700
    keeper.update(info(k=[0.0] * 9))
    assert keeper.camera_for(640, 480, SECOND) is None
    assert "not calibrated" in keeper.state.text
    assert keeper.state.level == Level.WARN


def test_scaled_images_scale_the_camera_and_others_are_refused():
    keeper = CalibrationKeeper()
    keeper.update(info())
    camera = keeper.camera_for(320, 240, SECOND)
    assert (camera.width, camera.K[0, 0]) == (320, 300)
    assert keeper.camera_for(640, 360, SECOND) is None
    assert "640x480" in keeper.state.text
    assert "640x360" in keeper.state.text


def test_without_camera_info_there_are_no_metres_unless_a_field_of_view_is_assumed():
    keeper = CalibrationKeeper()
    assert keeper.camera_for(640, 480, 10 * SECOND) is None
    assert keeper.state.level == Level.OK  # it may still come
    assert keeper.camera_for(640, 480, 12 * SECOND - 1) is None
    assert keeper.state.level == Level.OK
    assert keeper.camera_for(640, 480, 12 * SECOND) is None
    assert keeper.state.level == Level.WARN
    assert "no metres" in keeper.state.text
    camera = keeper.camera_for(640, 480, 12 * SECOND, assumed_fov_deg=90.0)
    assert camera.K[0, 0] == pytest.approx(320)
    assert "assumed" in keeper.state.text
    # Late, but better than an assumption.
    keeper.update(info())
    assert keeper.camera_for(640, 480, 13 * SECOND, assumed_fov_deg=90.0).K[0, 0] == 600


def test_the_wait_for_camera_info_goes_by_the_images_stamps_and_begins_anew():
    keeper = CalibrationKeeper()
    keeper.camera_for(640, 480, 100 * SECOND)
    keeper.restart_waiting()
    keeper.camera_for(640, 480, SECOND)
    assert keeper.state.level == Level.OK
    keeper.camera_for(640, 480, 4 * SECOND, timeout_s=2.0)
    assert keeper.state.level == Level.WARN


def test_an_uncalibrated_camera_may_be_given_a_field_of_view():
    keeper = CalibrationKeeper()
    keeper.update(info(k=[0.0] * 9))
    assert keeper.camera_for(640, 480, SECOND, assumed_fov_deg=60.0) is not None
    assert "not calibrated" in keeper.state.text
