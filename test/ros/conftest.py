"""What the tests of the ROS room share."""

from __future__ import annotations

import numpy as np
import pytest

from pose3d_ros import skeleton
from pose3d_ros.person import Person


@pytest.fixture
def make_person():
    """Makes a person who stands `depth_m` in front of the camera; `metres=False`: known in pixels only."""

    def make(person_id=1, depth_m=3.0, metres=True, state=0):
        count = skeleton.NUM_JOINTS
        random = np.random.default_rng(person_id)
        joints_m = random.normal(0, 0.4, (count, 3)) + (0, 0, depth_m)
        spread = random.normal(0, 0.02, (count, 3, 3))
        return Person(
            id=person_id,
            box=np.array([100.0, 50, 300, 450]),
            score=0.9,
            joints_px=320 + 500 * joints_m[:, :2] / joints_m[:, 2:],
            joints_px_cov=np.tile(4.0 * np.eye(2), (count, 1, 1)),
            joint_score=random.uniform(0.5, 1, count),
            joint_state=np.full(count, state, np.uint8),
            joints_m=joints_m if metres else None,
            joints_m_cov=spread @ spread.transpose(0, 2, 1) if metres else None,
        )

    return make
