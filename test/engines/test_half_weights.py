"""Files with weights in 16 bits: half as large, computing the same, and as good as others to whoever rewrites them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="networks are rewritten with onnx")
import onnx
from onnx import helper, numpy_helper

from pose3d_ros.engines.half_weights import halve_weights, whole_weights
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.engines.precision import half_nodes, read_network, to_half


def write(path: Path) -> Path:
    """x [n, 40] through two products, of 40 and 40 values, with a small bias between."""
    rng = np.random.default_rng(0)
    weights = {"first": rng.normal(size=(40, 40)), "bias": rng.normal(size=40), "second": rng.normal(size=(40, 40))}
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Add", ["a", "bias"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(name, 1, ["n", 40]) for name in "xy"]
    constants = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "test", infos[:1], infos[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def answer(path: Path) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
    return OnnxRuntimeEngine(path, threads=1).run({"x": x})["y"]


def test_half_the_file_gives_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "network.onnx")
    before, size = answer(path), path.stat().st_size
    halve_weights(path)
    assert path.stat().st_size < 0.6 * size
    onnx.checker.check_model(str(path), full_check=True)
    np.testing.assert_allclose(answer(path), before, atol=2e-3 * np.abs(before).max())


def test_rewriting_sees_weights_of_single_precision(tmp_path: Path) -> None:
    plain, halved = write(tmp_path / "plain.onnx"), write(tmp_path / "halved.onnx")
    halve_weights(halved)
    network = read_network(halved)
    assert [node.op_type for node in network.graph.node] == ["MatMul", "Add", "MatMul"]
    names = {tensor.name: tensor.data_type for tensor in network.graph.initializer}
    assert names == dict.fromkeys(("first", "bias", "second"), onnx.TensorProto.FLOAT)
    assert half_nodes(network.graph) == half_nodes(onnx.load(str(plain)).graph)
    to_half(network)
    assert whole_weights(network) == network  # nothing is left to do


def test_once_is_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "network.onnx")
    halve_weights(path)
    once = path.read_bytes()
    halve_weights(path)
    assert path.read_bytes() == once
