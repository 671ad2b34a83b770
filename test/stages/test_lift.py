"""The lift stage against a fake engine: what it passes on, what it refuses."""

import numpy as np
import pytest

from pose3d_ros.engines.engine import EngineError, TensorSpec
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.lift import Lifter

SHAPES = {
    "rays": (None, NUM_JOINTS, 2), "cov": (None, NUM_JOINTS, 2, 2), "score": (None, NUM_JOINTS), "up": (None, 3),
    "state": (None, 5),
}  # fmt: skip


class FakeEngine:
    """Remembers what it was given; counts the state up."""

    device = "fake"

    def __init__(self, shapes=SHAPES, outputs=("joints_m", "sigma_m", "new_state")):
        self.inputs = tuple(TensorSpec(name, shape, np.dtype(np.float32)) for name, shape in shapes.items())
        self.outputs = tuple(TensorSpec(name, (None,), np.dtype(np.float32)) for name in outputs)

    def run(self, arrays):
        self.given = arrays
        people = len(arrays["rays"])
        joints_m = np.concatenate([arrays["rays"], np.ones((people, NUM_JOINTS, 1), np.float32)], -1)
        states = [(0 if row is None else row) + np.ones(5, np.float32) for row in arrays["state"]]
        return {"joints_m": joints_m, "sigma_m": joints_m[..., 0], "new_state": states}

    def close(self):
        pass


def observation(people=2):
    rays = np.full((people, NUM_JOINTS, 2), 0.1)
    cov = np.tile(1e-6 * np.eye(2), (people, NUM_JOINTS, 1, 1))
    return rays, cov, np.ones((people, NUM_JOINTS))


def test_state_goes_round():
    lifter = Lifter(FakeEngine())
    first = lifter(*observation(), [None, None])
    second = lifter(*observation(), [first.states[1], None])
    np.testing.assert_array_equal(second.states, [[2] * 5, [1] * 5])


def test_unreachable_rays_count_as_not_seen():
    engine = FakeEngine()
    rays, cov, score = observation()
    rays[0, 3], cov[1, 4] = np.nan, np.inf
    Lifter(engine)(rays, cov, score, [None, None])
    assert np.isfinite(engine.given["rays"]).all()
    assert np.isfinite(engine.given["cov"]).all()
    assert (engine.given["score"][0, 3], engine.given["score"][1, 4]) == (0, 0)
    assert engine.given["score"].sum() == 2 * NUM_JOINTS - 2
    assert {array.dtype for name, array in engine.given.items() if name != "state"} == {np.dtype(np.float32)}


def test_joints_that_are_likely_elsewhere_count_as_not_seen():
    engine = FakeEngine()
    rays, cov, score = observation()
    score[0, 5], score[0, 6] = 0.29, 0.31
    Lifter(engine)(rays, cov, score, [None, None])
    assert engine.given["score"][0, 5] == 0
    assert engine.given["score"][0, 6] == np.float32(0.31)


def test_up_is_passed_on_or_zero():
    engine = FakeEngine()
    Lifter(engine)(*observation(), [None, None])
    assert (engine.given["up"] == 0).all()
    Lifter(engine)(*observation(), [None, None], up=(0, -1, 0))
    np.testing.assert_array_equal(engine.given["up"], [(0, -1, 0)] * 2)


@pytest.mark.parametrize("roll", [0.0, 0.4, np.pi / 2, np.pi, -2.0])
def test_a_camera_on_its_side_sees_as_an_upright_one(roll):
    """Where it knows which way is up."""
    c, s = np.cos(roll), np.sin(roll)
    turn = np.array([[c, -s], [s, c]])
    rays = np.random.default_rng(0).normal(size=(1, NUM_JOINTS, 2))
    cov = np.tile(np.diag([1.0, 4.0]), (1, NUM_JOINTS, 1, 1))
    up = np.array([0.0, -0.9, -0.436])
    engine = FakeEngine()
    rolled = np.append(turn @ up[:2], up[2])
    lifted = Lifter(engine)(rays @ turn.T, turn @ cov @ turn.T, np.ones((1, NUM_JOINTS)), [None], rolled)
    np.testing.assert_allclose(engine.given["rays"], rays, atol=1e-5)
    np.testing.assert_allclose(engine.given["cov"], cov, atol=1e-5)
    np.testing.assert_allclose(engine.given["up"][0], up, atol=1e-3)
    np.testing.assert_allclose(lifted.joints_m[..., :2], rays @ turn.T, atol=1e-5)


def test_a_camera_that_looks_straight_down_is_not_turned():
    engine = FakeEngine()
    rays, cov, score = observation(1)
    Lifter(engine)(rays, cov, score, [None], (0.1, 0.05, -0.99))
    np.testing.assert_allclose(engine.given["rays"], rays)


def test_nobody_runs_nothing():
    engine = FakeEngine()
    lifted = Lifter(engine)(*observation(0), [])
    assert lifted.joints_m.shape == (0, NUM_JOINTS, 3)
    assert not hasattr(engine, "given")


@pytest.mark.parametrize(
    "shapes",
    [
        SHAPES | {"rays": (None, 17, 2)},
        {name: shape for name, shape in SHAPES.items() if name != "state"},
        {"crops": (None, 192, 192, 3)},
    ],
    ids=["17 joints", "no state", "a stage 1"],
)
def test_other_networks_are_refused(shapes):
    with pytest.raises(EngineError, match="not a lifter"):
        Lifter(FakeEngine(shapes))
