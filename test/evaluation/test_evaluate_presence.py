"""People and things: what suspects are, and how they are told apart."""

import numpy as np

from pose3d_ros.evaluation.evaluate_presence import Judged, Known, fitted, judged, told_apart
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.pose2d import Pose2D

PERSON, THING, HIDDEN_BY_PERSON = [20.0, 20, 60, 120], [200.0, 20, 240, 120], [30.0, 30, 50, 60]


class Everywhere:
    """Networks that suspect somebody in three places and are as sure of each."""

    lift = None  # nobody asks

    def search(self, questions):
        return [(np.array([PERSON, THING, HIDDEN_BY_PERSON]), np.full(3, 0.8)) for _ in questions]

    def locate(self, questions):
        return [self._pose(question.boxes) for question in questions]

    def _pose(self, boxes):
        low, high = boxes[:, None, :2], boxes[:, None, 2:]
        share = np.linspace(0.1, 0.9, NUM_JOINTS)[:, None]
        joints = (low + share * (high - low))[:, :, None]
        places = np.full(joints.shape[:-1], 0.8)
        return Pose2D(joints, np.zeros((*joints.shape, 2)), places, places[..., 0], np.full(len(boxes), 0.8))


def pictures(known):
    yield np.zeros((140, 300, 3), np.uint8), known


def test_what_is_known_to_be_a_person_or_a_thing_is_judged():
    """The third is neither: it lies within somebody."""
    each = judged(Everywhere(), pictures(Known(np.array([PERSON]), all=True)))
    assert each.is_person.tolist() == [True, False]
    np.testing.assert_allclose(each.odds, np.log(0.8 / 0.2))


def test_where_others_may_stand_only_the_labelled_one_is_known():
    each = judged(Everywhere(), pictures(Known(np.array([PERSON]), all=False)))
    assert each.is_person.tolist() == [True]


def test_in_clutter_everything_is_a_thing():
    each = judged(Everywhere(), pictures(Known(np.zeros((0, 4)), all=True)))
    assert each.is_person.tolist() == [False] * 3


def test_the_weights_of_what_tells_them_apart_are_found():
    """From 10,000 draws of a logistic law with as many people as things."""
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 1.5, (10_000, 3))
    is_person = rng.random(len(odds)) < 1 / (1 + np.exp(-odds @ [2.0, 0.0, 1.0]))
    both = Judged(odds, is_person)
    weights, bias = fitted([both])
    np.testing.assert_allclose(weights, [2.0, 0.0, 1.0], atol=0.15)
    assert abs(bias) < 0.1
    right = Judged(np.array([[3.0, 0, 3], [3.0, 0, 3], [-3.0, 0, -3]]), np.array([True, True, False]))
    assert told_apart(right, weights, bias) == "2 of 2 people, 0 of 1 things"
