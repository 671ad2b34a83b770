"""Engines in the versions of TensorRT that the stand-in has; what they answer is compared with ONNX Runtime."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tests make small networks with onnx")
import onnx
import small_networks
from gpu_machine import VARIANTS

from pose3d_ros.engines.build_progress import BuildCancelledError
from pose3d_ros.engines.cache import StalePlanError
from pose3d_ros.engines.cuda import CudaError, cuda
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.models import models_dir, pipeline_models
from pose3d_ros.self_check import samples_for

MB = 1 << 20
WEAK, STRONG = ("8.5", "10.3"), ("10.13", "11")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return small_networks.write_heatmaps(tmp_path / "heatmaps.onnx")


def never() -> bool:
    return False


def silent(_: float | None, __: str) -> None:
    pass


def build(machine, network: Path, precision: str = "fp32", report=silent, is_cancelled=never, **job) -> bytes:
    budget = machine.builder.Budget(1024 * MB, 2048 * MB)
    return machine.builder.build(machine.builder.Job(network, precision, budget, **job), report, is_cancelled)[0]


def engine(machine, network: Path, precision: str = "fp32"):
    return machine.engines.TensorRTEngine(build(machine, network, precision), cuda(), precision)


def header(plan: bytes) -> dict:
    return json.loads(plan.split(b"\n")[1])


def pinned(plan: bytes) -> dict[str, set[str]]:
    """The precisions that layers of each type were told to have; empty: none."""
    layers = header(plan)["layers"]
    return {kind: {precision for k, precision in layers if k == kind} for kind, _ in layers}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_batch_is_answered_as_by_onnx_runtime(gpu_machine, network: Path, variant: str) -> None:
    machine = gpu_machine(variant)
    reference, tested = OnnxRuntimeEngine(network, threads=1), engine(machine, network)
    assert tested.inputs == reference.inputs
    assert [spec._replace(shape=()) for spec in tested.outputs] == [s._replace(shape=()) for s in reference.outputs]
    assert machine.trt.__version__ in tested.device
    assert "Stand-in Orin (sm_87)" in tested.device
    assert "fp32, CUDA graphs" in tested.device
    for count in (1, 2, 3, 8, 21):
        inputs = small_networks.pictures(count)
        expected = reference.run(inputs)
        for name, values in tested.run(inputs).items():
            assert values.shape == expected[name].shape
            assert np.allclose(values, expected[name], atol=1e-5)


def test_answers_are_the_callers_own(gpu_machine, network: Path) -> None:
    tested = engine(gpu_machine(), network)
    first = tested.run(small_networks.pictures(2))
    kept = {name: values.copy() for name, values in first.items()}
    tested.run(small_networks.pictures(1))
    assert all(np.array_equal(first[name], values) for name, values in kept.items())


def test_a_frame_takes_one_graph_and_no_memory(gpu_machine, network: Path) -> None:
    machine = gpu_machine()
    tested = engine(machine, network)
    state = machine.cudart.machine
    held = (len(state.device), len(state.pinned), len(state.executables))
    launches = state.launches
    tested.run(small_networks.pictures(3))
    assert state.launches == launches + 1
    assert (len(state.device), len(state.pinned), len(state.executables)) == held == (1, 1, 4)
    tested.close()
    held = (state.device, state.pinned, state.executables, state.streams, state.graphs)
    assert not any(held)


def test_a_wrong_idea_of_a_type_does_not_go_unnoticed(gpu_machine, network: Path, monkeypatch) -> None:
    machine = gpu_machine()
    monkeypatch.setattr(machine.engines, "_ALIGNMENT", 4)  # so that nothing lies between the tensors
    right = engine(machine, network)
    inputs = small_networks.pictures(3)
    assert np.allclose(right.run(inputs)["level"], OnnxRuntimeEngine(network).run(inputs)["level"], atol=1e-5)
    monkeypatch.setitem(machine.engines._DTYPES, machine.trt.DataType.FLOAT, np.float16)
    with pytest.raises(AssertionError, match="position has 16 bytes and overlaps level"):
        engine(machine, network)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_of_a_fixed_batch(gpu_machine, tmp_path: Path, variant: str) -> None:
    path = small_networks.write_heatmaps(tmp_path / "one.onnx", batch=1)
    tested = engine(gpu_machine(variant), path)
    inputs = small_networks.pictures(1)
    assert np.allclose(tested.run(inputs)["level"], OnnxRuntimeEngine(path).run(inputs)["level"], atol=1e-5)
    with pytest.raises(EngineError, match=r"inputs have \[2\] rows"):
        tested.run(small_networks.pictures(2))


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({}, "input pictures is missing"),
        ({"pictures": np.zeros((1, 8, 8, 3), np.float32)}, r"pictures is float32 .* must be uint8"),
        ({"pictures": np.zeros((1, 8, 9, 3), np.uint8)}, r"pictures is uint8 \(1, 8, 9, 3\)"),
        ({"pictures": np.zeros((0, 8, 8, 3), np.uint8)}, r"have \[0\] rows"),
        ({"pictures": np.zeros((1, 8, 8, 3), np.uint8), "more": np.zeros(1)}, "no input more"),
    ],
)
def test_arrays_that_do_not_fit(gpu_machine, network: Path, arrays: dict, text: str) -> None:
    tested = engine(gpu_machine(), network)
    with pytest.raises(EngineError, match=text):
        tested.run(arrays)
    tested.run(small_networks.pictures(1))


# ---- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_half_precision_is_what_was_asked_for_and_nearly_right(gpu_machine, network: Path, variant: str) -> None:
    machine = gpu_machine(variant)
    plan = build(machine, network, "fp16")
    facts = header(plan)
    if variant in WEAK:
        assert {"FP16", "OBEY_PRECISION_CONSTRAINTS"} <= set(facts["flags"])
        kinds = pinned(plan)
        assert kinds["CONVOLUTION"] == kinds["ACTIVATION"] == kinds["RESIZE"] == {"HALF"}
        assert kinds["SOFTMAX"] == {"FLOAT"}
        assert kinds["ELEMENTWISE"] == {"HALF", "FLOAT"}  # the residual sum, and the product with the places
        assert kinds["IDENTITY" if variant == "8.5" else "CAST"] == {""}  # of the pictures' bytes
    else:
        assert not facts["flags"]
        assert b"w1_as_half" in plan
    assert "TF32" not in facts["flags"]
    tested = machine.engines.TensorRTEngine(plan, cuda(), "fp16")
    inputs = small_networks.pictures(5)
    expected = OnnxRuntimeEngine(network, threads=1).run(inputs)
    assert np.abs(tested.run(inputs)["position"] - expected["position"]).max() < 0.01


@pytest.mark.parametrize("variant", VARIANTS)
def test_8_bit_comes_as_quantising_nodes(gpu_machine, network: Path, variant: str) -> None:
    machine = gpu_machine(variant)
    plan = build(machine, network, "int8", samples=[small_networks.pictures(4)])
    assert b"QuantizeLinear" in plan
    assert ("INT8" in header(plan)["flags"]) == (variant in WEAK)
    if variant in WEAK:
        assert "OBEY_PRECISION_CONSTRAINTS" in header(plan)["flags"]
        kinds = pinned(plan)
        assert kinds["CONVOLUTION"] == kinds["ACTIVATION"] == kinds["RESIZE"] == {""}  # may be either
        assert kinds["QUANTIZE"] == kinds["DEQUANTIZE"] == {""}
        assert kinds["SOFTMAX"] == {"FLOAT"}
        assert kinds["ELEMENTWISE"] == {"", "FLOAT"}


@pytest.mark.parametrize("variant", WEAK)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("role", ["find", "pose2d"])
def test_the_shipped_networks_are_pinned_outside_their_convolutions_only(gpu_machine, variant, precision, role) -> None:
    if not (models_dir() / "models.json").is_file():
        pytest.skip("the networks are not there")
    machine = gpu_machine(variant)
    network = pipeline_models()[role].path
    [sample, *_] = samples_for(role, OnnxRuntimeEngine(network))
    plan = build(machine, network, precision, samples=[sample.inputs])
    kinds, lower = pinned(plan), "HALF" if precision == "fp16" else ""
    assert "SCALE" not in kinds
    assert kinds["CONVOLUTION"] == {lower}
    assert kinds["UNARY"] == {"FLOAT"}
    assert "FLOAT" in kinds["ELEMENTWISE"]
    nodes = Counter(node.op_type for node in onnx.load(network).graph.node)
    activations = Counter(precision for kind, precision in header(plan)["layers"] if kind == "ACTIVATION")
    assert activations == {lower: nodes["Relu"], "FLOAT": nodes["Sigmoid"]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_precision_that_would_not_be_built_is_an_error(gpu_machine, network: Path, variant, monkeypatch) -> None:
    machine = gpu_machine(variant)
    rule = "_limit_precision" if variant in WEAK else "to_half"
    monkeypatch.setattr(machine.builder, rule, lambda given, *_: given)
    with pytest.raises(EngineError, match=r"fp16 was asked for, but TensorRT .* with 0 of 2 convolutions in it: use"):
        build(machine, network, "fp16")


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_convolution_in_another_precision_is_an_error(gpu_machine, network: Path, variant, monkeypatch) -> None:
    machine = gpu_machine(variant)
    whole = machine.builder.to_int8

    def with_one_lost(*given):
        rounded = whole(*given)
        rounding = {node.output[0]: node for node in rounded.graph.node if node.op_type == "DequantizeLinear"}
        conv = next(node for node in rounded.graph.node if node.op_type == "Conv" and node.input[0] in rounding)
        quantised = next(n for n in rounded.graph.node if n.output[0] == rounding[conv.input[0]].input[0])
        conv.input[0] = quantised.input[0]
        return rounded

    monkeypatch.setattr(machine.builder, "to_int8", with_one_lost)
    with pytest.raises(EngineError, match=r"int8 was asked for, but TensorRT .* with 1 of 2 convolutions in it"):
        build(machine, network, "int8", samples=[small_networks.pictures(4)])


# ---- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("build", EngineError, r"cannot build heatmaps\.onnx: .*Conv_7"),
        ("parser", EngineError, r"cannot read heatmaps\.onnx: .*UNSUPPORTED_NODE"),
        ("out of memory", OutOfMemoryError, "out of memory"),
        ("no builder", EngineError, "builder does not start .*nullptr"),
    ],
)
def test_a_build_that_fails_gives_tensorrts_reason(gpu_machine, network: Path, variant, fault, kind, text) -> None:
    machine = gpu_machine(variant, fault)
    with pytest.raises(kind, match=text):
        build(machine, network)


@pytest.mark.parametrize("variant", VARIANTS)
def test_progress_is_told_where_tensorrt_tells_it(gpu_machine, network: Path, variant: str) -> None:
    told: list[float | None] = []
    build(gpu_machine(variant), network, report=lambda done, _: told.append(done))
    known = [done for done in told if done is not None]
    assert bool(known) == (variant != "8.5")
    assert known == sorted(known)
    assert not known or known[-1] == 1


@pytest.mark.parametrize("variant", ["10.3", "10.13", "11"])
def test_a_build_can_be_cancelled(gpu_machine, network: Path, variant: str) -> None:
    with pytest.raises(BuildCancelledError, match="cancelled"):
        build(gpu_machine(variant), network, is_cancelled=lambda: True)


def test_a_spoilt_timing_cache_is_no_reason_to_fail(gpu_machine, network: Path) -> None:
    assert build(gpu_machine(), network, timing_cache=b"spoilt")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_plan_of_another_version_or_none_is_stale(gpu_machine, network: Path, variant: str) -> None:
    other = build(gpu_machine("10.3" if variant != "10.3" else "11"), network)
    machine = gpu_machine(variant)
    for plan, text in ((other, "not compatible"), (b"nothing", "kMAGIC_TAG")):
        with pytest.raises(StalePlanError, match=f"does not take the engine: .*{text}"):
            machine.engines.TensorRTEngine(plan, cuda(), "fp32")


def test_a_plan_is_not_called_stale_where_the_gpu_has_failed(gpu_machine, network: Path, monkeypatch) -> None:
    machine = gpu_machine()
    plan = build(machine, network)
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", "lost gpu")
    with pytest.raises(CudaError, match=r"cudaErrorIllegalAddress \(700\): .*restart the node"):
        machine.engines.TensorRTEngine(plan, cuda(), "fp32")


def test_an_engine_whose_gpu_has_failed_can_be_closed(gpu_machine, tmp_path: Path, monkeypatch, caplog) -> None:
    tested = engine(gpu_machine(), small_networks.write_memory(tmp_path / "memory.onnx"))
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", "lost gpu")
    tested.close()
    assert "cudaErrorIllegalAddress (700)" in caplog.text
    assert not hasattr(tested, "_runtime")
    assert not tested._lanes


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("no capture", "cudaStreamEndCapture failed with cudaErrorStreamCaptureInvalidated"),
        ("no graph", "cudaGraphInstantiateWithFlags failed with cudaErrorInvalidValue"),
    ],
)
def test_without_graphs_it_is_slower_but_right(gpu_machine, network: Path, variant: str, fault: str, text: str) -> None:
    machine = gpu_machine(variant, fault)
    tested = engine(machine, network)
    assert f"no CUDA graphs ({text}" in tested.device
    inputs = small_networks.pictures(3)
    assert np.allclose(tested.run(inputs)["level"], OnnxRuntimeEngine(network).run(inputs)["level"], atol=1e-5)
    assert machine.cudart.machine.launches == 0


def test_a_run_that_fails_is_an_error_with_a_reason(gpu_machine, network: Path, monkeypatch) -> None:
    machine = gpu_machine(faults="no capture")
    tested = engine(machine, network)
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", "execution")
    with pytest.raises(EngineError, match=r"could not run the network: .*illegal memory access"):
        tested.run(small_networks.pictures(1))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("no context", "no memory for an execution context .*could not be allocated"),
        ("gpu full", "memory is full"),
        ("no room", "no memory for an engine .*out of memory"),
    ],
)
def test_no_memory_for_an_engine(gpu_machine, network: Path, monkeypatch, fault: str, text: str) -> None:
    machine = gpu_machine()
    plan = build(machine, network)
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", fault)
    with pytest.raises(OutOfMemoryError, match=text):
        machine.engines.TensorRTEngine(plan, cuda(), "fp32")


def test_a_network_that_tensorrt_8_5_cannot_read_is_named_with_its_operator(gpu_machine, tmp_path: Path) -> None:
    helper = onnx.helper
    ends = [helper.make_tensor_value_info(name, 1, [1, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Gelu", ["x"], ["y"])], "gelu", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "g.onnx")
    with pytest.raises(EngineError, match=r"TensorRT 8\.5\.2\.2 cannot read g\.onnx: No importer .*: Gelu"):
        build(gpu_machine("8.5"), tmp_path / "g.onnx")
    assert build(gpu_machine("10.13"), tmp_path / "g.onnx")
