"""Whether somebody is there, by all that is known: the finder's score, the joints' scores, and what of them is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pose3d_ros.stages.pose2d import Pose2D

Array = NDArray[np.float64]

_SEEN_JOINTS = 3
"""Somebody who comes in at the picture's edge shows little of themselves."""
WEIGHTS = np.array([2.1, 0.76, 1.34])
BIAS = -3.35
"""Of log_odds, as `pose3d evaluate presence` finds them for the networks of CPUs."""
_MOST_CERTAIN = 0.999


def log_odds(found_score: Array, pose: Pose2D) -> Array:
    """[n, 3] of the finder's score [n], of the person's score, and of the visibility of the joints best seen."""
    known = np.stack([found_score, pose.person_score, _best_seen(pose)], -1).clip(1 - _MOST_CERTAIN, _MOST_CERTAIN)
    return np.asarray(logit(known))


def presence(found_score: Array, pose: Pose2D) -> Array:
    """[n] probability that the boxes that the finder gave these scores [n] hold people, who have these poses.

    The finder is unsure of many real people; leaves and letters have joints that look right, but few that are seen.
    Together they tell people from things far better than each alone.
    """
    return np.asarray(expit(log_odds(found_score, pose) @ WEIGHTS + BIAS))


def still_there(pose: Pose2D) -> Array:
    """[n] how far the joints alone tell that people who were there before still are, 0...1: no more than they are sure,
    and no more than they are seen. In the crop that somebody has left, joints have scores of 0.3 to 0.6, and none is
    seen."""
    return np.minimum(pose.person_score, _best_seen(pose))


def _best_seen(pose: Pose2D) -> Array:
    """[n] visibility of the joints best seen."""
    return np.asarray(np.sort(pose.visible, -1)[:, -_SEEN_JOINTS:].mean(-1))
