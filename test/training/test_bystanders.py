"""Who stands by in the photos that the finder learns from."""

import cv2
import numpy as np
import pytest

from pose3d_ros.crop import box_of_joints
from pose3d_ros.data.lspet import Photos
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.pose2d import Pose2D
from pose3d_ros.training.bystanders import Bystanders, find_bystanders

LABELLED = np.array([60.0, 20, 100, 100])
BYSTANDER = np.array([10.0, 20, 40, 90])
BUSH = np.array([120.0, 60, 150, 100])
HAND = np.array([62.0, 30, 72, 40])


@pytest.fixture
def photos():
    """Two photos of one labelled person each, who fills the same box."""
    jpegs = [cv2.imencode(".jpg", np.full((120, 160, 3), 90, np.uint8))[1].tobytes() for _ in range(2)]
    low, high = LABELLED[:2], LABELLED[2:]
    joints = np.random.default_rng(0).uniform(low, high, (2, NUM_JOINTS, 2)).astype(np.float32)
    joints[:, 0], joints[:, 1] = low, high
    return Photos(jpegs, ["a.jpg", "b.jpg"], joints, np.ones((2, NUM_JOINTS), bool))


class Networks:
    """They suspect people in boxes, the same in every photo, and see the joints of those who are some."""

    def __init__(self, *people):
        self.people = people

    def search(self, questions):
        boxes = np.array([LABELLED, BYSTANDER, BUSH, HAND])
        return [(boxes, np.full(len(boxes), 0.3)) for _ in questions]

    def locate(self, questions):
        return [self._pose(question.boxes) for question in questions]

    def _pose(self, boxes):
        n = len(boxes)
        person = np.array([any((box == one).all() for one in self.people) for box in boxes], bool)
        score = np.where(person, 0.95, 0.05)[:, None] * np.ones(NUM_JOINTS)
        share = np.linspace(0.1, 0.9, NUM_JOINTS)[:, None]
        joints = boxes[:, None, :2] + share * (boxes[:, 2:] - boxes[:, :2])[:, None]
        cov = np.tile(np.eye(2), (n, NUM_JOINTS, 1, 1, 1))
        return Pose2D(joints[:, :, None], cov, score[..., None], score, score.mean(1))


def test_who_is_sure_is_a_person_and_the_rest_is_in_doubt(photos):
    found = find_bystanders(Networks(BYSTANDER, LABELLED), photos)
    assert found.photo.tolist() == [0, 0, 1, 1]
    assert found.person.tolist() == [True, False] * 2
    share = np.array([0.1, 0.9])[:, None]
    np.testing.assert_allclose(
        found.boxes_px[0], box_of_joints(BYSTANDER[:2] + share * (BYSTANDER[2:] - BYSTANDER[:2])), rtol=1e-6
    )
    np.testing.assert_allclose(found.boxes_px[1], BUSH)


def test_the_labelled_person_and_their_parts_are_no_bystanders(photos):
    found = find_bystanders(Networks(LABELLED, HAND), photos)
    np.testing.assert_allclose(found.boxes_px, [BYSTANDER, BUSH] * 2)
    assert not found.person.any()


def test_the_file_keeps_them(photos, tmp_path):
    found = find_bystanders(Networks(BYSTANDER), photos)
    found.write(tmp_path / "new" / "bystanders.npz")
    again = Bystanders.read(tmp_path / "new" / "bystanders.npz", photos)
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_bystanders_of_other_photos_are_refused(photos, tmp_path):
    Bystanders(np.array(["a.jpg", "c.jpg"]), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0, bool)).write(
        tmp_path / "bystanders.npz"
    )
    with pytest.raises(ValueError, match="of other photos: make it anew with `pose3d bystanders`"):
        Bystanders.read(tmp_path / "bystanders.npz", photos)
