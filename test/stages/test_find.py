"""Finding people: letterbox, overlaps, and the way back to the image."""

import numpy as np
import pytest

from pose3d_ros.crop import iou
from pose3d_ros.engines.engine import EngineError, TensorSpec
from pose3d_ros.stages.find import Finder, letterbox, without_overlaps, without_parts


class WholeLetter:
    """An engine that finds one person as large as everything that is not grey."""

    inputs = (TensorSpec("image", (1, 256, 320, 3), np.dtype(np.uint8)),)
    outputs = tuple(TensorSpec(name, (None,), np.dtype(np.float32)) for name in ("boxes", "scores"))
    device = "test"

    def run(self, arrays):
        y, x = np.nonzero((arrays["image"][0] != 118).any(-1))
        box = [x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5]
        return {"boxes": np.array([[box, box, [0, 0, 1, 1]]], np.float32), "scores": np.array([[0.9, 0.8, 0.1]])}

    def close(self):
        pass


@pytest.mark.parametrize("shape", [(480, 640), (1920, 1080), (100, 900), (50, 40)])
def test_boxes_come_back_to_any_image(shape):
    """The whole picture is found again to within a letterbox pixel, and its copy is dropped."""
    image = np.zeros((*shape, 3), np.uint8)
    boxes, scores = Finder(WholeLetter()).find(image, 0.3)
    assert scores.tolist() == [0.9]
    pixel = max(shape[1] / 320, shape[0] / 256)
    np.testing.assert_allclose(boxes[0], [-0.5, -0.5, shape[1] - 0.5, shape[0] - 0.5], atol=pixel)


def test_letterbox_keeps_the_shape_and_centres():
    canvas, scale, offset = letterbox(np.zeros((100, 200, 3), np.uint8), 320, 256)
    assert canvas.shape == (256, 320, 3)
    assert scale == pytest.approx(1.6)
    assert offset.tolist() == [0, 48]


def test_overlap_is_intersection_over_union():
    boxes = np.array([[0.0, 0, 10, 10], [5.0, 0, 15, 10], [20.0, 20, 30, 30]])
    np.testing.assert_allclose(iou(boxes[:1], boxes)[0], [1, 1 / 3, 0])


def test_the_best_of_overlapping_boxes_stays():
    boxes = np.array([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [20.0, 20, 30, 30]])
    assert without_overlaps(boxes, np.array([0.5, 0.9, 0.4])).tolist() == [1, 2]


def test_another_network_is_refused():
    engine = WholeLetter()
    engine.inputs = (TensorSpec("crops", (None, 192, 192, 3), np.dtype(np.uint8)),)
    with pytest.raises(EngineError, match="not a finder"):
        Finder(engine)


@pytest.mark.parametrize(
    ("box", "score", "stays"),
    [
        ((40, 10, 60, 40), 0.4, False),  # a face
        ((40, 10, 60, 40), 0.8, True),  # as sure as the person in whose box they stand
        ((120, 10, 140, 40), 0.4, True),  # beside the person
        ((0, 0, 60, 100), 0.4, True),  # no part: too large
    ],
)
def test_parts_of_a_person_are_nobody(box, score, stays):
    boxes = np.array([(0, 0, 100, 200), box], float)
    assert without_parts(boxes, np.array([0.9, score])).tolist() == [True, stays]
