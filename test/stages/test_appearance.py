"""The colours by which people are known again."""

import cv2
import numpy as np
import pytest

from pose3d_ros.skeleton import INDEX, NUM_JOINTS
from pose3d_ros.stages.appearance import appearance, remembered, unlikeness

RED, BLUE = (40, 40, 200), (200, 60, 30)


def lab(colour):
    return cv2.cvtColor(np.float32([[colour]]) / 255, cv2.COLOR_BGR2Lab)[0, 0]


@pytest.fixture
def joints():
    """Somebody 60 pixels wide, of whom shirt and trousers meet at y = 120."""
    joints = np.zeros((1, NUM_JOINTS, 2))
    for side, x in (("right", 70), ("left", 130)):
        joints[0, INDEX[f"{side}_shoulder"]] = x, 50
        joints[0, INDEX[f"{side}_hip"]] = x, 120
        joints[0, INDEX[f"{side}_knee"]] = x, 180
    return joints


@pytest.fixture
def image():
    image = np.full((200, 200, 3), 128, np.uint8)
    image[40:120, 60:140], image[120:190, 60:140] = RED, BLUE
    return image


def test_shirt_and_trousers(image, joints):
    found = appearance(image, joints, np.ones((1, NUM_JOINTS)))
    np.testing.assert_allclose(found[0], [lab(RED), lab(BLUE)], atol=0.1)


def test_a_logo_is_not_the_shirt(image, joints):
    image[60:80, 80:110] = 255
    found = appearance(image, joints, np.ones((1, NUM_JOINTS)))
    np.testing.assert_allclose(found[0, 0], lab(RED), atol=0.1)


def test_what_is_hidden_or_outside_has_no_colour(image, joints):
    score = np.ones((1, NUM_JOINTS))
    score[0, [INDEX["left_knee"], INDEX["right_knee"], INDEX["left_hip"]]] = 0.1
    assert np.isfinite(appearance(image, joints, score)).all(-1).tolist() == [[True, False]]
    below = joints + np.array([0, 140])
    assert np.isfinite(appearance(image, below, np.ones((1, NUM_JOINTS)))).all(-1).tolist() == [[False, False]]


def test_nobody_has_no_looks(image):
    assert appearance(image, np.zeros((0, NUM_JOINTS, 2)), np.zeros((0, NUM_JOINTS))).shape == (0, 2, 3)


def test_unlikeness_is_of_the_parts_known_of_both():
    red, blue, unknown = (
        np.stack([a, b]) for a, b in ((lab(RED), lab(BLUE)), (lab(BLUE), lab(BLUE)), [[np.nan] * 3] * 2)
    )
    red_shirt = np.stack([lab(RED), [np.nan] * 3])
    found = unlikeness(np.stack([red, red_shirt, unknown]), np.stack([red, blue]))
    assert found[0, 0] == found[1, 0] == 0
    assert found[1, 1] == pytest.approx(2 * found[0, 1])
    assert found[1, 1] > 50
    assert np.isnan(found[2]).all()


def test_light_counts_for_less_than_colour():
    grey = np.array([[50.0, 0, 0]] * 2)
    brighter, greener = grey + np.array([20.0, 0, 0]), grey + np.array([0, -20.0, 0])
    assert unlikeness(grey[None], brighter[None]) < unlikeness(grey[None], greener[None])


def test_looks_are_remembered_where_nothing_new_is_seen():
    before = np.array([[50.0, 0, 0], [np.nan] * 3])
    now = np.array([[np.nan] * 3, [70.0, 10, 0]])
    np.testing.assert_allclose(remembered(before, now, 0.1), [[50, 0, 0], [70, 10, 0]])
    np.testing.assert_allclose(remembered(now, now + 10, 0.1)[1], [71, 11, 1])
