"""What scores say against what is true."""

import numpy as np
import pytest

from pose3d_ros.evaluation.evaluate_pose2d import Reliability, Scores, draw_reliability


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
