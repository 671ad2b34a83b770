"""Whether somebody is there."""

import numpy as np
import pytest

from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.pose2d import Pose2D
from pose3d_ros.stages.presence import presence, still_there


def seen(person_score, visible):
    """Somebody of whom the upper body is in the picture."""
    visibility = np.where(np.arange(NUM_JOINTS) < NUM_JOINTS // 2, 0.01, visible)[None]
    places = np.zeros((1, NUM_JOINTS, 1))
    two = np.zeros((*places.shape, 2))
    return Pose2D(two, np.zeros((*two.shape, 2)), places, visibility, np.array([person_score]))


@pytest.mark.parametrize(
    ("found_score", "person_score", "visible", "is_person"),
    [
        (0.7, 0.7, 0.95, True),
        (0.3, 0.75, 0.97, True),  # small in the picture
        (0.6, 0.45, 0.95, True),  # in an odd pose
        (0.35, 0.6, 0.6, False),  # a tissue under the microscope
        (0.15, 0.8, 0.7, False),
        (0.9, 0.3, 0.1, False),
    ],
)
def test_all_that_is_known_counts(found_score, person_score, visible, is_person):
    [probability] = presence(np.array([found_score]), seen(person_score, visible))
    assert (probability > 0.5) == is_person


def test_the_surest_signs_are_numbers():
    for value in (0.0, 1.0):
        assert presence(np.array([value]), seen(value, value)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("person_score", "visible", "least", "most"),
    [
        (0.9, 0.97, 0.85, 1.0),
        (0.3, 0.97, 0.0, 0.35),  # something else is seen in the crop
        (0.6, 0.02, 0.0, 0.05),  # the wall behind somebody who has left
    ],
)
def test_who_was_there_still_is_as_far_as_joints_are_sure_and_seen(person_score, visible, least, most):
    [there] = still_there(seen(person_score, visible))
    assert least <= there <= most


def test_nobody():
    nothing = np.zeros((0, NUM_JOINTS, 1))
    two = np.zeros((*nothing.shape, 2))
    pose = Pose2D(two, np.zeros((*two.shape, 2)), nothing, nothing[..., 0], np.zeros(0))
    assert presence(np.zeros(0), pose).shape == (0,)
