"""What stage 1 sees of rendered people, of whom the lifter is to learn its errors."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from pose3d_ros.data.synthetic.render import OCCLUDED, VISIBLE, Label
from pose3d_ros.data.synthetic.shards import pack, write_shard
from pose3d_ros.skeleton import INDEX, NUM_JOINTS, PARENTS, ROOT
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


@pytest.fixture
def sightings(looked, tmp_path):
    """Written and read again."""
    looked[0].write(tmp_path / "sightings.npz")
    return Sightings.read(tmp_path / "sightings.npz")


def test_who_moves_is_seen_with_the_errors_made_of_that_pose(sightings):
    """At twice the distance an error is half as large in the picture, half a metre still at the person."""
    sequences = np.broadcast_to(PERSON + np.array([0, 0, 3]), (30, 20, NUM_JOINTS, 3))
    seen = sightings.observe(np.random.default_rng(0), sequences)
    offset_m = (seen.rays - sequences[..., :2] / sequences[..., 2:]) * sequences[..., ROOT, None, 2:]
    np.testing.assert_allclose(offset_m[..., WRIST, 0].mean(), 0.5 * PERSON[ROOT, 2] / PERSON[WRIST, 2], atol=0.02)
    assert not seen.reliable[..., [WRIST, TOE]].any()
    others = np.setdiff1d(np.arange(NUM_JOINTS), [WRIST, TOE])
    np.testing.assert_allclose(offset_m[..., others, :], 0, atol=0.05)  # they tremble
    assert np.abs(offset_m[..., others, :]).max() > 0.005
    assert seen.reliable[..., others].mean() > 0.5
    there = sightings.cov[0, 0, 0] * (PERSON[ROOT, 2] / (PERSON[ROOT, 2] + 3)) ** 2
    np.testing.assert_allclose(seen.cov, np.broadcast_to(there, seen.cov.shape), rtol=1e-4, atol=1e-12)


def test_errors_are_those_of_the_pose_as_the_camera_sees_it():
    """Somebody who turns round half way is first seen as the one, then as the other, also at the picture's edge."""
    turned = PERSON * np.array([-1, 1, -1]) + np.array([0, 0, 6])
    both = np.stack([PERSON, turned])
    rays = (both[..., :2] / both[..., 2:])[:, None]
    cov = np.broadcast_to(1e-8 * np.eye(2), (2, 1, NUM_JOINTS, 2, 2))
    scores = np.broadcast_to(np.array([0.9, 0.2])[:, None, None], (2, 1, NUM_JOINTS))
    seen = Sightings(both, np.ones((2, NUM_JOINTS), bool), rays, cov, scores)
    pan = np.array([[np.cos(0.6), 0, np.sin(0.6)], [0, 1, 0], [-np.sin(0.6), 0, np.cos(0.6)]])
    sequence = np.repeat(both, 12, axis=0)[None] @ pan.T
    observed = seen.observe(np.random.default_rng(0), sequence)
    np.testing.assert_allclose(observed.score[0, :, 0], [0.9] * 12 + [0.2] * 12)
    np.testing.assert_allclose(observed.rays, sequence[..., :2] / sequence[..., 2:], atol=1e-3)
