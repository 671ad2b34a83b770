"""Depth: it corrects root and size, honestly, and nothing that is no person ever moves them."""

import numpy as np
import pytest
from simulated_people import CAMERA, FOCAL_PX, RADII_M, as_measured, depth_image, see

from pose3d_ros.skeleton import NUM_JOINTS, indices
from pose3d_ros.stages.body import Body, sized
from pose3d_ros.stages.depth import JointDepths, joint_depths, with_depth

SEEN = np.ones((1, NUM_JOINTS), bool)
LEGS = indices("left_knee", "right_knee", "left_ankle", "right_ankle", "left_toe", "right_toe")


def one(seen, i):
    """One of the people, in arrays of one."""
    body = Body(*(part[i : i + 1] for part in seen.body))
    return body, seen.joints_m[i : i + 1], seen.sigma_m[i : i + 1]


def depths(seen, i, image, joints=SEEN):
    rows = slice(i, i + 1)
    return joint_depths(image, seen.joints_px[rows], seen.cov_px[rows], joints, seen.expected_m[rows], FOCAL_PX)


def after(seen, i, image, joints=SEEN):
    body, joints_m, sigma_m = one(seen, i)
    return with_depth(body, joints_m, sigma_m, depths(seen, i, image, joints))


def test_the_root_falls_to_a_few_centimetres_and_the_covariance_says_so():
    people = see(120, seed=1)
    rng = np.random.default_rng(5)
    errors, sigmas, sizes = [], [], []
    for i in range(120):
        radii = RADII_M * rng.normal(1.0, 0.15) * rng.normal(1.0, 0.1, NUM_JOINTS)
        image = as_measured(depth_image(people.points_m[i], radii), seed=i)
        body = after(people, i, image)
        errors.append(body.root_m[0, 2] - people.root_m[i, 2])
        sigmas.append(np.sqrt(body.cov[0, 2, 2]))
        sizes.append((body.size[0] - people.size[i]) / np.sqrt(body.size_variance[0]))
    before = people.body.root_m[:, 2] - people.root_m[:, 2]
    assert np.sqrt(np.mean(before**2)) > 0.12
    assert np.sqrt(np.mean(np.square(errors))) < 0.05
    assert np.mean(sigmas) < 0.06
    for normalised in (np.abs(np.array(errors) / sigmas), np.abs(sizes)):
        assert 0.60 < np.mean(normalised < 1) < 0.92
        assert np.mean(normalised < 2) > 0.92


def test_joints_become_as_certain_as_the_body():
    people = see(1, seed=3, size=1.08)
    body = after(people, 0, as_measured(depth_image(people.points_m[0])))
    joints, sigma = sized(people.joints_m, people.sigma_m, body)
    before, sigma_before = sized(people.joints_m, people.sigma_m, people.body)
    head = indices("head")[0]
    np.testing.assert_allclose(sigma_before, people.sigma_m, rtol=1e-9)
    np.testing.assert_allclose(before, people.joints_m)
    assert sigma[0, head] < 0.95 * sigma_before[0, head]
    assert np.linalg.norm(joints[0, head]) > 1.04 * np.linalg.norm(before[0, head])


@pytest.mark.parametrize("image", [
    np.zeros((480, 640)), np.full((480, 640), np.nan), np.full((480, 640), np.inf), np.full((480, 640), 60.0),
    np.full((480, 640), 0.02),
], ids=["zeros", "nan", "inf", "too far", "too near"])  # fmt: skip
def test_a_hole_changes_nothing(image):
    people = see(1)
    assert np.isnan(depths(people, 0, image).z_m).all()
    for new, old in zip(after(people, 0, image), one(people, 0)[0], strict=True):
        np.testing.assert_array_equal(new, old)


def test_zeros_and_holes_never_become_a_depth():
    people = see(20, seed=2)
    for i in range(20):
        z = depths(people, i, as_measured(depth_image(people.points_m[i]), seed=i, hole_share=0.5)).z_m[0]
        measured = np.isfinite(z)
        assert (np.abs(z - people.points_m[i, :, 2])[measured] < 0.3).all()


@pytest.mark.parametrize("background_m", [3.25, 3.6, 5.0])
def test_limbs_before_a_wall(background_m):
    """The windows of thin limbs straddle the wall; with some joints beside the limb."""
    people = see(20, seed=4, distance=(2.8, 2.9))
    errors = [
        after(people, i, as_measured(depth_image(people.points_m[i], background_m=background_m), i)).root_m[0, 2]
        - people.root_m[i, 2]
        for i in range(20)
    ]
    assert np.sqrt(np.mean(np.square(errors))) < 0.06


def test_an_occluder_before_the_legs_and_wrong_background_in_an_arm():
    people = see(20, seed=6, distance=(2.5, 3.5))
    arm = indices("left_elbow", "left_wrist")
    errors = []
    for i in range(20):
        image = depth_image(people.points_m[i])
        knees_px = people.joints_px[i][LEGS[:2], 1].min()
        image[int(knees_px) - 12 :] = people.root_m[i, 2] - 0.5  # a table that stage 1 did not see
        for x, y in people.joints_px[i][arm].astype(int):
            image[y - 20 : y + 20, x - 20 : x + 20] = people.root_m[i, 2] + 0.45
        errors.append(after(people, i, as_measured(image, i)).root_m[0, 2] - people.root_m[i, 2])
    assert np.sqrt(np.mean(np.square(errors))) < 0.08


def test_joints_that_are_not_seen_are_not_looked_at():
    people = see(1)
    image = depth_image(people.points_m[0])
    seen = SEEN.copy()
    seen[0, LEGS] = False
    z = depths(people, 0, image, seen).z_m[0]
    assert np.isnan(z[LEGS]).all()
    assert np.isfinite(z).sum() > 10


def test_a_wall_behind_a_person_without_depth_is_no_person():
    """A stereo camera sees nothing of black clothes, and the wall behind through them."""
    people = see(20, seed=8, distance=(2.5, 3.0))
    for i in range(20):
        body = after(people, i, np.full((480, 640), people.root_m[i, 2] * 1.6))
        np.testing.assert_array_equal(body.mean, one(people, i)[0].mean)


def test_a_child_is_placed_where_depth_says():
    people = see(10, seed=9, size=0.65, distance=(2.0, 3.0), height_m=0.9)
    for i in range(10):
        body = after(people, i, as_measured(depth_image(people.points_m[i], 0.7 * RADII_M), i))
        assert abs(people.body.root_m[i, 2] - people.root_m[i, 2]) > 0.5
        assert abs(body.root_m[0, 2] - people.root_m[i, 2]) < 0.12
        assert abs(body.size[0] - 0.65) < 0.08


def test_two_depths_are_too_few():
    people = see(1)
    z, variance = np.full((1, NUM_JOINTS), np.nan), np.full((1, NUM_JOINTS), 0.001)
    z[0, :2] = 0.9 * people.expected_m[0, :2]
    np.testing.assert_array_equal(with_depth(*one(people, 0), JointDepths(z, variance)).mean, people.body.mean)


def test_nobody_and_nowhere():
    nobody = see(0)
    arguments = (nobody.joints_px, nobody.cov_px, np.ones((0, NUM_JOINTS), bool), nobody.expected_m, FOCAL_PX)
    measured = joint_depths(np.ones((480, 640)), *arguments)
    assert with_depth(nobody.body, nobody.joints_m, nobody.sigma_m, measured).mean.shape == (0, 4)
    people = see(1)
    body = Body(*(np.full_like(part, np.nan) for part in people.body))
    expected = np.full((1, NUM_JOINTS), np.nan)
    measured = joint_depths(np.ones((480, 640)), people.joints_px, people.cov_px, SEEN, expected, FOCAL_PX)
    assert np.isnan(with_depth(body, people.joints_m, people.sigma_m, measured).mean).all()


def test_windows_at_the_border_and_outside():
    people = see(1)
    shifted = people.joints_px + np.array([CAMERA.width / 2, 0])
    measured = joint_depths(np.ones((480, 640)), shifted, people.cov_px, SEEN, np.ones((1, NUM_JOINTS)), FOCAL_PX)
    outside = shifted[0, :, 0] > CAMERA.width + 80
    assert np.isnan(measured.z_m[0][outside]).all()
