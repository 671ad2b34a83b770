from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="networks are rewritten with onnx")
import onnx
from onnx import helper, numpy_helper

from pose3d_ros.engines.batch_normalization import merge_batch_normalization
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine

SHAPE = [2, 3, 5, 5]


def write(path: Path, nodes: list[onnx.NodeProto], outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    """A network with the input x [2, 3, 5, 5], and weights for convolutions and normalisations of 4 channels."""
    rng = np.random.default_rng(0)
    shapes = {"weight": (4, 3, 3, 3), "b": (4,), "scale": (4,), "shift": (4,), "mean": (4,)}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()} | {"variance": rng.uniform(0.5, 2, 4)}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", 1, SHAPE)],
        [helper.make_tensor_value_info(name, 1, [2, 4, 3, 3]) for name in outputs],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return model


def normalised(name: str, **options: float) -> onnx.NodeProto:
    return helper.make_node("BatchNormalization", [name, "scale", "shift", "mean", "variance"], ["y"], **options)


def answer(path: Path) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    return OnnxRuntimeEngine(path, threads=1).run({"x": x})["y"]


@pytest.mark.parametrize("weights", [["weight"], ["weight", "b"]], ids=["no bias", "bias"])
@pytest.mark.parametrize("options", [{}, {"epsilon": 0.3}], ids=["ONNX's epsilon", "another"])
def test_a_convolution_does_the_work_of_both(tmp_path: Path, weights: list[str], options: dict) -> None:
    nodes = [helper.make_node("Conv", ["x", *weights], ["c"]), normalised("c", **options)]
    merged = merge_batch_normalization(write(tmp_path / "apart.onnx", nodes))
    onnx.checker.check_model(merged, full_check=True)
    assert [node.op_type for node in merged.graph.node] == ["Conv"]
    assert len(merged.graph.initializer) == 2
    onnx.save(merged, str(tmp_path / "merged.onnx"))
    assert np.allclose(answer(tmp_path / "merged.onnx"), answer(tmp_path / "apart.onnx"), atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([helper.make_node("Conv", ["x", "weight"], ["c"]), normalised("c")], ("y", "c")),
        (
            [
                helper.make_node("Conv", ["x", "weight"], ["c"]),
                normalised("c"),
                helper.make_node("Conv", ["x", "weight"], ["z"]),
            ],
            ("y", "z"),
        ),
        (
            [
                helper.make_node("Conv", ["x", "weight"], ["c"]),
                helper.make_node("Relu", ["c"], ["r"]),
                normalised("r"),
            ],
            ("y",),
        ),
    ],
    ids=["a result that others read too", "weights of two convolutions", "no convolution before it"],
)
def test_what_cannot_be_merged_stays(tmp_path: Path, nodes: list, outputs: tuple[str, ...]) -> None:
    model = write(tmp_path / "apart.onnx", nodes, outputs)
    assert merge_batch_normalization(model) == model
