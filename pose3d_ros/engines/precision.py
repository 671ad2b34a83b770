"""Which part of a network may run in half precision, and the network rewritten so.

The rule, for every network: layers with trained weights (convolutions, matrix products) run in half precision, and so
does what only passes their results on (activations, pooling, sums, resizing, joining). All else stays in single
precision: reading positions out of heatmaps, covariances, normalisation, exponentials. Inputs and outputs stay as they
are. So a heatmap is computed in half precision, and the position read from it is not rounded to it. A normalisation
between the two would end half precision early: `batch_normalization` merges it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.engines.engine import EngineError
from pose3d_ros.engines.half_weights import whole_weights

if TYPE_CHECKING:
    import onnx

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""ONNX operators that begin half precision where one of their inputs is a trained weight."""
PASSING = frozenset(
    {"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat", "Resize", "Identity"}
)
"""Operators that keep it up where all that they compute with is in half precision already: not the sum of a position
in a cell and the cell's constant place, for example, which half precision would round to a tenth of a pixel."""
_FIRST_INPUT_ONLY = frozenset({"Resize"})
"""Operators whose further inputs are settings, not data."""


def read_network(path: Path) -> onnx.ModelProto:
    """An ONNX file, with weights in single precision. Raises EngineError when `onnx` is not installed or the file is
    unreadable."""
    try:
        import onnx
    except ImportError as error:
        raise EngineError("reading a network needs the package onnx: pip install onnx") from error
    try:
        return whole_weights(onnx.load(str(path)))
    except Exception as error:  # protobuf's exceptions share no base class
        raise EngineError(f"{path} is not a readable ONNX network ({error}): copy the file again") from error


def half_nodes(graph: onnx.GraphProto) -> list[int]:
    """Which nodes may run in half precision: their places in the graph's order."""
    weights = set(_float_constants(graph))
    half: set[str] = set()
    places = []
    for place, node in enumerate(graph.node):
        data = _data_inputs(node)
        weighted = node.op_type in WEIGHTED and any(name in weights for name in data)
        passing = node.op_type in PASSING and all(name in half for name in data)
        if weighted or passing:
            half.update(node.output)
            places.append(place)
    return places


def is_convolutional(path: Path) -> bool:
    """Has an ONNX file convolutions, which is what int8 rounds?"""
    return any(node.op_type == "Conv" for node in read_network(path).graph.node)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with the nodes of `half_nodes` in half precision, and casts where it begins and ends.

    Raises EngineError where no node may.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    chosen = set(half_nodes(graph))
    if not chosen:
        raise EngineError("this network has no layer that could run in half precision: use precision fp32")
    made_half = {name for place in chosen for name in graph.node[place].output}
    constants = _float_constants(graph)
    outputs = {output.name for output in graph.output}
    graph.ClearField("value_info")  # the types that it notes would no longer be true
    rewritten: list[onnx.NodeProto] = []
    cast: set[str] = set()

    def converted(name: str, wanted: int) -> str:
        """The name of this tensor in the wanted type; the cast is added when it is first needed."""
        suffix = "half" if wanted == TensorProto.FLOAT16 else "float"
        new = f"{name}_as_{suffix}"
        if new not in cast:
            cast.add(new)
            if name in constants:
                values = numpy_helper.to_array(constants[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, new))
            else:
                rewritten.append(helper.make_node("Cast", [name], [new], name=f"{new}_cast", to=wanted))
        return new

    for place, node in enumerate(graph.node):
        if place in chosen:
            data = _data_inputs(node)
            for i, name in enumerate(node.input):
                if name in data and name not in made_half:
                    node.input[i] = converted(name, TensorProto.FLOAT16)
        else:
            for i, name in enumerate(node.input):
                if name in made_half:
                    node.input[i] = converted(name, TensorProto.FLOAT)
        rewritten.append(node)
    for name in sorted(outputs & made_half):
        _rename_output(rewritten, name)
        rewritten.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    copies = [_copy(node) for node in rewritten]
    graph.ClearField("node")
    graph.node.extend(copies)
    used = {name for node in copies for name in node.input} | outputs
    for initializer in [value for value in graph.initializer if value.name not in used]:
        graph.initializer.remove(initializer)
    return result


def to_int8(model: onnx.ModelProto, samples: Sequence[Mapping[str, NDArray]]) -> onnx.ModelProto:
    """The network with 8-bit convolutions: quantising and dequantising nodes round what they compute with, scaled by
    what the samples do in the network. The form that every TensorRT reads, with or without its own calibration.

    Raises EngineError when `onnx` or ONNX Runtime is not installed.
    """
    try:
        import onnx
        from onnxruntime import quantization

        from pose3d_ros.engines.samples_reader import SamplesReader
    except ImportError as error:
        raise EngineError(f"int8 needs onnx and onnxruntime ({error}): pip install onnx onnxruntime") from error

    with TemporaryDirectory() as folder:
        written = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            str(written),
            SamplesReader(samples),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            activation_type=quantization.QuantType.QInt8,  # TensorRT's are signed and symmetric
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                # Else weights come in 8 bits with nodes that only dequantise, which not every TensorRT 8 reads.
                "AddQDQPairToWeight": True,
                # Rounded between a convolution and its activation, the two could not be merged.
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        return onnx.load(str(written))


def _data_inputs(node: onnx.NodeProto) -> list[str]:
    names = list(node.input[:1] if node.op_type in _FIRST_INPUT_ONLY else node.input)
    return [name for name in names if name]


def _float_constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The single-precision constants of a graph by name: initialisers and outputs of Constant nodes."""
    return {name: value for name, value in _constants(graph) if value.data_type == 1}


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for initializer in graph.initializer:
        yield initializer.name, initializer
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")


def _rename_output(nodes: Iterable[onnx.NodeProto], name: str) -> None:
    """A graph's output that is made in half precision gets another name, so that a cast can give it the old one."""
    for node in nodes:
        for names in (node.input, node.output):
            for i, own in enumerate(names):
                if own == name:
                    names[i] = f"{name}_half"


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = type(node)()
    copy.CopyFrom(node)
    return copy
