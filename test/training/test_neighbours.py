"""Second people in crops: painted where they are said to be, and what they hide is known."""

import numpy as np
import pytest

from pose3d_ros.skeleton import INDEX, NUM_JOINTS
from pose3d_ros.training.neighbours import add_neighbour, change_background, outline, person

SIZE = 224
STANDING = {
    "head": (0, -95),
    "thorax": (0, -65),
    "left_shoulder": (18, -62),
    "right_shoulder": (-18, -62),
    "left_elbow": (24, -35),
    "right_elbow": (-24, -35),
    "left_wrist": (26, -8),
    "right_wrist": (-26, -8),
    "left_hip": (12, -8),
    "right_hip": (-12, -8),
    "left_knee": (13, 35),
    "right_knee": (-13, 35),
    "left_ankle": (13, 78),
    "right_ankle": (-13, 78),
}


def standing(middle, scale=1.0):
    joints, known = np.zeros((NUM_JOINTS, 2)), np.zeros(NUM_JOINTS, bool)
    for name, place in STANDING.items():
        joints[INDEX[name]] = middle + scale * np.array(place)
        known[INDEX[name]] = True
    return joints, known


def test_an_outline_holds_the_joints_and_not_what_lies_between_the_legs():
    who = person(*standing((112, 112)))
    shape = outline(who, SIZE, SIZE)
    x, y = who.joints[who.known].astype(int).T
    assert shape[y, x].min() > 0.9
    assert shape[185, 112] < 0.1
    assert shape[:, :60].max() == 0


def test_a_head_belongs_to_the_body_where_the_neck_is_not_known():
    joints, known = standing((112, 112))
    known[INDEX["thorax"]] = False
    assert outline(person(joints, known), SIZE, SIZE)[20, 112] > 0.9


def test_another_background_leaves_the_person_and_what_it_is_kept_from():
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    who, where = person(*standing((112, 112))), np.ones((SIZE, SIZE), np.uint8)
    where[:, :20] = 0
    change_background(picture, who, np.zeros_like(picture), where)
    x, y = who.joints[who.known].astype(int).T
    assert picture[y, x].min() > 0.9 * 255
    assert picture[:, :20].min() == 255
    assert picture[:, 20:60].max() == 0
    assert picture[185, 112].max() < 0.1 * 255


@pytest.mark.parametrize("gone", ["left_hip", "right_shoulder"])
def test_nobody_without_a_torso(gone):
    joints, known = standing((112, 112))
    known[INDEX[gone]] = False
    assert person(joints, known) is None


def test_nobody_of_no_size():
    assert person(*standing((112, 112), scale=0.0)) is None


def painted(seed):
    """A black crop with a white neighbour: crop, the person who is meant, and the neighbour."""
    rng = np.random.default_rng(seed)
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    meant = person(*standing((112, 112)))
    white = np.full((300, 200, 3), 255, np.uint8)
    neighbour = add_neighbour(crop, meant, white, person(*standing((100, 150), 1.2)), rng)
    return crop, meant, neighbour


@pytest.mark.parametrize("seed", range(30))
def test_what_is_hidden_is_painted_over_and_the_rest_is_not(seed):
    crop, meant, neighbour = painted(seed)
    if neighbour is None:
        assert not crop.any()
        return
    assert crop.max() > 250
    x, y = meant.joints[meant.known].astype(int).T
    np.testing.assert_array_equal(crop[y, x, 0] > 127, neighbour.hides[meant.known])
    assert (meant.known & ~neighbour.hides).sum() >= 6


@pytest.mark.parametrize("seed", range(30))
def test_a_neighbour_is_where_they_are_said_to_be(seed):
    crop, meant, neighbour = painted(seed)
    if neighbour is None:
        return
    there = outline(person(neighbour.joints, meant.known), SIZE, SIZE)
    assert crop[there < 0.01].max() <= 0.01 * 255 + 1
    assert neighbour.shown == pytest.approx((crop[..., 0] / 255).sum() / there.sum(), abs=0.05)
    before_all = neighbour.hides.any()
    assert not before_all or neighbour.shown > 0.99


def test_neighbours_stand_on_both_sides_behind_and_before():
    middles, hides = [], []
    for seed in range(60):
        crop, _, neighbour = painted(seed)
        if neighbour is not None:
            middles.append(np.flatnonzero(crop[..., 0].any(0)).mean() - 112)
            hides.append(neighbour.hides.any())
    assert min(middles) < -20
    assert max(middles) > 20
    assert set(hides) == {True, False}


def test_nothing_is_painted_beyond_the_neighbours_picture():
    """Whose legs their photo does not show."""
    rng = np.random.default_rng(1)
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    joints, known = standing((100, 150))
    photo = np.full((160, 200, 3), 255, np.uint8)
    assert add_neighbour(crop, person(*standing((112, 112))), photo, person(joints, known), rng) is not None
    rows = np.flatnonzero(crop.any((1, 2)))
    assert rows.max() < 112 + 20


@pytest.mark.parametrize("seed", range(10))
def test_a_neighbour_may_lie_beyond_the_crop_and_be_far_larger_in_their_own_photo(seed):
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    aside = person(*standing((-300, 112)))
    large = person(*standing((700, 900), 8.0))
    add_neighbour(crop, aside, np.full((1700, 1400, 3), 255, np.uint8), large, np.random.default_rng(seed))
    assert not crop[:, SIZE // 2 :].any()
