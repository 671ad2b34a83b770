"""Networks with convolutions, small enough to be run many times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE = 4, 8


def write_heatmaps(path: Path, batch: int | str = "n") -> Path:
    """uint8 pictures [n, 8, 8, 3] -> convolutions with a residual -> heatmaps -> where their mass lies, and its sum."""
    rng = np.random.default_rng(0)
    weights = {
        "mean": np.array(128, np.float32),
        "w1": rng.normal(0, 0.01, (CHANNELS, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.1, CHANNELS).astype(np.float32),
        "w2": rng.normal(0, 0.2, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32),
        "places": np.linspace(0, 100, SIZE * SIZE).astype(np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "flat": np.array([0, CHANNELS, -1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["pictures"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["numbers", "mean"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w1", "b1"], ["first"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("Conv", ["active", "w2"], ["second"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["active", "second"], ["sum"]),
        helper.make_node("Resize", ["sum", "", "scales"], ["heatmaps"], mode="nearest"),
        helper.make_node("Reshape", ["heatmaps", "flat"], ["rows"]),
        helper.make_node("Softmax", ["rows"], ["mass"], axis=-1),
        helper.make_node("Mul", ["mass", "places"], ["moments"]),
        helper.make_node("ReduceMean", ["moments"], ["position"], axes=[-1], keepdims=0),
        helper.make_node("ReduceMean", ["sum"], ["level"], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "heatmaps",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, [batch, SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("position", TensorProto.FLOAT, [batch, CHANNELS]),
            helper.make_tensor_value_info("level", TensorProto.FLOAT, [batch, CHANNELS]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def pictures(count: int) -> dict[str, np.ndarray]:
    """Inputs for the network."""
    return {"pictures": np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)}


def soft_picture(seed: int) -> np.ndarray:
    """[1, 64, 64, 3] soft blobs, as a stage 1 may see."""
    coarse = np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 3), np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)


def write_memory(path: Path) -> Path:
    """levels [n, 2] and state [n, 5] -> seen [n, 5], a mixture of both, which is the new state too."""
    weights = {"mix": np.linspace(-1, 1, 10).astype(np.float32).reshape(2, 5), "half": np.array(0.5, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["levels", "mix"], ["mixed"]),
        helper.make_node("Mul", ["state", "half"], ["faded"]),
        helper.make_node("Add", ["mixed", "faded"], ["new_state"]),
        helper.make_node("Tanh", ["new_state"], ["seen"]),
    ]
    tensors = {"levels": 2, "state": 5, "seen": 5, "new_state": 5}
    infos = [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", width]) for k, width in tensors.items()]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "memory", infos[:2], infos[2:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path
