"""Other ways to lift: an exemplar of the library is found again, bones keep their length, the 1€ filter follows."""

import numpy as np
import pytest

from pose3d_ros.data.mocap import MocapClips
from pose3d_ros.evaluation.baselines import Exemplars, kinematic_fit, one_euro
from pose3d_ros.evaluation.metrics import pa_mpjpe
from pose3d_ros.skeleton import BONES, NUM_JOINTS, ROOT


@pytest.fixture(scope="module")
def clips():
    """Forty people of random joints, about as large as people, who stand still for two frames."""
    rng = np.random.default_rng(0)
    people = rng.normal([0, 0, 1], [0.25, 0.25, 0.5], (40, NUM_JOINTS, 3)).astype(np.float32)
    return MocapClips(people.repeat(2, axis=0), 2 * np.arange(41), tuple(f"clip{i}" for i in range(40)), 30.0)


def camera_view(clips, person, distance_m):
    """The person's joints [1,24,3] for a level camera on the y axis."""
    joints = clips[person][:1] - [0, 0, 1]
    return np.stack([joints[..., 0], -joints[..., 2], joints[..., 1] + distance_m], -1)


@pytest.mark.parametrize("distance_m", [3.0, 6.0])
def test_a_person_of_the_library_is_found(clips, distance_m):
    joints = camera_view(clips, 7, distance_m)
    lifted = Exemplars(clips, 6000, 1).lift(joints[..., :2] / joints[..., 2:], np.ones((1, NUM_JOINTS)))
    assert np.abs(lifted[:, ROOT]).max() < 1e-9
    others = [pa_mpjpe(lifted, camera_view(clips, k, distance_m)) for k in range(len(clips))]
    assert np.argmin(others) == 7
    assert np.linalg.norm(lifted - (joints - joints[:, ROOT, None]), axis=-1).mean() < 0.25


def test_joints_that_are_not_seen_are_the_exemplars(clips):
    joints = camera_view(clips, 7, 4.0)
    rays, score = joints[..., :2] / joints[..., 2:], np.ones((1, NUM_JOINTS))
    library = Exemplars(clips, 6000, 1)
    whole = library.lift(rays, score)
    score[:, 13], rays[:, 13] = 0, 0
    part = library.lift(rays, score)
    assert np.isfinite(part).all()
    assert np.linalg.norm(part[:, 13] - whole[:, 13]) < 0.4


def test_the_fit_keeps_directions_and_makes_lengths_the_mean_so_far(clips):
    joints = np.stack([clips[3][0] * scale for scale in (1.0, 1.2)])
    joints = joints - joints[:, ROOT, None]
    fitted = kinematic_fit(joints)
    np.testing.assert_allclose(fitted[0], joints[0], atol=1e-6)
    for parent, child in BONES:
        bone = joints[0, child] - joints[0, parent]
        np.testing.assert_allclose(fitted[1, child] - fitted[1, parent], 1.1 * bone, atol=1e-5)


def test_one_euro_calms_what_stands_and_follows_what_moves():
    rng = np.random.default_rng(0)
    still = rng.normal(0, 0.01, (200, 5))
    assert one_euro(still, 30.0)[50:].std() < 0.6 * still.std()
    moving = np.linspace(0, 20, 200)[:, None]
    assert np.abs(one_euro(moving, 30.0) - moving).max() < 0.3
