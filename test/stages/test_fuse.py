"""Fusion over synthetic cameras that err mostly in depth, each along its own rays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose3d_ros.person import JointState, Person
from pose3d_ros.skeleton import INDEX
from pose3d_ros.stages.fuse import Fuser, distance, fuse_joints, in_frame

BODY = np.random.default_rng(0).uniform([-0.3, -0.3, 0], [0.3, 0.3, 1.8], (24, 3))
SIZE_SD, ASIDE_SD, OWN_SD = 0.05, 0.02, 0.05


def camera(angle: float) -> np.ndarray:
    """Where a camera stands: 4 m from the origin, 1.5 m high."""
    return np.array([4 * np.cos(angle), 4 * np.sin(angle), 1.5])


def look(centre: np.ndarray, body: np.ndarray, rng: np.random.Generator, person_id: int = 1) -> Person:
    """What a camera says of a body: its place errs along the ray, each joint to all sides, as its covariance says."""
    ray = body[0] - centre
    cov_root = SIZE_SD**2 * np.outer(ray, ray) + ASIDE_SD**2 * np.eye(3)
    joints = body + rng.multivariate_normal(np.zeros(3), cov_root) + rng.normal(0, OWN_SD, body.shape)
    return person(joints, cov_root + OWN_SD**2 * np.eye(3), person_id)


def person(joints_m: np.ndarray, cov: np.ndarray, person_id: int = 1) -> Person:
    nothing = np.full((24, 2), np.nan)
    return Person(
        person_id, np.full(4, np.nan), 0.9, nothing, np.full((24, 2, 2), np.nan), np.full(24, 0.8),
        np.zeros(24, np.uint8), joints_m, np.broadcast_to(cov, (24, 3, 3)).copy(),
    )  # fmt: skip


def stacked(people: list[Person]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([p.joints_m for p in people]), np.stack([p.joints_m_cov for p in people])


@pytest.mark.parametrize("cameras", [2, 3, 4])
def test_several_cameras_are_better_than_the_best_and_know_how_good_they_are(cameras: int) -> None:
    rng = np.random.default_rng(cameras)
    alone, fused, squared = [], [], []
    for _ in range(100):
        people = [look(camera(k * np.pi / 3), BODY, rng) for k in range(cameras)]
        joints_m, cov, _ = fuse_joints(*stacked(people))
        alone.append([np.linalg.norm(p.joints_m - BODY, axis=-1).mean() for p in people])
        fused.append(np.linalg.norm(joints_m - BODY, axis=-1).mean())
        squared.append(np.einsum("ni,nij,nj->n", joints_m - BODY, np.linalg.inv(cov), joints_m - BODY))
    assert np.mean(fused) < 0.7 * np.mean(alone, 0).min()
    # Of a normal distribution in space, 60.8 % lie within chi² 3 and 95 % within 7.81.
    assert 0.56 < np.mean(np.array(squared) < 3) < 0.78
    assert 0.93 < np.mean(np.array(squared) < 7.81) < 0.995


def test_left_taken_for_right_by_one_of_three_hardly_counts() -> None:
    rng = np.random.default_rng(1)
    people = [look(camera(k * np.pi / 2), BODY, rng) for k in range(3)]
    pair = [INDEX["left_ankle"], INDEX["right_ankle"]]
    apart = BODY.copy()
    apart[pair] = [[0.5, 0.5, 0.1], [-0.5, -0.5, 0.1]]
    right = [person(p.joints_m + apart - BODY, p.joints_m_cov[0]) for p in people]
    wrong = right[0].joints_m.copy()
    wrong[pair] = wrong[pair[::-1]]
    mistaken = [person(wrong, right[0].joints_m_cov[0]), *right[1:]]
    (fair, _, _), (fused, cov, weight) = fuse_joints(*stacked(right)), fuse_joints(*stacked(mistaken))
    blind = np.linalg.inv(np.linalg.inv(stacked(mistaken)[1]).sum(0))
    product = np.einsum("nij,cnjk,cnk->ni", blind, np.linalg.inv(stacked(mistaken)[1]), stacked(mistaken)[0])
    off = np.linalg.norm(fused - apart, axis=-1)[pair]
    assert (off < 0.4 * np.linalg.norm(product - apart, axis=-1)[pair]).all()
    assert (weight[0, pair] < 0.2).all()
    others = np.setdiff1d(np.arange(24), pair)
    assert np.allclose(fused[others], fair[others])
    assert (np.trace(cov[pair], axis1=1, axis2=2) > np.trace(cov[others], axis1=1, axis2=2).mean()).all()


def test_two_that_contradict_each_other_are_covered_both() -> None:
    here, there = (person(BODY + offset, 0.01**2 * np.eye(3)) for offset in ([0, 0, 0], [0.5, 0, 0]))
    joints_m, cov, _ = fuse_joints(*stacked([here, there]))
    assert np.allclose(joints_m, BODY + np.array([0.25, 0, 0]), atol=1e-6)
    assert (np.sqrt(cov[:, 0, 0]) > 0.05).all()


def test_joints_that_a_camera_does_not_know_come_from_the_others() -> None:
    rng = np.random.default_rng(2)
    joints_m, cov = stacked([look(camera(0), BODY, rng), look(camera(1), BODY, rng)])
    joints_m[0, 3], joints_m[:, 5] = np.nan, np.nan
    fused = fuse_joints(joints_m, cov)
    assert np.allclose(fused.joints_m[3], joints_m[1, 3])
    assert np.isnan(fused.joints_m[5]).all()
    assert np.isnan(fused.cov[5]).all()
    assert np.isfinite(np.delete(fused.joints_m, 5, 0)).all()


def test_another_frame() -> None:
    R, t = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2, 3])
    moved = in_frame(person(BODY, np.diag([1.0, 4, 9])), R, t)
    assert np.allclose(moved.joints_m, BODY @ R.T + t)
    assert np.allclose(moved.joints_m_cov, np.diag([4.0, 1, 9]))
    assert moved.joints_m_s is None
    walking = replace(person(BODY, np.eye(3)), joints_m_s=np.tile([1.0, 0, 2], (24, 1)))
    assert np.allclose(in_frame(walking, R, t).joints_m_s, [0, 1, 2])
    assert distance(*(fuse_joints(*stacked([p])) for p in (moved, moved))) == 0


def fuse(fuser: Fuser, rng: np.random.Generator, ids: dict[int, dict[int, int]]) -> list[Person]:
    """What the fuser makes of cameras (at 90° steps) that see bodies 2 m apart: {camera: {body: the camera's id}}."""
    seen = {
        c: [look(camera(c * np.pi / 2), BODY + np.array([0, 2 * b, 0]), rng, own) for b, own in bodies.items()]
        for c, bodies in ids.items()
    }
    return fuser.fuse(seen)


def bodies(people: list[Person]) -> dict[int, int]:
    """The body that each fused id is at."""
    return {p.id: round(float((p.joints_m - BODY)[:, 1].mean() / 2)) for p in people}


def test_ids_stay_while_cameras_come_and_go() -> None:
    fuser, rng = Fuser(), np.random.default_rng(3)
    first = bodies(fuse(fuser, rng, {0: {0: 1, 1: 2}, 1: {1: 1, 0: 2}, 2: {0: 7}}))
    assert sorted(first) == [1, 2]
    assert sorted(first.values()) == [0, 1]
    for ids in ({1: {1: 1, 0: 2}}, {1: {1: 1, 0: 2}, 2: {0: 7}}, {0: {0: 1, 1: 2}, 1: {1: 1, 0: 2}, 2: {}}):
        for _ in range(20):
            assert bodies(fuse(fuser, rng, ids)) == first
    # One camera lost a person and found them again under another id of its own; the others still know them.
    assert bodies(fuse(fuser, rng, {0: {0: 5, 1: 2}, 1: {1: 1, 0: 2}})) == first
    # Nobody whom anybody knew is there any more.
    assert set(bodies(fuse(fuser, rng, {0: {0: 9}}))) == {3}


def test_two_people_of_one_camera_are_never_the_same() -> None:
    rng = np.random.default_rng(4)
    twins = [look(camera(0), BODY, rng, k) for k in (1, 2)]
    assert len(Fuser().fuse({"a": twins, "b": [look(camera(1), BODY, rng)]})) == 2


def test_who_were_taken_for_two_become_one_under_the_older_id() -> None:
    fuser = Fuser()
    near, far = (person(BODY + np.array([x, 0, 0]), 0.05**2 * np.eye(3)) for x in (0, 3.0))
    assert [p.id for p in fuser.fuse({"a": [near], "b": [far]})] == [1, 2]
    assert [p.id for p in fuser.fuse({"a": [near], "b": [near]})] == [1]
    assert [p.id for p in fuser.fuse({"b": [near]})] == [1]


def test_state_and_score_are_those_of_who_sees_best() -> None:
    rng = np.random.default_rng(5)
    hidden = look(camera(0), BODY, rng)
    hidden.joint_state[:] = JointState.PREDICTED
    (fused,) = Fuser().fuse({"a": [hidden], "b": [look(camera(1), BODY, rng)]})
    assert (fused.joint_state == JointState.VISIBLE).all()
    assert (fused.joint_score <= 0.8).all()
    assert np.median(fused.joint_score) == pytest.approx(0.8)
    assert np.isnan(fused.joints_px).all()


def test_a_joint_is_not_visible_by_a_camera_that_is_not_believed() -> None:
    """It calls something else the left shoulder, and sees that well."""
    people = [person(BODY.copy(), OWN_SD**2 * np.eye(3)) for _ in range(3)]
    for one in people[:2]:
        one.joint_state[INDEX["left_shoulder"]] = JointState.INFERRED
    people[2].joints_m[INDEX["left_shoulder"]] += [0, 0.6, 0]
    (fused,) = Fuser().fuse({"a": [people[0]], "b": [people[1]], "c": [people[2]]})
    assert fused.joint_state[INDEX["left_shoulder"]] == JointState.INFERRED
    assert fused.joint_state[INDEX["right_shoulder"]] == JointState.VISIBLE


def unsure(one: Person, sd: float) -> Person:
    """Carried on without being seen, less surely with every frame."""
    state = np.full(24, JointState.PREDICTED, np.uint8)
    return replace(one, joint_state=state, joints_m_cov=one.joints_m_cov + sd**2 * np.eye(3))


def test_who_is_lost_for_a_moment_does_not_become_somebody_near() -> None:
    fuser = Fuser()
    one, other = (person(BODY + np.array([x, 0, 0]), OWN_SD**2 * np.eye(3)) for x in (0, 1.5))
    assert len(fuser.fuse({"a": [one], "b": [other]})) == 2
    for sd in (0.3, 0.6, 0.9):
        assert [p.id for p in fuser.fuse({"a": [unsure(one, sd)], "b": [other]})] == [1, 2]
    assert [p.id for p in fuser.fuse({"a": [], "b": [other]})] == [2]


def test_who_goes_from_one_cameras_picture_into_anothers_keeps_the_id() -> None:
    fuser, one = Fuser(), person(BODY, OWN_SD**2 * np.eye(3))
    fuser.fuse({"a": [one], "b": []})
    assert [p.id for p in fuser.fuse({"a": [unsure(one, 0.3)], "b": [one]})] == [1]
    assert [p.id for p in fuser.fuse({"a": [], "b": [one]})] == [1]


def test_two_that_a_slow_camera_knows_less_and_less_stay_two() -> None:
    fuser = Fuser()
    one, other = (person(BODY + np.array([x, 0, 0]), OWN_SD**2 * np.eye(3)) for x in (0, 1.0))
    fuser.fuse({"a": [one], "b": [other]})
    slow = replace(one, joints_m_cov=one.joints_m_cov + 0.4**2 * np.eye(3))
    assert distance(fuse_joints(*stacked([slow])), fuse_joints(*stacked([other]))) < 3
    assert len(fuser.fuse({"a": [slow], "b": [other]})) == 2


def test_velocity_is_the_mean_where_all_know_theirs() -> None:
    still = replace(person(BODY, np.eye(3)), joints_m_s=np.zeros((24, 3)))
    walking = replace(still, joints_m_s=np.tile([1.0, 0, 2], (24, 1)))
    (fused,) = Fuser().fuse({"a": [still], "b": [walking]})
    assert np.allclose(fused.joints_m_s, [0.5, 0, 1])
    (fused,) = Fuser().fuse({"a": [walking], "b": [person(BODY, np.eye(3))]})
    assert fused.joints_m_s is None


def test_nobody() -> None:
    assert Fuser().fuse({}) == []
    assert Fuser().fuse({"a": [], "b": []}) == []
