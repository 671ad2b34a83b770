"""The pipeline over time on the package's own film."""

import pytest

from pose3d_ros.evaluation.evaluate_clips import figures, follow
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.video import PACKAGE_CLIP


@pytest.fixture(scope="module")
def frames():
    return list(follow(Pipeline(), PACKAGE_CLIP.parent))


def test_scores_over_time_are_as_often_right_as_they_say(frames):
    row = figures(frames)
    assert row["frames"] > 150
    assert row["found"] > 90
    assert row["ECE"] < 0.1  # 0.22 when candidates beside each other shared what a frame says
    assert abs(100 * row["score"] - row["PCK@0.2"]) < 10


def test_a_film_in_which_nobody_is_found_says_so(frames):
    assert figures([seen._replace(person=None) for seen in frames[:3]]) == {"frames": 3, "found": 0.0}
