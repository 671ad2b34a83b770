"""The ground by TF and by parameters."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose3d_ros.ros.diagnosis import ground_finding
from pose3d_ros.ros.frame_tree import FrameTree
from pose3d_ros.ros.ground_source import GroundSource
from pose3d_ros.ros.health import Level

OPTICAL = tuple(Rotation.from_euler("xyz", [-90, 0, -90], degrees=True).as_quat())
NOTHING = {"ground_frame": "", "camera_height_m": 0.0, "camera_pitch_deg": 0.0}


def source(frames=None, **changes):
    """A source, and the parameters that hold for its images."""
    values = NOTHING | changes
    return GroundSource(frames or FrameTree(), lambda: values), values


def by_tf(height_m):
    """A level camera so far above base_footprint."""
    frames = FrameTree()
    frames.put("base_footprint", "optical", OPTICAL, None, (0.0, 0.0, height_m))
    return source(frames, ground_frame="base_footprint")


def test_nobody_asks():
    silent, values = source()
    assert not silent.is_wanted
    assert silent.ground_of("optical", 1, values) is None
    assert silent.problem == ""


@pytest.mark.parametrize(("ground_source", "values"), [by_tf(1.2), source(camera_height_m=1.2)])
def test_a_level_camera_above_the_ground(ground_source, values):
    assert ground_source.is_wanted
    ground = ground_source.ground_of("optical", 1, values)
    np.testing.assert_allclose(ground.up, [0, -1, 0], atol=1e-12)
    assert ground.camera_height_m == 1.2
    assert ground_finding(ground, ground_source.problem).level == Level.OK


@pytest.mark.parametrize("height_m", [0.0, -0.4])
def test_a_ground_that_is_not_below_the_camera_is_told_and_not_used(height_m):
    wrong, values = by_tf(height_m)
    assert wrong.ground_of("optical", 1, values) is None
    finding = ground_finding(wrong.ground, wrong.problem)
    assert finding.level == Level.WARN
    assert f"the camera is {-height_m:.2f} m below base_footprint" in finding.message


def test_a_camera_infinitely_far_away_is_told_and_not_used():
    frames = FrameTree()
    frames.put("base_footprint", "mast", (0.0, 0.0, 0.0, 1.0), None, (0.0, 0.0, 1.7e308))
    frames.put("mast", "optical", OPTICAL, None, (0.0, 0.0, 1.7e308))
    wrong, values = source(frames, ground_frame="base_footprint")
    with np.errstate(over="ignore"):
        assert wrong.ground_of("optical", 1, values) is None
    assert "infinitely far" in wrong.problem


def test_tf_that_is_missing_is_told():
    lost, values = source(ground_frame="map")
    assert lost.ground_of("optical", 1, values) is None
    assert "no TF between" in lost.problem
