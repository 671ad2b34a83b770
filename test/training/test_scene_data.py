"""Scenes for the finder: who is to be found where, and where nobody knows."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is needed to train and export only")

from pose3d_ros.data.lspet import Photos
from pose3d_ros.skeleton import INDEX, NUM_JOINTS
from pose3d_ros.training import scene_data
from pose3d_ros.training.bystanders import Bystanders
from pose3d_ros.training.scene_data import EmptySource, PhotoSceneSource, SceneStream, clipped_box

WIDTH, HEIGHT = 256, 192
GREEN, RED, BLUE = (0, 255, 0), (0, 0, 255), (255, 0, 0)  # BGR
NOBODY = EmptySource([np.full((100, 150, 3), 118, np.uint8)])
PERSON, BYSTANDER, BUSH = (90, 30, 130, 110), (20, 40, 50, 110), (150, 60, 180, 110)


def photo_of_a_person():
    """A labelled person in green, a bystander in red, and a bush in blue, before white."""
    image = np.full((150, 200, 3), 255, np.uint8)
    for box, colour in ((PERSON, GREEN), (BYSTANDER, RED), (BUSH, BLUE)):
        cv2.rectangle(image, box[:2], box[2:], colour, -1)
    joints, labelled = np.zeros((1, NUM_JOINTS, 2), np.float32), np.zeros((1, NUM_JOINTS), bool)
    x0, y0, x1, y1 = PERSON
    # As `box_of_joints` grows them by 15 %, they end before the box does.
    places = np.random.default_rng(0).uniform([x0 + 3, y0 + 6], [x1 - 3, y1 - 6], (10, 2))
    places[0], places[1] = (x0 + 2.6, y0 + 5.2), (x1 - 2.6, y1 - 5.2)
    chosen = [i for i, name in enumerate(INDEX) if "shoulder" not in name][:10]  # nobody is painted beside them
    joints[0, chosen], labelled[0, chosen] = places, True
    return Photos([cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()], ["a"], joints, labelled)


def scenes(bystanders, photos=None):
    source = PhotoSceneSource(photos or photo_of_a_person(), NOBODY, bystanders)
    return [source.scene(WIDTH, HEIGHT, np.random.default_rng(seed)) for seed in range(25)]


@pytest.fixture
def known():
    """The bystander is a person, the bush may be one."""
    boxes = np.array([BYSTANDER, BUSH], np.float32)
    return Bystanders(np.array(["a"]), np.zeros(2, int), boxes, np.array([True, False]))


def colours(scene, boxes):
    """The colour in the middle of each box."""
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).round().astype(int).T  # pixels' middles are whole numbers
    return {tuple((scene.image[j, i] > 127).astype(int) * 255) for i, j in zip(x, y, strict=True)}


def test_people_are_where_their_boxes_are(known):
    found = set()
    for scene in scenes(known):
        found |= colours(scene, scene.boxes)
        assert colours(scene, scene.doubtful) <= {BLUE}
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
    assert found == {GREEN, RED}


def test_without_bystanders_the_labelled_person_is_the_only_one():
    for scene in scenes(None):
        assert colours(scene, scene.boxes) <= {GREEN}
        assert not len(scene.doubtful)


def test_nothing_is_learned_of_what_may_be_a_person(known):
    """The weight is zero in the bush, one in people, and little elsewhere in the photo."""
    source = PhotoSceneSource(photo_of_a_person(), NOBODY, known)
    stream = iter(SceneStream([source], [1.0], (WIDTH, HEIGHT), 0))
    weights = np.unique(np.concatenate([next(stream).weight.ravel() for _ in range(20)]))
    np.testing.assert_allclose(weights, [0, 0.15, 1])


def test_people_of_other_photos_stand_in_a_row_with_the_person(monkeypatch):
    """Whose torso is known."""
    photos = photo_of_a_person()
    for name, x, y in (
        ("left_shoulder", 120, 45),
        ("right_shoulder", 100, 45),
        ("left_hip", 120, 75),
        ("right_hip", 100, 75),
    ):
        photos.joints_px[0, INDEX[name]], photos.labelled[0, INDEX[name]] = (x, y), True
    monkeypatch.setattr(scene_data, "_CLUTTERED", 0.0)  # whatever clutter draws, the people are the same
    counts = []
    for share in (0.0, 0.8):
        monkeypatch.setattr(scene_data, "_NEIGHBOUR", share)
        each = scenes(None, photos=photos)
        counts.append(sum(len(scene.boxes) + len(scene.doubtful) for scene in each))
        for scene in each:
            assert colours(scene, scene.boxes) <= {GREEN}
    assert counts[1] > 2 * counts[0]


def test_empty_scenes_have_no_boxes():
    pictures = [np.full((100, 150, 3), 80, np.uint8)]
    sample = next(iter(SceneStream([EmptySource(pictures)], [1.0], (256, 192), 0)))
    assert sample.image.shape == (192, 256, 3)
    assert not sample.boxes.any()
    assert sample.weight.shape == (24, 32)
    assert sample.weight.min() == 1


def test_a_box_that_hardly_shows_is_dropped():
    box = np.array([0.0, 0, 100, 100])
    np.testing.assert_allclose(clipped_box(box, (0, 0, 60, 100)), [0, 0, 60, 100])
    assert clipped_box(box, (0, 0, 20, 100)) is None
