"""The finder's figures against what can be told by hand."""

import numpy as np
import pytest

from pose3d_ros.evaluation.evaluate_finder import Scene, average_precision, matches, share_found

IMAGE = np.zeros((100, 100, 3), np.uint8)
FIRST, SECOND, THIRD = ([0.0, 0, 20, 40], [50.0, 0, 70, 40], [30.0, 60, 50, 100])


def scene(boxes, hidden=()):
    return Scene(IMAGE, np.array(boxes).reshape(-1, 4), np.array(hidden).reshape(-1, 4))


class Says:
    """A finder that says what it is told, one answer a picture."""

    def __init__(self, *answers):
        self._answers = iter(answers)

    def find(self, image, score_threshold):
        boxes, scores = next(self._answers)
        return np.array(boxes).reshape(-1, 4), np.array(scores, float)


def test_each_person_is_found_once_and_hidden_ones_do_not_count():
    finds = np.array([FIRST, FIRST, THIRD, SECOND])
    assert matches(finds, scene([FIRST, SECOND], hidden=[THIRD])) == [True, False, None, True]


def test_share_found():
    finder = Says(([FIRST], [0.9]), ([], []), ([SECOND], [0.9]), ([[50, 0, 70, 25]], [0.9]))
    people = [scene([FIRST]), scene([FIRST]), scene([FIRST]), scene([SECOND])]
    assert share_found(finder, people) == 50


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.9, 0.8, 0.1], 1.0),  # the false alarm comes last
        ([0.9, 0.1, 0.5], 0.5 * 1 + 0.5 * 2 / 3),  # between the two
        ([0.8, 0.1, 0.9], 2 / 3),  # first: two of three, wherever it is cut
    ],
)
def test_average_precision(scores, expected):
    finder = Says(([FIRST, SECOND, THIRD], scores))
    assert average_precision(finder, [scene([FIRST, SECOND])]) == pytest.approx(expected)
