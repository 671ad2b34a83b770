from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="networks are rewritten with onnx")
import onnx
import small_networks
import tiny_networks

from pose3d_ros.engines.batch_normalization import merge_batch_normalization
from pose3d_ros.engines.engine import EngineError
from pose3d_ros.engines.old_parser import without_layer_normalization
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.engines.precision import half_nodes, is_convolutional, read_network, to_half, to_int8
from pose3d_ros.models import models_dir, pipeline_models
from pose3d_ros.self_check import check, samples_for

HALF = 10


@pytest.fixture
def heatmaps(tmp_path: Path) -> Path:
    return small_networks.write_heatmaps(tmp_path / "heatmaps.onnx")


def answers(model: onnx.ModelProto, folder: Path, inputs: dict) -> dict[str, np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "rewritten.onnx"))
    return OnnxRuntimeEngine(folder / "rewritten.onnx", threads=1).run(inputs)


def test_convolutions_and_what_passes_them_on_run_in_half_precision_and_nothing_else(heatmaps: Path) -> None:
    model = read_network(heatmaps)
    names = [model.graph.node[place].output[0] for place in half_nodes(model.graph)]
    assert names == ["first", "active", "second", "sum", "heatmaps"]


def test_a_place_is_not_added_in_half_precision() -> None:
    """A sum with a constant ends the half precision: the cell's place may be large."""
    helper = onnx.helper
    weight, place = (onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), name) for name in ("w", "place"))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Add", ["y", "place"], ["z"])]
    ends = [helper.make_tensor_value_info(name, 1, [2, 2]) for name in ("x", "z")]
    assert half_nodes(helper.make_graph(nodes, "test", ends[:1], ends[1:], [weight, place])) == [0]


def test_inputs_and_outputs_stay_as_they_are_and_answers_nearly(heatmaps: Path, tmp_path: Path) -> None:
    model = read_network(heatmaps)
    half = to_half(model)
    assert {initializer.name: initializer.data_type for initializer in half.graph.initializer} == {
        "mean": 1, "places": 1, "scales": 1, "flat": 7, "w1_as_half": HALF, "b1_as_half": HALF, "w2_as_half": HALF,
    }  # fmt: skip
    inputs = small_networks.pictures(3)
    before = answers(model, tmp_path, inputs)
    after = answers(half, tmp_path, inputs)
    for name, values in before.items():
        assert after[name].dtype == np.float32
        assert np.abs(after[name] - values).max() < 2e-3 * max(1, np.abs(values).max())
    assert not np.array_equal(after["level"], before["level"])


def test_an_output_that_is_made_in_half_precision_comes_out_in_single(tmp_path: Path) -> None:
    helper = onnx.helper
    weight = onnx.numpy_helper.from_array(np.full((3, 3), 0.1, np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    ends = [helper.make_tensor_value_info(name, 1, ["n", 3]) for name in ("x", "y", "z")]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = answers(to_half(model), tmp_path, {"x": np.ones((2, 3), np.float32)})
    assert np.allclose(found["y"], 0.3, atol=1e-3)
    assert np.allclose(found["z"], 0.3, atol=1e-3)


def test_a_network_without_weights_cannot_be_half() -> None:
    with pytest.raises(EngineError, match="no layer that could run in half precision: use precision fp32"):
        to_half(tiny_networks.lifter())


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(EngineError, match=r"bad\.onnx is not a readable ONNX network"):
        read_network(tmp_path / "bad.onnx")


def test_convolutions_in_8_bit(heatmaps: Path, tmp_path: Path) -> None:
    assert is_convolutional(heatmaps)
    inputs = small_networks.pictures(4)
    before = OnnxRuntimeEngine(heatmaps, threads=1).run(inputs)
    rounded = to_int8(read_network(heatmaps), [inputs])
    makers = {name: node for node in rounded.graph.node for name in node.output}
    for conv in (node for node in rounded.graph.node if node.op_type == "Conv"):
        for name in conv.input[:2]:  # what it reads, and its weights, which stay in single precision in the file
            assert makers[name].op_type == "DequantizeLinear"
            assert makers[makers[name].input[0]].op_type == "QuantizeLinear"
    after = answers(rounded, tmp_path, inputs)
    assert np.abs(after["level"] - before["level"]).max() < 0.1 * np.abs(before["level"]).max()


def test_layer_normalization_spelt_out(tmp_path: Path) -> None:
    """For TensorRT 8.5, which does not know it."""
    helper = onnx.helper
    weights = [
        onnx.numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("s", [1, 2, 3]), ("b", [4, 5, 6]))
    ]
    ends = [helper.make_tensor_value_info(name, 1, ["n", 3]) for name in ("x", "y")]

    def model(axis: int) -> onnx.ModelProto:
        node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"], name="norm", axis=axis, epsilon=1e-4)
        graph = helper.make_graph([node], "test", ends[:1], ends[1:], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    inputs = {"x": np.random.default_rng(0).normal(5, 2, (4, 3)).astype(np.float32)}
    spelt = without_layer_normalization(model(-1))
    assert "LayerNormalization" not in {node.op_type for node in spelt.graph.node}
    assert np.allclose(answers(spelt, tmp_path, inputs)["y"], answers(model(-1), tmp_path, inputs)["y"], atol=1e-5)
    with pytest.raises(EngineError, match="norm is no LayerNormalization"):
        without_layer_normalization(model(0))


@pytest.fixture
def shipped() -> dict[str, Path]:
    """The shipped networks by role."""
    if not (models_dir() / "models.json").is_file():
        pytest.skip("the networks are not there")
    return {role: model.path for role, model in pipeline_models().items()}


def kinds(model: onnx.ModelProto) -> Counter[str]:
    """How many nodes there are of each kind."""
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("role", ["find", "pose2d", "lift"])
def test_the_shipped_networks_bear_half_precision(role: str, shipped: dict[str, Path], tmp_path: Path) -> None:
    path = shipped[role]
    samples = samples_for(role, OnnxRuntimeEngine(path, threads=1))
    onnx.save(to_half(merge_batch_normalization(read_network(path))), str(tmp_path / "half.onnx"))
    result = check(role, OnnxRuntimeEngine(tmp_path / "half.onnx", threads=1), samples)
    assert result.passed, result.text


@pytest.mark.parametrize("role", ["find", "pose2d"])
def test_the_shipped_networks_stay_in_half_precision_from_the_first_convolution_to_the_last(
    role: str, shipped: dict[str, Path]
) -> None:
    before = read_network(shipped[role])
    half = to_half(merge_batch_normalization(before))
    assert kinds(half)["BatchNormalization"] == 0
    assert kinds(half)["Cast"] - kinds(before)["Cast"] <= 5
    makers = {name: node for node in half.graph.node for name in node.output}
    types = {t.name: t.type.tensor_type.elem_type for t in onnx.shape_inference.infer_shapes(half).graph.value_info}
    assert {types[name] for name, node in makers.items() if node.op_type in ("Conv", "Relu")} == {HALF}


@pytest.mark.parametrize("role", ["find", "pose2d"])
def test_the_shipped_networks_in_8_bit_round_what_convolutions_read_and_nothing_else(
    role: str, shipped: dict[str, Path]
) -> None:
    samples = samples_for(role, OnnxRuntimeEngine(shipped[role]))
    rounded = to_int8(merge_batch_normalization(read_network(shipped[role])), [samples[0].inputs])
    assert kinds(rounded)["BatchNormalization"] == 0
    makers = {name: node.op_type for node in rounded.graph.node for name in node.output}
    for node in rounded.graph.node:
        read = [makers.get(name) for name in node.input]
        if node.op_type == "Conv":
            assert read[:2] == ["DequantizeLinear"] * 2
        if node.op_type == "Relu":
            assert read[0] in ("Conv", "Add")
