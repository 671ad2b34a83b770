"""Networks for TensorRT 8.5, whose parser does not know LayerNormalization; everything else that ours hold it does.

Source: docs/operators.md of onnx-tensorrt, release/8.5-GA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pose3d_ros.engines.engine import EngineError

if TYPE_CHECKING:
    import onnx


def without_layer_normalization(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with each LayerNormalization over the last axis spelt out in single steps.

    Raises EngineError where one is over other axes.
    """
    from onnx import ModelProto

    result = ModelProto()
    result.CopyFrom(model)
    result.graph.ClearField("node")
    for node in model.graph.node:
        result.graph.node.extend(_steps(node) if node.op_type == "LayerNormalization" else [node])
    return result


def _steps(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Mean, deviation, variance, and the rest of y = (x - mean) / sqrt(variance + epsilon) * scale + bias."""
    from onnx import helper, numpy_helper

    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if options.get("axis", -1) != -1 or len(node.input) != 3:
        raise EngineError(
            f"{node.name} is no LayerNormalization with scale and bias over the last axis: use TensorRT 8.6"
        )
    x, scale, bias = node.input
    y = node.output[0]
    epsilon = numpy_helper.from_array(np.array(options.get("epsilon", 1e-5), np.float32))
    return [
        helper.make_node("ReduceMean", [x], [f"{y}_mean"], axes=[-1], keepdims=1),
        helper.make_node("Sub", [x, f"{y}_mean"], [f"{y}_deviation"]),
        helper.make_node("Mul", [f"{y}_deviation", f"{y}_deviation"], [f"{y}_square"]),
        helper.make_node("ReduceMean", [f"{y}_square"], [f"{y}_variance"], axes=[-1], keepdims=1),
        helper.make_node("Constant", [], [f"{y}_epsilon"], value=epsilon),
        helper.make_node("Add", [f"{y}_variance", f"{y}_epsilon"], [f"{y}_positive"]),
        helper.make_node("Sqrt", [f"{y}_positive"], [f"{y}_spread"]),
        helper.make_node("Div", [f"{y}_deviation", f"{y}_spread"], [f"{y}_normal"]),
        helper.make_node("Mul", [f"{y}_normal", scale], [f"{y}_scaled"]),
        helper.make_node("Add", [f"{y}_scaled", bias], [y]),
    ]
