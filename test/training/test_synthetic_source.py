"""Which rendered people a finder is to find, and where."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from pose3d_ros.data.synthetic.render import Label
from pose3d_ros.data.synthetic.shards import pack, write_shard
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.training.synthetic_source import labelled_scenes

WIDTH, HEIGHT = 320, 256


def person(middle, visible_fraction=1.0):
    """60 pixels wide and 120 high, joints on the outline's corners in turn."""
    corners = np.array([[-30, -60], [30, -60], [30, 60], [-30, 60]])
    joints = np.array(middle) + corners[np.arange(NUM_JOINTS) % 4]
    box = np.concatenate([joints.min(0), joints.max(0)])
    clipped = np.clip(box, 0, [WIDTH, HEIGHT] * 2)
    return Label(joints, np.zeros((NUM_JOINTS, 3)), np.zeros(NUM_JOINTS), clipped, box, visible_fraction)


@pytest.fixture
def scene(tmp_path):
    """The only scene of a folder with these people: boxes of those to be found, and of the others."""

    def make(*people):
        jpeg = cv2.imencode(".jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
        write_shard(tmp_path / "one.npz", pack([(jpeg, np.eye(3), people)]))
        ((_, boxes, hidden),) = labelled_scenes(tmp_path)
        return boxes, hidden

    return make


def test_who_shows_enough_is_to_be_found(scene):
    boxes, hidden = scene(person((100, 100)), person((200, 120), visible_fraction=0.2))
    np.testing.assert_allclose(boxes, [[100 - 34.5, 100 - 69, 100 + 34.5, 100 + 69]])
    assert len(hidden) == 1


def test_nobody_reaches_beyond_the_picture(scene):
    """A find can only lie where there is a picture, also that of somebody who need not be found."""
    boxes, hidden = scene(person((10, 100)), person((-20, 100)), person((-500, 100)))
    np.testing.assert_allclose(boxes, [[0, 31, 44.5, 169]])
    np.testing.assert_allclose(hidden, [[0, 31, 14.5, 169], [0, 31, 0, 169]])
