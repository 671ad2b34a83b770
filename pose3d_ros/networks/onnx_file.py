"""Writes a graph as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pose3d_ros.engines.precision import read_network

OPSET = 17


def write_onnx_file(
    graph: nn.Module, example: Tensor, path: Path, names: tuple[str, Sequence[str]], free_batch: bool
) -> None:
    """Writes a graph of one input as an ONNX file.

    names: of the input, and of the outputs. free_batch: the first size of all of them is free.
    Batch normalisation stays apart from the convolutions, and constants stay as they are, so that `read_weights` can
    give a training all it needs to go on; whoever runs the file merges them when loading it (ONNX Runtime, TensorRT,
    `engines.batch_normalization`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    given, returned = names
    torch.onnx.export(
        graph.eval(),
        (example,),
        str(path),
        input_names=[given],
        output_names=list(returned),
        dynamic_axes={name: {0: "people"} for name in [given, *returned]} if free_batch else None,
        opset_version=OPSET,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )


def read_weights(path: Path, prefix: str) -> dict[str, Tensor]:
    """The parameters of an exported graph's module `prefix`, by their names in it."""
    import onnx

    graph = read_network(path).graph
    weights = {weight.name: weight for weight in graph.initializer}
    # Of those that are equal PyTorch's exporter keeps one.
    twins = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    weights |= {name: weights[kept] for name, kept in twins.items() if kept in weights}
    return {
        name.removeprefix(prefix): torch.from_numpy(onnx.numpy_helper.to_array(weight).copy())
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def input_sizes(path: Path) -> list[int]:
    """The sizes of an exported graph's first input; 0 where one is free."""
    given = read_network(path).graph.input[0].type.tensor_type
    return [size.dim_value for size in given.shape.dim]
