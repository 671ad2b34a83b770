"""Ground: it helps with people who stand on it, and does little harm to the others."""

import numpy as np
import pytest
from simulated_people import see, standing

from pose3d_ros.person import Ground
from pose3d_ros.skeleton import INDEX
from pose3d_ros.stages.ground import with_ground

HEIGHT_M = 1.2
UP = np.array([0.0, -1.0, 0.0])
GROUND = Ground(UP, HEIGHT_M)


def error_and_sigma(people, body):
    return body.root_m[:, 2] - people.root_m[:, 2], np.sqrt(body.cov[:, 2, 2])


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def on_ground(people, ground=GROUND):
    return with_ground(people.body, people.joints_m, people.sigma_m, ground)


def test_people_who_stand_are_placed_better_and_the_covariance_says_so():
    people = see(400, seed=1, distance=(2.0, 4.0), height_m=HEIGHT_M)
    tilts = np.random.default_rng(2).normal(0, 0.007, 400)
    bodies = []
    for i, tilt in enumerate(tilts):
        one = see_one(people, i)
        bodies.append(with_ground(*one, Ground(np.array([0, -np.cos(tilt), -np.sin(tilt)]), HEIGHT_M)))
    error = np.array([b.root_m[0, 2] for b in bodies]) - people.root_m[:, 2]
    sigma = np.sqrt([b.cov[0, 2, 2] for b in bodies])
    before, _ = error_and_sigma(people, people.body)
    assert rms(error) < 0.75 * rms(before)
    # Cautious: of these people nobody is on a step, which it cannot know.
    assert 0.60 < np.mean(np.abs(error) < sigma) < 0.92
    assert np.mean(np.abs(error) < 2 * sigma) > 0.92


def see_one(people, i):
    body = type(people.body)(*(part[i : i + 1] for part in people.body))
    return body, people.joints_m[i : i + 1], people.sigma_m[i : i + 1]


@pytest.mark.parametrize("step_m", [0.15, 0.3, 0.75])
def test_people_on_a_step_or_a_table_are_dragged_by_no_more_than_their_sigma(step_m):
    people = see(200, seed=3, height_m=HEIGHT_M - step_m)
    error, sigma = error_and_sigma(people, on_ground(people))
    before, _ = error_and_sigma(people, people.body)
    assert np.mean(np.abs(error) < 2 * sigma) > 0.9
    assert rms(error) < 1.5 * rms(before)


def test_on_a_table_nothing_but_a_step_is_believed():
    people = see(100, seed=4, height_m=HEIGHT_M - 0.75)
    shift = on_ground(people).root_m - people.body.root_m
    assert (np.linalg.norm(shift, axis=1) < 0.5 * np.sqrt(people.body.cov[:, 2, 2])).all()


def lying():
    pose = standing()
    return pose[:, [1, 2, 0]] * [1, -1, 1]  # along the camera's x, on the back


@pytest.mark.parametrize("pose", [lying(), standing() * [1, -1, 1]], ids=["lying", "head down"])
def test_people_who_do_not_stand_are_left_alone(pose):
    people = see(20, seed=5, pose=pose)
    for new, old in zip(on_ground(people), people.body, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-12)


def test_the_foot_that_is_lifted_does_not_count():
    pose = standing()
    pose[[INDEX["left_ankle"], INDEX["left_toe"]]] += [0.0, -0.35, 0.2]
    people = see(100, seed=6, pose=pose, height_m=HEIGHT_M)
    before, _ = error_and_sigma(people, people.body)
    assert rms(error_and_sigma(people, on_ground(people))[0]) < 0.8 * rms(before)


def test_without_a_height_only_up_is_known():
    people = see(5)
    assert on_ground(people, Ground(UP)) is people.body


def test_nowhere_stays_nowhere():
    people = see(2)
    for part in people.body:
        part[0] = np.nan
    body = on_ground(people)
    assert np.isnan(body.mean[0]).all()
    assert np.isfinite(body.mean[1]).all()
    assert on_ground(see(0)).mean.shape == (0, 4)


@pytest.mark.parametrize(("pitch_deg", "up"), [(0, [0, -1, 0]), (90, [0, 0, -1]), (-90, [0, 0, 1])])
def test_up_of_a_tilted_camera(pitch_deg, up):
    np.testing.assert_allclose(Ground.of_tilted_camera(pitch_deg).up, up, atol=1e-12)


@pytest.mark.parametrize(
    ("up", "height"), [([0, 0, 0], 1.0), ([0, 1], 1.0), ([np.nan, 0, 1], 1.0), ([0, 0, 1], np.inf)]
)
def test_ground_that_is_none(up, height):
    with pytest.raises(ValueError, match="must be"):
        Ground(np.array(up), height)
