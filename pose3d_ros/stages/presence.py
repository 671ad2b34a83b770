"""Whether somebody is there, by all that is known: the finder's score, the joints' scores, and what of them is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.stages.pose2d import SUREST_JOINTS, Pose2D

Array = NDArray[np.float64]

WEIGHTS = np.array([1.62, 0.91, 1.54])
"""Of log_odds; `pose3d evaluate presence` finds them."""
BIAS = -2.76
"""That of equally many errors on people and on things, less 1.5: an alarm for nothing is worse than a late one."""
_MOST_CERTAIN = 0.999


def log_odds(found_score: Array, pose: Pose2D) -> Array:
    """[n, 3] of the finder's score [n], of the joints' mean score, and of their visibility; of the surest joints."""
    visible = np.sort(pose.visible, -1)[:, -SUREST_JOINTS:].mean(-1)
    known = np.stack([found_score, pose.person_score, visible], -1).clip(1 - _MOST_CERTAIN, _MOST_CERTAIN)
    return np.asarray(np.log(known / (1 - known)))


def presence(found_score: Array, pose: Pose2D) -> Array:
    """[n] probability that the boxes that the finder gave these scores [n] hold people, who have these poses.

    The finder is unsure of many real people; leaves and letters have joints that look right, but few that are seen.
    Together they tell people from things far better than each alone.
    """
    return np.asarray(1 / (1 + np.exp(-(log_odds(found_score, pose) @ WEIGHTS + BIAS))))
