"""Whether somebody is there, by all that is known: the finder's score, the joints' scores, and what of them is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.stages.pose2d import SUREST_JOINTS, Pose2D

Array = NDArray[np.float64]

WEIGHTS = np.array([1.62, 0.91, 1.54])
"""Of the log odds of the finder's score, the person's score and the joints' visibility."""
BIAS = -2.76
_MOST_CERTAIN = 0.999


def evidence(found_score: Array, pose: Pose2D) -> Array:
    """What presence weighs, [n, 3] probabilities: the finder's score [n], the person's score, and the visibility of
    the joints that are seen best."""
    visible = np.sort(pose.visible, -1)[..., -SUREST_JOINTS:].mean(-1)
    return np.stack([found_score, pose.person_score, visible], -1)


def presence(found_score: Array, pose: Pose2D) -> Array:
    """[n] probability that the boxes that a finder gave these scores [n] hold the people of these poses.

    A finder for small pictures is unsure of many real people; leaves and letters have joints that look right but hardly
    any that are seen. Together they tell people from things far better than each of them alone.
    """
    known = evidence(found_score, pose).clip(1 - _MOST_CERTAIN, _MOST_CERTAIN)
    return np.asarray(1 / (1 + np.exp(-(np.log(known / (1 - known)) @ WEIGHTS + BIAS))))
