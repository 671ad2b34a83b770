"""Which rendered people a finder is to find, and where."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from pose3d_ros.data.synthetic.render import Label
from pose3d_ros.data.synthetic.shards import pack, write_shard
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.training.scene_data import close_up
from pose3d_ros.training.synthetic_source import SyntheticSceneSource, labelled_scenes

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


@pytest.mark.parametrize("seed", range(8))
def test_close_ups_do_not_hold_the_person(seed):
    """They fill the window from top to bottom, or are cut off above or below, with at least a part in sight."""
    box, size = np.array([200.0, 100, 260, 220]), np.array([320, 256])
    scale, corner = close_up(box, size, np.random.default_rng(seed))
    low, high = scale * (box[:2] - corner), scale * (box[2:] - corner)
    assert high[1] - low[1] > size[1]
    assert (np.maximum(low, 0) < np.minimum(high, size)).all()


@pytest.mark.parametrize("seed", range(12))
def test_boxes_of_a_scene_lie_on_its_people(tmp_path, seed):
    """Zoomed in, mirrored or seen from close by: the only person is white, all else black."""
    standing = person((100, 140))
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    x0, y0, x1, y1 = standing.box.astype(int)
    picture[y0:y1, x0:x1] = 255
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    write_shard(tmp_path / "one.npz", pack([(jpeg, np.eye(3), [standing])]))
    scene = SyntheticSceneSource(tmp_path).scene(160, 128, np.random.default_rng(seed))
    white = np.argwhere(scene.image[..., 0] > 128)[:, ::-1]
    if len(scene.boxes):
        (box,) = scene.boxes
        grown = 0.075 * (white.max(0) - white.min(0)) / 0.85 + 4
        assert (white.min(0) >= box[:2] - 1).all()
        assert (white.max(0) <= box[2:] + 1).all()
        assert (np.abs(np.concatenate([white.min(0) - box[:2], box[2:] - white.max(0)])) < 2 * grown.max()).all()
    else:
        assert len(white) < 0.3 * 160 * 128
