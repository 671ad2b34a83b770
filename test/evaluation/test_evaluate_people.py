"""Figures of the whole pipeline in scenes, on people whose truth is known."""

import numpy as np

from pose3d_ros.evaluation.evaluate_people import Found, figures
from pose3d_ros.person import Person
from pose3d_ros.skeleton import NUM_JOINTS

POSE = np.random.default_rng(0).normal(0, 0.3, (NUM_JOINTS, 3))
POSE[0] = 0
ALL = np.ones(NUM_JOINTS, bool)


def person(joints_m: np.ndarray, sigma_m: float) -> Person:
    cov = np.tile(sigma_m**2 * np.eye(3), (NUM_JOINTS, 1, 1))
    zeros = np.zeros(NUM_JOINTS)
    pixels = np.zeros((NUM_JOINTS, 2))
    return Person(1, np.zeros(4), 0.9, pixels, cov[:, :2, :2], zeros, zeros.astype(np.uint8), joints_m, cov)


def test_distance_pose_and_coverage():
    """Of three people one is not found; two are 0.2 m too far along their ray, one of them with too small a sigma."""
    true = POSE + np.array([0.0, 0.0, 4.0])
    further = POSE + np.array([0.0, 0.0, 4.2])
    line = figures([Found(true, ALL, who) for who in (person(further, 0.3), person(further, 0.05), None)])
    assert "3 people,  66.7 % found" in line
    assert "root distance  200 mm (50 % in 68 %, 50 % in 95 %)" in line
    assert line.endswith("pose    0 mm (joints that show 0)")


def test_hidden_joints_by_themselves():
    """Half of the joints are hidden, and 0.1 m off."""
    true, hidden = POSE + np.array([0.0, 0.0, 4.0]), np.arange(NUM_JOINTS) >= NUM_JOINTS // 2
    line = figures([Found(true, ~hidden, person(true + 0.1 * hidden[:, None] * [1, 0, 0], 0.3))])
    assert line.endswith("pose   50 mm (joints that show 0, hidden 100)")


def test_nobody_found():
    assert figures([Found(POSE, ALL, None)]).endswith("nobody found")
