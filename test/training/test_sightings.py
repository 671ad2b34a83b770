"""What stage 1 sees of rendered people, of whom the lifter is to learn its errors."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from pose3d_ros.data.pose_augmentation import REFERENCE_STATURE_M, stature
from pose3d_ros.data.synthetic.render import OCCLUDED, VISIBLE, Label
from pose3d_ros.data.synthetic.shards import pack, write_shard
from pose3d_ros.skeleton import INDEX, NUM_JOINTS, PARENTS
from pose3d_ros.stages.pose2d import Pose2D
from pose3d_ros.training.sightings import Sightings, look_at_everybody
from pose3d_ros.training.synthetic_source import SyntheticSource

SIDE, FOCAL = 256, 300.0
CAMERA = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1]])
WRIST, TOE = INDEX["left_wrist"], INDEX["left_toe"]
PEOPLE = 40
"""Enough for some to be cut off."""


def standing_person() -> np.ndarray:
    """Joints [24, 3] three metres away, at the ends of bones in random directions."""
    rng = np.random.default_rng(3)
    joints = np.zeros((NUM_JOINTS, 3))
    for child, parent in enumerate(PARENTS):
        if parent >= 0:
            bone = rng.normal(0, 1, 3)
            joints[child] = joints[parent] + 0.25 * bone / np.linalg.norm(bone)
    return joints - joints.mean(0) + [0, 0, 3]


PERSON = standing_person()
PLACES = PERSON[:, :2] / PERSON[:, 2:] * FOCAL + SIDE / 2


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The same person many times, dark at the picture's top left corner; the toe is hidden."""
    folder = tmp_path_factory.mktemp("rendered")
    picture = np.full((SIDE, SIDE, 3), 200, np.uint8)
    picture[:40, :40] = 0
    visibility = np.full(NUM_JOINTS, VISIBLE)
    visibility[TOE] = OCCLUDED
    box = np.concatenate([PLACES.min(0), PLACES.max(0)])
    label = Label(PLACES, PERSON, visibility, box, box, 1.0)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    write_shard(folder / "one.npz", pack([(jpeg, CAMERA, [label])] * PEOPLE))
    return SyntheticSource(folder)


class Networks:
    """They see every joint where it is, but for a wrist, which is half a metre aside."""

    def __init__(self):
        self.boxes = []

    def locate(self, questions):
        [(image, boxes)] = questions
        self.boxes.append(boxes)
        # A part of the picture that begins elsewhere lacks some of its left or upper edge.
        lacks = self._lacks_left(image), self._lacks_top(image)
        joints = PLACES - np.where(lacks, [SIDE - image.shape[1], SIDE - image.shape[0]], 0)
        joints[WRIST, 0] += 0.5 / PERSON[WRIST, 2] * FOCAL
        n = len(boxes)
        everywhere = np.tile(joints[:, None], (n, 1, 1, 1))
        cov = np.tile(9.0 * np.eye(2), (n, NUM_JOINTS, 1, 1, 1))
        score = np.full((n, NUM_JOINTS, 1), 0.8)
        return [Pose2D(everywhere, cov, score, score[..., 0], score[:, 0, 0])]

    @staticmethod
    def _lacks_left(image):
        return image.shape[1] < SIDE and image[:30, :20].mean() > 100

    @staticmethod
    def _lacks_top(image):
        return image.shape[0] < SIDE and image[:20, :30].mean() > 100


@pytest.fixture(scope="module")
def looked(source):
    networks = Networks()
    return look_at_everybody(networks, source), networks


def test_rays_are_those_of_the_whole_picture_also_of_people_who_are_cut_off(looked):
    seen, networks = looked
    assert seen.rays.shape[:1] == (PEOPLE,)
    right = np.arange(NUM_JOINTS) != WRIST
    true = PERSON[:, :2] / PERSON[:, 2:]
    np.testing.assert_allclose(seen.rays[:, :, right], np.broadcast_to(true, seen.rays.shape)[:, :, right], atol=1e-5)
    np.testing.assert_allclose(seen.cov[0, 0, 0], 9 / FOCAL**2 * np.eye(2))
    assert seen.shows.sum(1).min() < NUM_JOINTS - 3
    assert seen.shows.sum(1).max() == NUM_JOINTS - 1  # but the toe
    assert all(len(np.unique(boxes[:, 0])) == seen.rays.shape[1] for boxes in networks.boxes)


def test_what_is_hidden_or_found_elsewhere_is_not_reliable(looked, tmp_path):
    looked[0].write(tmp_path / "sightings.npz")
    seen = Sightings.read(tmp_path / "sightings.npz")
    joints, observed = seen.sample(np.random.default_rng(0), 60, 8)
    assert joints.shape == (60, 8, NUM_JOINTS, 3)
    assert observed.rays.shape == (60, 8, NUM_JOINTS, 2)
    assert not observed.reliable[..., [WRIST, TOE]].any()
    others = np.setdiff1d(np.arange(NUM_JOINTS), [WRIST, TOE])
    assert observed.reliable[..., others].mean() > 0.5
    np.testing.assert_allclose(stature(joints), REFERENCE_STATURE_M, rtol=5e-3)
    # As tall as the others now, and as much farther away: seen as before.
    np.testing.assert_allclose(joints[0, 0, :, :2] / joints[0, 0, :, 2:], PERSON[:, :2] / PERSON[:, 2:], atol=1e-5)


def test_a_sequence_trembles_about_looks_that_stay_for_a_while():
    looks = 3
    rays = np.arange(looks, dtype=np.float32)[None, :, None, None] * np.ones((1, looks, NUM_JOINTS, 2), np.float32)
    cov = np.broadcast_to(1e-4 * np.eye(2, dtype=np.float32), (1, looks, NUM_JOINTS, 2, 2))
    shows = np.ones((1, NUM_JOINTS), bool)
    seen = Sightings(PERSON[None], shows, rays, cov, np.ones((1, looks, NUM_JOINTS), np.float32))
    _, observed = seen.sample(np.random.default_rng(0), 50, 40)
    look = np.round(observed.rays[..., 0, 0])
    assert set(np.unique(look)) == {0, 1, 2}
    assert 0.05 < (np.diff(look) != 0).mean() < 0.2
    assert 0 < np.abs(observed.rays[..., 0, 0] - look).max() < 0.01
