"""Several looks at the same people: what they agree on is believed."""

import numpy as np

from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.agree import agreed, best_look
from pose3d_ros.stages.pose2d import Pose2D

BOXES = np.array([[0.0, 0.0, 100.0, 100.0]])
SIGMA_PX = 2.0


def look(*candidates, person_score=0.5):
    """One person all of whose joints may be at these places: x, y, and the score there."""
    places = np.array([[candidate[:2] for candidate in candidates]] * NUM_JOINTS, float)[None]
    score = np.array([[candidate[2] for candidate in candidates]] * NUM_JOINTS, float)[None]
    cov = np.broadcast_to(SIGMA_PX**2 * np.eye(2), (*score.shape, 2, 2))
    return Pose2D(places, cov, score, np.full((1, NUM_JOINTS), 0.7), np.array([person_score]))


def test_the_best_look_is_the_surest():
    first, second = look((10, 10, 0.5), (20, 20, 0.1)), look((30, 30, 0.6), (40, 40, 0.1), person_score=0.8)
    best = best_look([first, second])
    np.testing.assert_array_equal(best.joints_px, second.joints_px)
    assert best.person_score == [0.8]


def test_what_two_looks_see_beats_what_one_is_sure_of():
    looks = [
        look((20, 50, 0.5), (80, 50, 0.1)),
        look((80, 50, 0.52), (10, 10, 0.1)),
        look((22, 50, 0.5), (80, 90, 0.1)),
    ]
    pose = agreed(looks, BOXES)
    np.testing.assert_allclose(pose.joints_px[0, 0], [21, 50], atol=0.1)
    np.testing.assert_allclose(pose.candidates_px[0, 0, 1], [80, 50], atol=0.5)
    assert pose.candidates_score[0, 0, 0] > pose.candidates_score[0, 0, 1] > 0


def test_looks_that_say_the_same_change_nothing():
    same = look((20, 50, 0.7), (80, 50, 0.2))
    pose = agreed([same, same, same], BOXES)
    np.testing.assert_allclose(pose.candidates_px, same.candidates_px, atol=0.5)
    np.testing.assert_allclose(pose.candidates_cov, same.candidates_cov, atol=0.1)
    np.testing.assert_allclose(pose.candidates_score, same.candidates_score, atol=0.01)
    assert pose.person_score == same.person_score


def test_looks_apart_widen_the_covariance():
    pose = agreed([look((20, 50, 0.5)), look((24, 50, 0.5))], BOXES)
    np.testing.assert_allclose(pose.cov_px[0, 0], np.diag([SIGMA_PX**2 + 4, SIGMA_PX**2]), rtol=0.1)


def test_a_crop_that_misses_the_person_counts_little():
    fitting, missing = look((20, 50, 0.8)), look((23, 50, 0.4))
    np.testing.assert_allclose(agreed([fitting, missing], BOXES).joints_px[0, 0], [20, 50], atol=0.1)


def test_places_that_coincide_leave_something_for_the_next():
    pose = agreed([look((50, 50, 0.01), (50, 50, 0.01), (50, 50, 0.01))] * 4, BOXES)
    np.testing.assert_allclose(pose.candidates_px, 50.0)
    assert (np.linalg.eigvalsh(pose.candidates_cov) > 0).all()
    assert (pose.candidates_score > 0).all()
