"""Axes of trunk and head."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose3d_ros.body_frames import head_axes, trunk_axes
from pose3d_ros.skeleton import INDEX, NUM_JOINTS


@pytest.fixture
def joints():
    """Somebody who faces x, left is y, z up."""
    places = {
        "pelvis": (0, 0, 0), "thorax": (0, 0, 0.5), "left_hip": (0, 0.1, 0), "right_hip": (0, -0.1, 0),
        "left_ear": (0, 0.07, 0.7), "right_ear": (0, -0.07, 0.7), "nose": (0.1, 0, 0.68),
    }  # fmt: skip
    out = np.zeros((NUM_JOINTS, 3))
    for name, place in places.items():
        out[INDEX[name]] = place
    return out


def test_axes_of_somebody_upright(joints):
    np.testing.assert_allclose(trunk_axes(joints), np.eye(3), atol=1e-12)
    nods = np.arctan2(0.02, 0.1)
    np.testing.assert_allclose(head_axes(joints), Rotation.from_euler("y", nods).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("axes", [trunk_axes, head_axes])
def test_axes_turn_with_the_body(joints, axes):
    turn = Rotation.from_euler("xyz", [0.3, -1.1, 2.0])
    np.testing.assert_allclose(
        axes(np.array([1, 2, 3]) + turn.apply(joints)), turn.as_matrix() @ axes(joints), atol=1e-12
    )


def test_a_leaning_trunk_keeps_its_axes_square(joints):
    joints[INDEX["left_hip"]] += [0.05, 0, 0.04]
    axes = trunk_axes(joints)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)


@pytest.mark.parametrize("axes", [trunk_axes, head_axes])
def test_joints_in_one_place_or_unknown_tell_nothing(axes):
    assert axes(np.zeros((NUM_JOINTS, 3))) is None
    assert axes(np.full((NUM_JOINTS, 3), np.nan)) is None
