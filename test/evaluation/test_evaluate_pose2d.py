"""What scores say against what is true."""

import numpy as np
import pytest

from pose3d_ros.evaluation.evaluate_pose2d import Reliability, Scores, draw_reliability
from pose3d_ros.evaluation.pose2d import leaning_deg
from pose3d_ros.skeleton import INDEX, NUM_JOINTS


def scores(said, right):
    """One person with a joint per entry."""
    error = np.where(right, 0.05, 0.6)[None]
    return Scores(error, np.array(said, float)[None], np.zeros_like(error), np.ones(error.shape, bool))


def test_reliability_by_bins():
    found = scores([0.9, 0.9, 0.9, 0.9, 0.1, 0.1], [1, 1, 1, 0, 0, 1]).reliability()
    np.testing.assert_allclose(found.said, [0.1, 0.9])
    np.testing.assert_allclose(found.true, [0.5, 0.75])
    np.testing.assert_allclose(found.share, [1 / 3, 2 / 3])
    assert found.error() == pytest.approx(0.4 / 3 + 0.15 * 2 / 3)


def test_the_picture_has_a_curve_where_the_figures_are():
    curve = Reliability(np.array([0.25, 0.75]), np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    with_curve, without = draw_reliability({"photos": curve}), draw_reliability({})
    rows, columns = np.nonzero((with_curve != without).any(-1)[100:-100])
    height, width = with_curve.shape[:2]
    assert abs(np.median(rows) + 100 - height / 2) < 8
    assert np.ptp(columns) == pytest.approx(0.5 * width, rel=0.3)


@pytest.mark.parametrize("angle", [0, 40, 90, 180])
def test_how_far_a_person_leans(angle):
    """To either side; a torso turned by an angle leans by it."""
    for turn in (np.radians(angle), -np.radians(angle)):
        up, right = np.array([np.sin(turn), -np.cos(turn)]), np.array([np.cos(turn), np.sin(turn)])
        joints = np.zeros((NUM_JOINTS, 2))
        for side, away in (("left", 1), ("right", -1)):
            joints[INDEX[f"{side}_hip"]] = [50, 60] + 6 * away * right
            joints[INDEX[f"{side}_shoulder"]] = [50, 60] + 10 * away * right + 30 * up
        assert leaning_deg(joints) == pytest.approx(angle, abs=1e-6)
