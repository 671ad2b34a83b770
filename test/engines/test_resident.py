"""Recurrent states that stay on the GPU: as exact as on the CPU, never copied, never lost, never mixed up."""

from __future__ import annotations

import gc
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tests make small networks with onnx")
import onnx
import small_networks
from gpu_machine import VARIANTS

from pose3d_ros.engines.cuda import cuda
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine

MB = 1 << 20
ROW_BYTES = 5 * 4


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return small_networks.write_memory(tmp_path / "memory.onnx")


def engine(machine, network: Path):
    job = machine.builder.Job(network, "fp32", machine.builder.Budget(1024 * MB, 2048 * MB))
    plan, _ = machine.builder.build(job, lambda *_: None, lambda: False)
    return machine.engines.TensorRTEngine(plan, cuda(), "fp32")


def levels(people: int, frame: int = 0) -> np.ndarray:
    return np.random.default_rng((people, frame)).normal(size=(people, 2)).astype(np.float32)


@pytest.mark.parametrize("people", [1, 3, 8, 21])
@pytest.mark.parametrize("variant", VARIANTS)
def test_states_over_time_are_those_of_onnx_runtime(gpu_machine, network: Path, variant: str, people: int) -> None:
    engines = engine(gpu_machine(variant), network), OnnxRuntimeEngine(network, threads=1)
    states: list[list] = [[None] * people, [None] * people]
    for frame in range(4):
        given = levels(people, frame)
        mine, expected = (e.run({"levels": given, "state": s}) for e, s in zip(engines, states, strict=True))
        np.testing.assert_allclose(mine["seen"], expected["seen"], atol=1e-6)
        np.testing.assert_allclose(np.asarray(mine["new_state"]), expected["new_state"], atol=1e-6)
        # Whoever comes first is new again, the others change places.
        states = [[None, *reversed(answers["new_state"][1:])] for answers in (mine, expected)]


def test_states_do_not_leave_the_gpu(gpu_machine, network: Path) -> None:
    machine = gpu_machine()
    tested = engine(machine, network)
    states = tested.run({"levels": levels(2), "state": [None, None]})["new_state"]
    copied = machine.cudart.machine.copied
    copied.clear()
    tested.run({"levels": levels(2, 1), "state": states})
    assert copied[machine.cudart.DEVICE_TO_DEVICE] == 2 * 2 * ROW_BYTES
    assert copied[machine.cudart.HOST_TO_DEVICE] < 256 + ROW_BYTES  # the levels, and the gap after them
    assert copied[machine.cudart.DEVICE_TO_HOST] == 2 * ROW_BYTES  # what is seen


def test_a_state_is_a_value(gpu_machine, network: Path) -> None:
    """Two frames may go on from one, a copy of a person has the same, and it is read as an array."""
    tested = engine(gpu_machine(), network)
    [state] = tested.run({"levels": levels(1), "state": [None]})["new_state"]
    before = np.asarray(state)
    answers = [tested.run({"levels": levels(1, 1), "state": [value]})["seen"] for value in (state, deepcopy(state))]
    assert np.array_equal(*answers)
    assert np.array_equal(np.asarray(state), before)
    assert before.shape == state.shape == (5,)


def test_states_of_another_engine_or_of_the_cpu_go_on_here(gpu_machine, network: Path) -> None:
    """Whoever was followed on the CPU while the engine was built is not forgotten."""
    machine = gpu_machine()
    here, there, cpu = engine(machine, network), engine(machine, network), OnnxRuntimeEngine(network, threads=1)
    first = {"levels": levels(1), "state": [None]}
    expected = cpu.run({"levels": levels(1, 1), "state": cpu.run(first)["new_state"]})["seen"]
    for other in (here, there, cpu):
        states = other.run(first)["new_state"]
        np.testing.assert_allclose(here.run({"levels": levels(1, 1), "state": states})["seen"], expected, atol=1e-6)
        np.testing.assert_allclose(cpu.run({"levels": levels(1, 1), "state": states})["seen"], expected, atol=1e-6)


def test_places_are_used_again_and_grow_with_the_people(gpu_machine, network: Path) -> None:
    machine = gpu_machine()
    tested = engine(machine, network)
    held = len(machine.cudart.machine.device)
    states = [None] * 8
    for frame in range(50):
        states = tested.run({"levels": levels(8, frame), "state": states})["new_state"]
    assert len(machine.cudart.machine.device) == held
    crowd = tested.run({"levels": levels(100), "state": [None] * 100})["new_state"]
    assert len(machine.cudart.machine.device) == held + 3  # 108 rows in blocks of 32
    assert len({row.address for row in (*states, *crowd)}) == 108
    del crowd, states
    gc.collect()
    tested.close()
    assert not machine.cudart.machine.device


def test_a_frame_that_fails_changes_nobody(gpu_machine, network: Path, monkeypatch) -> None:
    machine = gpu_machine()
    tested = engine(machine, network)
    states = tested.run({"levels": levels(2), "state": [None, None]})["new_state"]
    before = [np.asarray(state) for state in states]
    monkeypatch.setattr(tested._cuda, "launch", lambda *_: (_ for _ in ()).throw(EngineError("gone")))
    with pytest.raises(EngineError, match="gone"):
        tested.run({"levels": levels(2, 1), "state": states})
    assert all(np.array_equal(np.asarray(state), old) for state, old in zip(states, before, strict=True))


def test_states_of_an_engine_that_was_closed_begin_anew(gpu_machine, network: Path) -> None:
    """Whoever was followed by a GPU that failed is followed on the CPU."""
    tested, cpu = engine(gpu_machine(), network), OnnxRuntimeEngine(network, threads=1)
    states = tested.run({"levels": levels(2), "state": [None, None]})["new_state"]
    tested.close()
    begins, goes_on = (cpu.run({"levels": levels(2, 1), "state": s})["seen"] for s in ([None, None], states))
    assert np.array_equal(begins, goes_on)


def test_two_states_that_come_out_in_another_order_do_not_leave_the_gpu_either(gpu_machine, tmp_path: Path) -> None:
    names = ("fast", "slow")
    weights = [onnx.numpy_helper.from_array(np.full((1, 5), value, np.float32), f"{value}") for value in (0.5, 0.9)]
    nodes = []
    for name, weight in zip(names, weights, strict=True):
        nodes += [
            onnx.helper.make_node("Mul", [name, weight.name], [f"{name}_faded"]),
            onnx.helper.make_node("Add", ["levels", f"{name}_faded"], [f"new_{name}"]),
        ]
    nodes.append(onnx.helper.make_node("Sub", ["new_fast", "new_slow"], ["seen"]))
    infos = {
        name: onnx.helper.make_tensor_value_info(name, 1, ["n", 5])
        for name in ("levels", "fast", "slow", "seen", "new_slow", "new_fast")
    }
    inputs, outputs = list(infos.values())[:3], list(infos.values())[3:]
    graph = onnx.helper.make_graph(nodes, "two", inputs, outputs, weights)
    path = tmp_path / "two.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    engines = engine(gpu_machine(), path), OnnxRuntimeEngine(path, threads=1)
    states: list[dict] = [{name: [None, None] for name in names} for _ in engines]
    for frame in range(3):
        given = np.random.default_rng(frame).normal(size=(2, 5)).astype(np.float32)
        mine, expected = (e.run({"levels": given, **s}) for e, s in zip(engines, states, strict=True))
        np.testing.assert_allclose(mine["seen"], expected["seen"], atol=1e-6)
        states = [{name: answers[f"new_{name}"] for name in names} for answers in (mine, expected)]


def test_rows_of_another_width_are_refused(gpu_machine, network: Path) -> None:
    tested = engine(gpu_machine(), network)
    with pytest.raises(EngineError, match=r"state has rows of \(4,\): they must be \(5,\), or None"):
        tested.run({"levels": levels(1), "state": [np.zeros(4, np.float32)]})
    with pytest.raises(EngineError, match="rows: they must have the same number"):
        tested.run({"levels": levels(2), "state": [None]})
