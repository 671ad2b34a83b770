"""Augmented crops: the labels follow the pixels."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

pytest.importorskip("onnx", reason="the tests make small networks with onnx")

from tiny_networks import standing_pose

from pose3d_ros.crop import box_of_joints
from pose3d_ros.skeleton import INDEX, LIMBS_12, LSP_14, NUM_JOINTS
from pose3d_ros.training.crop_data import HIDDEN_WEIGHT, Augmentation, CropStream, Labels, augmented, cut_off

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


ASIDE = (96, 8)
"""Row and column of a crop in which nobody of `photo` is."""


def photo():
    """Somebody who stands before white, labelled as photos are."""
    joints = [200, 150] + 120 * standing_pose()[:, :2]
    labelled = np.isin(np.arange(NUM_JOINTS), LSP_14).astype(float)
    return Labels(np.full((300, 400, 3), 255, np.uint8), joints, labelled, labelled, labelled, box_of_joints(joints))


def black():
    none = np.zeros(NUM_JOINTS)
    picture = np.zeros((100, 100, 3), np.uint8)
    return Labels(picture, np.zeros((NUM_JOINTS, 2)), none, none, none + 1, np.array([20.0, 20, 80, 80]))


@pytest.mark.parametrize("seed", range(6))
def test_another_picture_behind_changes_neither_the_person_nor_a_label(seed):
    how = replace(PLAIN, shift=0)
    plain, moved = (
        augmented(photo(), 192, how, np.random.default_rng(seed), behind=behind) for behind in (None, black())
    )
    for before, after in zip(plain[1:], moved[1:], strict=True):
        np.testing.assert_array_equal(after, before)
    x, y = moved.joints[LIMBS_12][moved.located[LIMBS_12] > 0].round().astype(int).T
    np.testing.assert_allclose(moved.crop[y, x], plain.crop[y, x], atol=25)
    assert (moved.crop[ASIDE] < plain.crop[ASIDE] - 50.0).all()


def test_nobody_without_a_torso_is_put_before_another_picture():
    labels = photo()
    labels.located[INDEX["left_hip"]] = 0
    rng = np.random.default_rng(0)
    assert len(np.unique(augmented(labels, 192, replace(PLAIN, shift=0), rng, behind=black()).crop[96])) <= 3


class Always:
    """A source of the same labels."""

    def __init__(self, labels):
        self._labels = labels

    def __len__(self):
        return 1

    def labels(self, i, rng):
        return self._labels


@pytest.mark.parametrize(
    ("share", "labels", "changed"),
    [
        (0.0, photo(), [0]),
        (0.5, photo(), range(4, 17)),
        (1.0, photo(), [20]),
        (1.0, photo()._replace(visible_weight=np.ones(NUM_JOINTS)), [0]),  # as of rendered people
    ],
)
def test_backgrounds_of_photos_change_as_often_as_is_asked_for(share, labels, changed):
    stream = CropStream([Always(labels)], [1.0], Always(black()), 192, replace(PLAIN, shift=0, background=share), 0)
    shoulder = INDEX["left_shoulder"]
    moved = []
    for sample in islice(stream, 20):
        x, y = sample.joints[shoulder].round().astype(int)
        moved.append(abs(int(sample.crop[ASIDE][0]) - int(sample.crop[y, x, 0])) > 50)
    assert sum(moved) in changed
