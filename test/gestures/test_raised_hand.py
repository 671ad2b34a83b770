"""Hands in one frame, and hands over time."""

import numpy as np
import pytest

from pose3d_ros.gestures.raised_hand import Hand, HandLimits, Hands, HandsOverTime, hands_of
from pose3d_ros.person import JointState
from pose3d_ros.skeleton import INDEX, NUM_JOINTS

LIMITS = HandLimits(min_confidence=0.5, max_sigma_m=0.3, margin_m=0.05, hold_s=0.2)
UP = np.array([0.0, -1.0, 0.0])
KNOWN, UNKNOWN = Hands(Hand.DOWN, Hand.UP), Hands(Hand.UNKNOWN, Hand.UNKNOWN)
FIELDS = [(name, "f4") for name in ("x", "y", "z", "confidence", "sigma")] + [("state", "u1")]


@pytest.fixture
def joints():
    """Somebody three metres away whose right wrist is 0.3 m above the shoulder, and the left one below."""
    joints = np.zeros(NUM_JOINTS, FIELDS)
    joints["z"], joints["confidence"], joints["sigma"] = 3.0, 0.9, 0.1
    joints["y"][INDEX["right_wrist"]], joints["y"][INDEX["left_wrist"]] = -0.3, 0.3
    return joints


def test_the_persons_own_left_and_right(joints):
    assert hands_of(joints, UP, LIMITS) == Hands(left=Hand.DOWN, right=Hand.UP)


def test_up_is_where_the_camera_is_told_it_is(joints):
    assert hands_of(joints, -UP, LIMITS) == Hands(left=Hand.UP, right=Hand.DOWN)
    assert hands_of(joints, np.array([0.0, 0.0, 1.0]), LIMITS) == Hands(Hand.DOWN, Hand.DOWN)


def test_a_wrist_at_the_shoulders_height_is_not_raised(joints):
    joints["y"][INDEX["right_wrist"]] = -0.04
    assert hands_of(joints, UP, LIMITS).right is Hand.DOWN


@pytest.mark.parametrize("joint", ["right_wrist", "right_shoulder"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confidence", 0.4),
        ("confidence", np.nan),
        ("sigma", 0.4),
        ("sigma", np.nan),
        ("state", JointState.INFERRED),
        ("state", JointState.PREDICTED),
        ("x", np.nan),
        ("z", np.inf),
    ],
)
def test_what_is_uncertain_is_unknown(joints, joint, field, value):
    joints[field][INDEX[joint]] = value
    assert hands_of(joints, UP, LIMITS) == Hands(left=Hand.DOWN, right=Hand.UNKNOWN)


def believed(*frames):
    """Frames of (stamp in s, hands of person 1); what is believed of the person in each."""
    hands = HandsOverTime()
    return [hands.update({1: seen}, round(stamp_s * 1e9), 0.2)[1] for stamp_s, seen in frames]


def test_a_hand_is_believed_when_it_was_held():
    assert believed((1.0, KNOWN), (1.1, KNOWN), (1.2, KNOWN)) == [UNKNOWN, UNKNOWN, KNOWN]


def test_a_twitch_is_not_believed():
    twitch = Hands(Hand.UP, Hand.UP)
    assert believed((1.0, KNOWN), (1.2, KNOWN), (1.3, twitch), (1.4, KNOWN), (1.5, KNOWN))[1:] == [KNOWN] * 4


def test_unknown_is_believed_at_once_and_begins_anew():
    assert believed((1.0, KNOWN), (1.2, KNOWN), (1.3, UNKNOWN), (1.4, KNOWN)) == [UNKNOWN, KNOWN, UNKNOWN, UNKNOWN]


def test_time_that_jumps_back_forgets():
    assert believed((9.0, KNOWN), (9.2, KNOWN), (1.0, KNOWN), (1.2, KNOWN)) == [UNKNOWN, KNOWN, UNKNOWN, KNOWN]


def test_who_leaves_is_forgotten_and_others_are_apart():
    hands = HandsOverTime()
    hands.update({1: KNOWN, 2: UNKNOWN}, 0, 0.2)
    assert hands.update({2: KNOWN, 1: KNOWN}, 200_000_000, 0.2) == {1: KNOWN, 2: UNKNOWN}
    assert hands.update({2: KNOWN}, 400_000_000, 0.2) == {2: KNOWN}
    assert hands.update({1: KNOWN}, 600_000_000, 0.2) == {1: UNKNOWN}
