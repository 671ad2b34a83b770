"""Stage 1 on the robot: crops out, joints back in the image."""

import numpy as np
import pytest

from pose3d_ros.engines.engine import EngineError, TensorSpec
from pose3d_ros.stages.pose2d import PoseEstimator

SURE_JOINTS = 6


class BrightestPixel:
    """An engine that calls the brightest pixel of the crop every joint, and is sure of some of them."""

    inputs = (TensorSpec("crops", (None, 64, 64, 3), np.dtype(np.uint8)),)
    outputs = tuple(
        TensorSpec(name, (None, 24, *shape), np.dtype(np.float32))
        for name, shape in (("joints", (1, 2)), ("covariance", (1, 2, 2)), ("score", (1,)), ("visible", ()))
    )
    device = "test"

    def run(self, arrays):
        crops = arrays["crops"][..., 0]
        n = len(crops)
        y, x = np.unravel_index(crops.reshape(n, -1).argmax(1), crops.shape[1:])
        one = np.ones((n, 24), np.float32)
        score = np.tile(np.where(np.arange(24) < SURE_JOINTS, np.float32(0.9), np.float32(0.1)), (n, 1))
        return {
            "joints": np.tile(np.stack([x, y], 1)[:, None, None], (1, 24, 1, 1)).astype(np.float32),
            "covariance": np.tile(np.eye(2, dtype=np.float32), (n, 24, 1, 1, 1)),
            "score": score[..., None],
            "visible": 0.25 * one,
        }

    def close(self):
        pass


def test_joints_come_back_to_the_image():
    image = np.zeros((480, 640, 3), np.uint8)
    image[200:203, 300:303] = 255
    image[100:103, 500:503] = 255
    boxes = np.array([[260.0, 150.0, 340.0, 270.0], [450.0, 60.0, 560.0, 160.0]])
    pose = PoseEstimator(BrightestPixel()).estimate(image, boxes)
    np.testing.assert_allclose(pose.joints_px[0, 0], [301, 201], atol=2.5)
    np.testing.assert_allclose(pose.joints_px[1, 5], [501, 101], atol=2.5)
    # One crop pixel is 120 * 1.25 / 64 image pixels wide.
    np.testing.assert_allclose(pose.cov_px[0, 0], np.eye(2) * (120 * 1.25 / 64) ** 2)
    np.testing.assert_allclose(pose.person_score, 0.9)


def test_nobody_needs_no_network():
    pose = PoseEstimator(BrightestPixel()).estimate(np.zeros((48, 64, 3), np.uint8), np.zeros((0, 4)))
    assert pose.joints_px.shape == (0, 24, 2)
    assert pose.person_score.shape == (0,)


def test_another_network_is_refused():
    engine = BrightestPixel()
    engine.inputs = (TensorSpec("image", (1, 3, 64, 64), np.dtype(np.float32)),)
    with pytest.raises(EngineError, match="not a stage-1 network"):
        PoseEstimator(engine)
