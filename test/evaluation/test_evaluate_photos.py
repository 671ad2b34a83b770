"""The whole pipeline on photos: everybody found counts once, and a miss is wrong."""

from pathlib import Path

import numpy as np

from pose3d_ros.evaluation.evaluate_photos import Photo, errors, figures
from pose3d_ros.evaluation.evaluate_pose2d import LabelledPerson
from pose3d_ros.skeleton import LIMBS_12, NUM_JOINTS

COUNTED = np.isin(np.arange(NUM_JOINTS), LIMBS_12)
JOINTS = np.random.default_rng(0).uniform(100, 200, (NUM_JOINTS, 2))
TORSO = 50.0
RIGHT_7, RIGHT_10, DOWN_5 = np.array([[7.0, 0.0], [10.0, 0.0], [0.0, 5.0]])


def labelled(joints):
    return LabelledPerson(Path("photo.jpg"), np.zeros(4), joints, COUNTED, TORSO)


def test_everybody_gets_whom_they_are_nearest_to():
    """Joints that do not count may lie anywhere."""
    here, there = JOINTS, JOINTS + 300
    found = np.stack([there + DOWN_5, here + RIGHT_10, here + 1000])
    found[:, ~COUNTED] = 0
    first, second = errors(Photo(found, [labelled(here), labelled(there)]))
    np.testing.assert_allclose(first, 0.2)
    np.testing.assert_allclose(second, 0.1)


def test_one_who_is_found_is_not_two():
    first, second = errors(Photo(JOINTS[None], [labelled(JOINTS), labelled(JOINTS + 20)]))
    assert not first.any()
    assert np.isinf(second).all()


def test_nobody_found():
    [error] = errors(Photo(np.zeros((0, NUM_JOINTS, 2)), [labelled(JOINTS)]))
    assert np.isinf(error).all()


def test_figures_of_two_photos():
    photos = [
        Photo(np.stack([JOINTS + RIGHT_7, JOINTS + 500]), [labelled(JOINTS)]),
        Photo(np.zeros((0, NUM_JOINTS, 2)), [labelled(JOINTS)]),
    ]
    assert figures(photos) == "2 people in 2 photos: 50.0 % found, PCK@0.2 50.0, PCK@0.1 0.0; 2 people reported"
