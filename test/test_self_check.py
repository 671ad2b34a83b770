"""The comparison of an engine's answers with those in single precision."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pose3d_ros.self_check import Check, Sample, check


def checked(role: str, expected: dict, answers: dict) -> Check:
    """What the check says of an engine that always gives these answers."""
    return check(role, SimpleNamespace(run=lambda _: answers), [Sample({}, expected)])


def poses(shape: tuple[int, ...], score: float) -> dict[str, np.ndarray]:
    return {"joints": np.full((*shape, 2), 50, np.float32), "score": np.full(shape, score, np.float32)}


@pytest.mark.parametrize("shape", [(2, 24), (2, 24, 3)], ids=["a place per joint", "candidates"])
@pytest.mark.parametrize(("shift", "passed"), [(0.4, True), (0.8, False)])
def test_joints_may_move_a_pixel(shape: tuple, shift: float, passed: bool) -> None:
    expected = poses(shape, 0.9)
    result = checked("pose2d", expected, {**expected, "joints": expected["joints"] + np.float32([shift, shift * 1.5])})
    assert result.passed == passed
    assert ("at most 1 px is allowed" in result.text) != passed


def test_only_sure_joints_count() -> None:
    expected = poses((1, 24, 3), 0.1)
    expected["score"][..., 0] = 0.9
    wandered = expected["joints"].copy()
    wandered[..., 1:, :] += 40
    assert checked("pose2d", expected, {**expected, "joints": wandered}).passed
    wandered[..., 0, :] += 40
    assert not checked("pose2d", expected, {**expected, "joints": wandered}).passed


def test_of_joints_that_are_all_unsure_the_surest_count() -> None:
    expected = poses((1, 24), 0.1)
    assert not checked("pose2d", expected, {**expected, "joints": expected["joints"] + 40}).passed


@pytest.mark.parametrize(("shift_m", "passed"), [(0.004, True), (0.006, False)])
def test_metres_may_move_5_mm(shift_m: float, passed: bool) -> None:
    expected = {"joints_m": np.ones((3, 24, 3), np.float32)}
    assert checked("lift", expected, {"joints_m": expected["joints_m"] + [0, 0, shift_m]}).passed == passed


def test_each_number_of_people_must_be_right() -> None:
    """An engine has other kernels for each, and those for two may be ruined though those for eight are not."""

    def sample(count: int) -> Sample:
        poses = {"joints_m": np.ones((count, 24, 3), np.float32)}
        return Sample(poses, poses)

    def run(inputs: dict) -> dict:
        return {"joints_m": inputs["joints_m"] + np.float32(len(inputs["joints_m"]) == 2)}

    samples = [sample(count) for count in (1, 2, 8, 8)]
    result = check("lift", SimpleNamespace(run=run), samples)
    assert not result.passed
    assert "positions are off by 1.73 m in the median" in result.text
    assert "(2 at once)" in result.text
    assert check("lift", SimpleNamespace(run=run), [samples[0], *samples[2:]]).passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_fails(value: float) -> None:
    expected = {"joints_m": np.ones((1, 24, 3), np.float32), "sigma_m": np.ones((1, 24), np.float32)}
    result = checked("lift", expected, {**expected, "sigma_m": np.full((1, 24), value, np.float32)})
    assert result == (False, "sigma_m has values that are not finite")


@pytest.mark.parametrize("name", ["sigma_m", "new_state"])
@pytest.mark.parametrize(("factor", "passed"), [(1.2, True), (0.8, True), (1.3, False), (0, False)])
def test_what_is_no_position_may_change_by_a_quarter(name: str, factor: float, passed: bool) -> None:
    expected = {name: np.full((2, 24), 0.03, np.float32) for name in ("sigma_m", "new_state")}
    expected["joints_m"] = np.ones((2, 24, 3), np.float32)
    changed = expected[name] * np.float32(factor)
    changed[0, 0] = 1  # one of them alone does not matter
    result = checked("lift", expected, {**expected, name: changed})
    assert result.passed == passed
    assert (f"{name} is off by" in result.text) != passed


def test_boxes_may_change_places_but_not_go() -> None:
    boxes = np.float32([[[0, 0, 50, 90], [60, 0, 90, 80], [5, 5, 6, 6]]])
    scores = np.float32([[0.9, 0.8, 0.01]])
    expected = {"boxes": boxes, "scores": scores}
    swapped = {"boxes": boxes[:, [1, 0, 2]] + np.float32(0.3), "scores": scores[:, [1, 0, 2]]}
    assert checked("find", expected, swapped).passed
    gone = {"boxes": boxes, "scores": scores * np.float32(0.1)}
    assert not checked("find", expected, gone).passed
