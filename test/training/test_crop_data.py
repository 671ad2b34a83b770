"""Augmented crops: the labels follow the pixels."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.crop import box_of_joints
from pose3d_ros.skeleton import INDEX, NUM_JOINTS
from pose3d_ros.training.crop_data import HIDDEN_WEIGHT, Augmentation, Labels, augmented, cut_off

PLAIN = Augmentation(rotated=0, cut_out=0, blur=0, coarse=0, grey=0, noise=0, half_body=0)


def person(rng):
    """Dark picture in which the left wrist is the only bright spot."""
    image = np.zeros((300, 400, 3), np.uint8)
    joints = rng.uniform([120, 60], [260, 240], (NUM_JOINTS, 2))
    x, y = joints[INDEX["left_wrist"]] = (210, 130)
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    ones = np.ones(NUM_JOINTS)
    return Labels(image, joints, ones, ones, ones, box_of_joints(joints))


@pytest.mark.parametrize("seed", range(12))
def test_the_bright_spot_stays_the_wrist(seed):
    """Whatever the turn, scale and shift; a mirrored picture shows the other wrist there."""
    rng = np.random.default_rng(seed)
    how = Augmentation(rotated=1, cut_out=0, blur=0, coarse=0, grey=0, noise=0, half_body=0)
    sample = augmented(person(rng), 192, how, rng)
    y, x = np.unravel_index(sample.crop.sum(-1, dtype=int).argmax(), (192, 192))
    wrists = sample.joints[[INDEX["left_wrist"], INDEX["right_wrist"]]]
    assert np.linalg.norm(wrists - [x, y], axis=1).min() < 8


def test_joints_outside_the_crop_have_no_place_and_are_not_visible():
    rng = np.random.default_rng(0)
    labels = person(rng)
    labels.joints_px[INDEX["head"]] = (-500, -500)
    sample = augmented(labels, 192, PLAIN, rng)
    assert sample.located[INDEX["head"]] == 0
    assert sample.visible[INDEX["head"]] == 0
    assert sample.visible_weight[INDEX["head"]] == 1


@pytest.mark.parametrize("seed", range(12))
def test_a_picture_that_ends_within_the_person_knows_nothing_of_the_rest(seed):
    rng = np.random.default_rng(seed)
    whole = person(rng)
    part = cut_off(whole, rng)
    height, width = part.image.shape[:2]
    assert (height, width) < whole.image.shape[:2]
    inside = ((part.joints_px >= 0) & (part.joints_px < [width, height])).all(-1)
    assert 0 < inside.sum() < NUM_JOINTS
    np.testing.assert_array_equal(part.located > 0, inside)
    np.testing.assert_array_equal(part.visible > 0, inside)
    wrist = INDEX["left_wrist"]
    if inside[wrist]:
        x, y = part.joints_px[wrist].astype(int)
        assert part.image[y, x].min() == 255
    assert (part.box >= 0).all()
    assert (part.box <= [width, height, width, height]).all()


def test_joints_under_what_is_cut_out_are_hidden():
    """They are to be inferred from the rest, and count less, as those behind other things."""
    how = Augmentation(rotated=0, cut_out=1, blur=0, coarse=0, grey=0, noise=0, half_body=0, cut_off=0, neighbour=0)
    covered = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        white = person(rng)._replace(image=np.full((300, 400, 3), 255, np.uint8))
        sample = augmented(white, 192, how, rng)
        plain = np.median(sample.crop.reshape(-1, 3), 0)
        for joint in np.flatnonzero(sample.located):
            x, y = np.round(sample.joints[joint]).astype(int)
            if (sample.crop[y, x] != plain).any():
                covered += 1
                assert sample.visible[joint] == 0
                assert sample.located[joint] == np.float32(HIDDEN_WEIGHT)
    assert covered > 20
