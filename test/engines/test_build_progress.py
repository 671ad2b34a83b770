from __future__ import annotations

import pytest

from pose3d_ros.engines.build_progress import PhaseTree


@pytest.fixture
def told() -> list[tuple[float | None, str]]:
    return []


def test_phases_within_steps_add_up(told: list) -> None:
    tree = PhaseTree(lambda done, text: told.append((done, text)))
    tree.start("build", None, 4)
    tree.step("build", 0)
    tree.start("tactics", "build", 2)
    tree.step("tactics", 0)
    tree.start("layer", "tactics", 2)
    tree.step("layer", 0)
    tree.finish("layer")
    tree.finish("tactics")
    tree.step("build", 1)
    tree.finish("build")
    assert told == [
        (0.25, "build"),
        (0.375, "tactics"),
        (0.4375, "layer"),
        (0.5, "layer"),
        (0.5, "tactics"),
        (0.5, "build"),
        (1.0, "build"),
    ]


def test_the_bar_never_goes_back_nor_too_far(told: list) -> None:
    tree = PhaseTree(lambda done, _: told.append(done))
    for name in ("parse", "build"):
        tree.start(name, None, 2)
        tree.step(name, 0)
        tree.step(name, 7)  # more steps than it said
        tree.finish(name)
    assert told == sorted(told)
    assert told[-1] == 1


def test_a_phase_without_steps_or_with_an_unknown_parent(told: list) -> None:
    tree = PhaseTree(lambda done, _: told.append(done))
    tree.start("nothing", "gone", 0)
    tree.finish("nothing")
    assert told == [1.0]
