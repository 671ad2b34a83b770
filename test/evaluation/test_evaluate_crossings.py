"""Who is who, against who was who."""

import json

import cv2
import numpy as np
import pytest

from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.evaluate_crossings import Identities, Whereabouts, follow
from pose3d_ros.person import JointState, Person
from pose3d_ros.skeleton import NUM_JOINTS

CAMERA = Camera.from_horizontal_fov(320, 240, 60)
BODY_M = np.random.default_rng(0).uniform([-0.3, -0.9, 0], [0.3, 0.9, 0.1], (NUM_JOINTS, 3))


def place(x):
    return BODY_M + np.array([x, 0, 4.0])


def somebody(id_, x, state=JointState.VISIBLE):
    joints_px = CAMERA.project(place(x))
    box = np.concatenate([joints_px.min(0), joints_px.max(0)])
    states = np.full(NUM_JOINTS, state, np.uint8)
    return Person(id_, box, 0.9, joints_px, np.tile(np.eye(2), (NUM_JOINTS, 1, 1)), np.ones(NUM_JOINTS), states)


class Told:
    """A pipeline that says what it was told to say, frame by frame."""

    def __init__(self, frames):
        self._frames = iter(frames)

    def reset(self):
        pass

    def process(self, frame):
        return next(self._frames)


@pytest.fixture
def film(tmp_path):
    """Two people in four frames, one of whom leaves before the last."""
    writer = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30, (320, 240))
    for _ in range(4):
        writer.write(np.zeros((240, 320, 3), np.uint8))
    writer.release()
    left, right = place(-1.0).tolist(), place(1.0).tolist()
    truth = {"K": CAMERA.K.tolist(), "size": [320, 240], "people_m": [[left, right]] * 3 + [[left, None]]}
    (tmp_path / "clip.json").write_text(json.dumps(truth))
    return tmp_path


def test_ids_are_those_of_the_true_people_nearby(film):
    """The two are exchanged in the third frame; in the last one nobody is told of but a stranger and who has left."""
    told = [
        [somebody(1, -1.0), somebody(2, 1.0)],
        [somebody(2, 1.02), somebody(1, -0.98)],
        [somebody(1, 1.0), somebody(2, -1.0)],
        [somebody(1, 1.0, JointState.PREDICTED), somebody(3, 0.3)],
    ]
    found = follow(Told(told), film)
    assert [person.ids for person in found.people] == [[1, 1, 2, None], [2, 2, 1]]
    assert found.figures() == {
        "frames": 7,
        "found": 85.7,
        "under one id": 57.1,
        "switches": 2,
        "strangers": 1,
        "carried on": 1,
    }


def test_an_id_that_comes_back_after_a_gap_is_no_switch():
    person = Whereabouts([4, None, None, 4, 4])
    assert person.switches == 0
    assert person.as_one == 3
    assert Identities([Whereabouts([None, None])]).figures()["under one id"] == 0


def test_a_film_of_one_person_is_refused(film):
    truth = json.loads((film / "clip.json").read_text())
    del truth["people_m"]
    (film / "clip.json").write_text(json.dumps(truth))
    with pytest.raises(ValueError, match="render --kind crossing"):
        follow(Told([]), film)
