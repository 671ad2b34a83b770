"""Which of its candidates a joint is, over time."""

import numpy as np

from pose3d_ros.stages.choose import believe

SIZE_PX = 200.0
LEFT, RIGHT = np.array([100.0, 300.0]), np.array([160.0, 300.0])


def candidates(*places):
    """[24, k, 2]: the same for every joint."""
    return np.tile(np.array(places), (24, 1, 1))


def scores(*values):
    return np.tile(np.array(values), (24, 1))


def after(frames, dt_s=1 / 30):
    """The belief [k] after frames of (places, scores)."""
    belief = None
    for places, score in frames:
        belief = believe(candidates(*places), scores(*score), SIZE_PX, belief, dt_s)
    np.testing.assert_allclose(belief.probability.sum(-1), 1)
    return belief.probability[0]


def test_alone_the_frame_decides():
    assert after([((LEFT, RIGHT), (0.7, 0.2))]).argmax() == 0


def test_what_was_seen_before_decides_a_doubtful_frame():
    clear, doubtful = ((LEFT, RIGHT), (0.9, 0.05)), ((RIGHT, LEFT), (0.5, 0.4))
    belief = after([clear, doubtful, doubtful])
    assert belief[1] > 0.8  # LEFT, although RIGHT scores better


def test_clear_frames_overrule_what_was_believed():
    doubtful, clear = ((LEFT, RIGHT), (0.5, 0.4)), ((RIGHT, LEFT), (0.95, 0.03))
    assert after([doubtful, *[clear] * 5])[0] > 0.9


def test_a_joint_that_really_jumps_is_followed_within_a_fifth_of_a_second():
    far = LEFT + np.array([150, -100])
    jumped = ((far, RIGHT), (0.9, 0.02))
    assert after([((LEFT, RIGHT), (0.9, 0.05)), *[jumped] * 6])[0] > 0.9


def test_a_moving_joint_keeps_its_belief():
    step = np.array([6, 0])
    frames = [((RIGHT + i * step, LEFT + i * step), (0.5, 0.4)) for i in range(10)]
    assert after([((LEFT, RIGHT), (0.9, 0.05)), *frames])[1] > 0.75


def test_evidence_counts_by_time_not_by_frames():
    doubtful = ((RIGHT, LEFT), (0.55, 0.35))
    believed = [
        after([((LEFT, RIGHT), (0.8, 0.1)), *[doubtful] * (fps // 2)], 1 / fps)[1]  # half a second of it
        for fps in (10, 30, 60)
    ]
    assert np.ptp(believed) < 0.15


def test_candidates_beside_each_other_do_not_share_what_the_frame_says():
    # The flank of a peak is a candidate, too; at 60 Hz each frame adds little to what was believed.
    beside = LEFT + np.array([16, 0])
    assert after([((LEFT, beside), (0.85, 0.05))] * 60, 1 / 60)[0] > 0.85
