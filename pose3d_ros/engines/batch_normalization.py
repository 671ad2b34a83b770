"""Batch normalisations merged with the convolutions before them, as our exported image networks keep them apart.

A builder that chooses every precision itself merges them unasked. Where half precision or 8 bits are written into the
network, or pinned layer by layer, they would stand between a convolution and what passes its results on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

_EPSILON = 1e-5
"""ONNX's, where a node gives none."""

Weights = Mapping[str, NDArray]


def merge_batch_normalization(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with each BatchNormalization merged with the Conv whose result nobody else reads.

    One that follows something else, or whose numbers are not constants in single precision, stays.
    """
    from onnx import ModelProto, TensorProto, numpy_helper

    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    initializers = {value.name: value for value in graph.initializer if value.data_type == TensorProto.FLOAT}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    free = {tensor.name for tensor in graph.input}  # may be given another value at each run
    makers = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        if conv is None or uses[conv.output[0]] > 1 or _is_training(norm):
            continue
        names = [*conv.input[1:], *norm.input[1:]]
        if any(name not in initializers or name in free or uses[name] > 1 for name in names):
            continue
        values = {name: numpy_helper.to_array(initializers[name]).astype(np.float64) for name in names}
        weight, bias = _merged(conv, norm, values)
        for name in names:
            graph.initializer.remove(initializers[name])
        merged = {conv.input[1]: weight, norm.input[2]: bias}
        graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), name) for name, v in merged.items())
        conv.input[:] = [conv.input[0], *merged]
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    return result


def _merged(conv: onnx.NodeProto, norm: onnx.NodeProto, values: Weights) -> tuple[NDArray, NDArray]:
    """The weight [out, in, ...] and bias [out] of the convolution that does the work of both."""
    scale, shift, mean, variance = (values[name] for name in norm.input[1:])
    weight = values[conv.input[1]]
    bias = values[conv.input[2]] if len(conv.input) > 2 else np.zeros(len(weight))
    epsilon = next((attribute.f for attribute in norm.attribute if attribute.name == "epsilon"), _EPSILON)
    factor = scale / np.sqrt(variance + epsilon)
    return weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), shift + (bias - mean) * factor


def _is_training(norm: onnx.NodeProto) -> bool:
    return any(attribute.name == "training_mode" and attribute.i for attribute in norm.attribute)
