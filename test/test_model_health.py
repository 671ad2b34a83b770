"""People who are well, and people whose networks are not."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pose3d_ros.camera import Camera
from pose3d_ros.model_health import (
    FIGURES,
    Figures,
    ModelMonitor,
    Reference,
    bone_lengths,
    reference_in,
    reference_of,
    residual_sigmas,
    worse_figures,
)
from pose3d_ros.models import Model
from pose3d_ros.person import JointState, Person
from pose3d_ros.skeleton import NUM_JOINTS

CAMERA = Camera.from_horizontal_fov(640, 480, 60)
STEP_NS = 100_000_000
REFERENCE = {"mean_score": Reference(0.8, 0.6), "bone_variation": Reference(0.02, 0.1)}


def somebody(
    person_id: int = 1, score: float = 0.8, scale: float = 1.0, state: JointState = JointState.VISIBLE
) -> Person:
    joints_m = scale * np.random.default_rng(7).normal(0, 0.4, (NUM_JOINTS, 3)) + [0, 0, 4]
    return Person(
        id=person_id,
        box=np.array([100.0, 50, 300, 450]),
        score=0.9,
        joints_px=CAMERA.project(joints_m),
        joints_px_cov=np.tile(4.0 * np.eye(2), (NUM_JOINTS, 1, 1)),
        joint_score=np.full(NUM_JOINTS, score),
        joint_state=np.full(NUM_JOINTS, state, np.uint8),
        joints_m=joints_m,
        joints_m_cov=np.tile(0.01 * np.eye(3), (NUM_JOINTS, 1, 1)),
    )


def watched(frames, reference=REFERENCE, step_ns: int = STEP_NS) -> ModelMonitor:
    monitor = ModelMonitor()
    for i, people in enumerate(frames):
        monitor.note(i * step_ns, people, CAMERA, reference)
    return monitor


def test_figures_of_a_person_who_is_well():
    figures = watched([[somebody()]] * 100).figures
    assert figures.person_s == pytest.approx(9, abs=1.1)
    assert figures.mean_score == pytest.approx(0.8)
    assert (figures.visible_share, figures.inferred_share, figures.predicted_share) == (1, 0, 0)
    assert figures.bone_variation == pytest.approx(0, abs=1e-9)
    assert figures.residual_sigmas == pytest.approx(0, abs=1e-9)
    assert figures.id_switches_per_minute == 0


def test_residual_is_in_standard_deviations():
    person = somebody()
    off = replace(person, joints_px=person.joints_px + 6.0)  # sigma is 2 px
    assert residual_sigmas(off, CAMERA) == pytest.approx(3)
    assert math.isnan(residual_sigmas(off, None))
    assert math.isnan(residual_sigmas(replace(off, joints_m=None), CAMERA))
    assert math.isnan(residual_sigmas(somebody(state=JointState.INFERRED), CAMERA))


def test_bones_are_measured_where_both_ends_are_seen():
    person = somebody()
    hidden = replace(person, joint_state=np.full(NUM_JOINTS, JointState.INFERRED, np.uint8))
    assert np.isfinite(bone_lengths(person)).all()
    assert np.isnan(bone_lengths(hidden)).all()
    assert np.isnan(bone_lengths(replace(person, joints_m=None))).all()


def test_bone_variation_is_per_track():
    """Two people of different sizes vary less than one who changes."""
    two = watched([[somebody(1, scale=1.0), somebody(2, scale=0.5)]] * 100)
    assert two.figures.bone_variation == pytest.approx(0, abs=1e-9)
    sizes = np.random.default_rng(1).normal(1, 0.2, 100)
    assert watched([[somebody(scale=s)] for s in sizes]).figures.bone_variation == pytest.approx(0.2, rel=0.2)


def test_switched_ids_are_told_from_newcomers():
    switching = watched([[somebody(1 + i // 10)] for i in range(400)]).figures
    assert switching.id_switches_per_minute == pytest.approx(60, rel=0.15)
    far = replace(somebody(2), box=np.array([500.0, 50, 600, 450]))
    joined = watched([[somebody()]] * 50 + [[somebody(), far]] * 100).figures
    assert joined.id_switches_per_minute == 0
    # Once in a visit of ten seconds tells little.
    assert watched([[somebody(1 + i // 50)] for i in range(100)]).figures.id_switches_per_minute <= 2
    assert joined.new_ids_per_minute > 0


def test_drift_is_told_once_it_lasts():
    unsure = [[somebody(score=0.3)]]
    assert watched(unsure * 80).drift == ()
    [text] = watched(unsure * 400).drift
    assert text.startswith("mean_score is 0.3, measured 0.8 and at least 0.6")
    assert watched([[somebody()]] * 400).drift == ()


def test_drift_ends():
    monitor = watched([[somebody(score=0.3)]] * 300)
    assert monitor.drift
    for i in range(300, 700):
        monitor.note(i * STEP_NS, [somebody()], CAMERA, REFERENCE)
    assert monitor.drift == ()


def test_nobody_for_long_says_nothing():
    monitor = watched([[somebody(score=0.3)]] * 300 + [[]] * 400)
    assert monitor.drift == ()
    assert math.isnan(monitor.figures.mean_score)


def test_a_jump_back_in_time_forgets():
    monitor = watched([[somebody(score=0.3)]] * 300)
    monitor.note(0, [], CAMERA, REFERENCE)
    assert (monitor.drift, monitor.figures) == ((), Figures(0.0))


def test_the_frame_rate_does_not_matter():
    slow = watched([[somebody()]] * 100).figures
    fast = watched([[somebody()]] * 300, step_ns=STEP_NS // 3).figures
    assert fast.person_s == pytest.approx(slow.person_s, abs=1.1)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_limit_on_its_worse_side(name):
    known = reference_of([Figures(10.0, *[0.2] * 8), Figures(10.0, *[0.3] * 8)])[name]
    assert known.value == pytest.approx(0.25)
    beyond = known.limit + 0.01 * FIGURES[name].worse
    texts = worse_figures(Figures(10.0)._replace(**{name: beyond}), {name: known})
    assert [key for key, text in texts.items() if text] == [name]
    assert not any(worse_figures(Figures(10.0)._replace(**{name: known.value}), {name: known}).values())
    assert not any(worse_figures(Figures(10.0), {name: known}).values())


def test_the_reference_is_kept_with_the_networks(tmp_path):
    pytest.importorskip("onnx", reason="the tests make small networks with onnx")
    import tiny_networks

    from pose3d_ros.evaluation.evaluate_health import record
    from pose3d_ros.models import read_models

    folder = tiny_networks.write_models(tmp_path)
    assert reference_in(read_models(folder).values()) == {}
    known = {name: Reference(0.5, 0.7) for name in FIGURES}
    record(folder, known)
    assert reference_in(read_models(folder).values()) == known
    assert set(json.loads((folder / "models.json").read_text())["models"]["lift"]["reference"]) == {
        "bone_variation",
        "residual_sigmas",
    }


def test_a_figure_that_is_no_more_is_left_out():
    assert reference_in([Model("find", None, "", reference={"gone": {"value": 1.0, "limit": 2.0}})]) == {}
