"""Tiny ONNX networks with the shapes of the real ones: their answers are known, and brightness stands for a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pose3d_ros.models import Model, record_model
from pose3d_ros.skeleton import INDEX, NUM_JOINTS

CROP = 64
FINDER_SIZE = (160, 120)
FINDER_BOX = (60.0, 20.0, 100.0, 110.0)
"""Where the finder sees somebody whenever the picture is bright: pixels of its 160x120 input."""
STATE_SIZE = 3


def standing_pose() -> np.ndarray:
    """[24, 3] metres: somebody who faces the camera with the arms down, relative to the pelvis."""
    height = {
        "pelvis": 0.0, "hip": 0.0, "knee": 0.45, "ankle": 0.9, "toe": 0.95, "spine": -0.25, "thorax": -0.5,
        "neck": -0.6, "head": -0.85, "shoulder": -0.48, "elbow": -0.2, "wrist": 0.05, "nose": -0.68, "eye": -0.72,
        "ear": -0.7,
    }  # fmt: skip
    aside = {"hip": 0.1, "knee": 0.1, "ankle": 0.1, "toe": 0.1, "shoulder": 0.18, "elbow": 0.22, "wrist": 0.24}
    aside |= {"eye": 0.03, "ear": 0.07}
    pose = np.zeros((NUM_JOINTS, 3))
    for name, j in INDEX.items():
        part = name.rsplit("_", maxsplit=1)[-1]
        side = 1 if name.startswith("left_") else -1
        pose[j] = side * aside.get(part, 0.0), height[part], {"toe": -0.12, "nose": -0.1, "eye": -0.07}.get(part, 0.0)
    return pose


def pose_in_crop() -> np.ndarray:
    """[24, 2] pixels of the crop at which the tiny stage 1 puts the joints: the standing pose, 0.8 of its height."""
    pose = standing_pose()[:, :2]
    return (CROP - 1) / 2 + (pose - (pose.min(0) + pose.max(0)) / 2) / np.ptp(pose[:, 1]) * CROP * 0.8 / 1.15


def crowd_boxes(columns: int, rows: int) -> np.ndarray:
    """[columns * rows, 4] pixels of the finder's input: people side by side, who do not touch."""
    width, height = FINDER_SIZE[0] / columns, FINDER_SIZE[1] / rows
    x, y = (corner.ravel() for corner in np.meshgrid(width * np.arange(columns), height * np.arange(rows)))
    return np.stack([x + 0.1 * width, y + 0.05 * height, x + 0.9 * width, y + 0.95 * height], 1)


def write_models(folder: Path, boxes: Sequence[Sequence[float]] | np.ndarray = (FINDER_BOX,)) -> Path:
    """A models folder with the three tiny networks. boxes: where the finder sees people."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, network in (("find", finder(boxes)), ("pose2d", pose2d()), ("lift", lifter())):
        onnx.save(network, str(folder / f"{role}.onnx"))
        record_model(Model(role, folder / f"{role}.onnx", sha256=""))
    return folder


def finder(boxes: Sequence[Sequence[float]] | np.ndarray = (FINDER_BOX,)) -> onnx.ModelProto:
    width, height = FINDER_SIZE
    number = len(boxes)
    nodes = [
        *_brightness("image", "bright", (1, 1)),
        _constant("ones", np.ones((1, number), np.float32)),
        helper.make_node("Mul", ["bright", "ones"], ["scores"]),
        _constant("boxes", np.array([boxes], np.float32)),
    ]
    return _model(
        nodes,
        [_tensor("image", TensorProto.UINT8, [1, height, width, 3])],
        [_tensor("boxes", TensorProto.FLOAT, [1, number, 4]), _tensor("scores", TensorProto.FLOAT, [1, number])],
    )


def pose2d(joints: int = NUM_JOINTS) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Shape", ["crops"], ["n"], start=0, end=1),
        *_expanded("joints", pose_in_crop()[:joints, None]),
        *_expanded("covariance", np.tile(np.eye(2), (joints, 1, 1, 1))),
        *_brightness("crops", "bright", (-1, 1)),
        _constant("ones", np.ones((1, joints), np.float32)),
        helper.make_node("Mul", ["bright", "ones"], ["visible"]),
        _constant("last", np.array([-1], np.int64)),
        helper.make_node("Unsqueeze", ["visible", "last"], ["score"]),
    ]
    return _model(
        nodes,
        [_tensor("crops", TensorProto.UINT8, ["n", CROP, CROP, 3])],
        [
            _tensor("joints", TensorProto.FLOAT, ["n", joints, 1, 2]),
            _tensor("covariance", TensorProto.FLOAT, ["n", joints, 1, 2, 2]),
            _tensor("score", TensorProto.FLOAT, ["n", joints, 1]),
            _tensor("visible", TensorProto.FLOAT, ["n", joints]),
        ],
    )


def lifter() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Shape", ["rays"], ["n"], start=0, end=1),
        *_expanded("joints_m", standing_pose()),
        *_expanded("sigma_m", np.full(NUM_JOINTS, 0.03)),
        _constant("one", np.ones(1, np.float32)),
        helper.make_node("Add", ["state", "one"], ["new_state"]),
    ]
    return _model(
        nodes,
        [
            _tensor("rays", TensorProto.FLOAT, ["n", NUM_JOINTS, 2]),
            _tensor("cov", TensorProto.FLOAT, ["n", NUM_JOINTS, 2, 2]),
            _tensor("score", TensorProto.FLOAT, ["n", NUM_JOINTS]),
            _tensor("up", TensorProto.FLOAT, ["n", 3]),
            _tensor("state", TensorProto.FLOAT, ["n", STATE_SIZE]),
        ],
        [
            _tensor("joints_m", TensorProto.FLOAT, ["n", NUM_JOINTS, 3]),
            _tensor("sigma_m", TensorProto.FLOAT, ["n", NUM_JOINTS]),
            _tensor("new_state", TensorProto.FLOAT, ["n", STATE_SIZE]),
        ],
    )


def _model(
    nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _tensor(name: str, kind: int, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def _expanded(name: str, value: np.ndarray) -> list[onnx.NodeProto]:
    """The value once for each of n people."""
    one = np.asarray(value, np.float32)[None]
    return [
        _constant(f"{name}_one", one),
        _constant(f"{name}_rest", np.array(one.shape[1:], np.int64)),
        helper.make_node("Concat", ["n", f"{name}_rest"], [f"{name}_shape"], axis=0),
        helper.make_node("Expand", [f"{name}_one", f"{name}_shape"], [name]),
    ]


def _brightness(source: str, name: str, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    """The mean of each picture, 0...1."""
    return [
        helper.make_node("Cast", [source], [f"{name}_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", [f"{name}_float"], [f"{name}_mean"], axes=[1, 2, 3], keepdims=0),
        _constant(f"{name}_white", np.array(255, np.float32)),
        helper.make_node("Div", [f"{name}_mean", f"{name}_white"], [f"{name}_share"]),
        _constant(f"{name}_shape", np.array(shape, np.int64)),
        helper.make_node("Reshape", [f"{name}_share", f"{name}_shape"], [name]),
    ]
