"""Weights kept in 16 bits: half the file, while the network computes in single precision as before.

Every runtime turns them into single precision when it loads the file; whoever rewrites a network does so first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_LEAST_VALUES = 1024
"""Smaller tensors are not worth a node: normalisations, biases, constants."""
_KEPT = "_in_16_bits"


def halve_weights(path: Path) -> None:
    """Keeps the large weights of an ONNX file in 16 bits, each with a cast that gives it back under its own name."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1 and np.prod(tensor.dims) >= _LEAST_VALUES:
            name = tensor.name
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, name + _KEPT))
            casts.append(helper.make_node("Cast", [name + _KEPT], [name], name=name + _KEPT, to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(path))


def whole_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with all weights in single precision, as it was before `halve_weights` but for the rounding."""
    from onnx import ModelProto, numpy_helper

    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    kept = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith(_KEPT)}
    others = [node for node in graph.node if node.op_type != "Cast" or node.input[0] not in kept]
    del graph.node[:]
    graph.node.extend(others)
    for name, tensor in kept.items():
        values = numpy_helper.to_array(tensor).astype("float32")
        tensor.CopyFrom(numpy_helper.from_array(values, name.removesuffix(_KEPT)))
    return result
