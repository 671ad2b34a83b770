"""A stage 1 in 8 bits in floating point again, to go on training from: `pose3d dequantise`."""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from pose3d_ros.engines.precision import read_network
from pose3d_ros.networks.calibrate_file import add_photos_arguments, kept_crops
from pose3d_ros.networks.integer_layout import GROUPED, ungrouped
from pose3d_ros.networks.low_rank import take_ranks
from pose3d_ros.networks.onnx_file import input_sizes
from pose3d_ros.networks.pose2d import Pose2DNet, network_input, save_net
from pose3d_ros.networks.resnet import DEPTHS

_PARAMETER = re.compile(r"(?:ConvBnFusion_(?:W|BN_B)_)?net\.(.+\.(?:weight|bias))(?:_quantized)?")
"""What ONNX Runtime calls the parameters of a module `net` whose normalisations it has merged with convolutions."""
_USUAL_SIZE = 0.12
"""Root mean square of a convolution's weights where our trainings end, which their rates are made for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--network", type=Path, default=Path("models/pose2d_int8.onnx"), help="stage 1 in 8 bits")
    add_photos_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write, for `pose3d train --init`")


def run(args: argparse.Namespace) -> None:
    """Writes the checkpoint."""
    net, size = dequantised_net(args.network), input_sizes(args.network)[1]
    crops = kept_crops(args.data, args.coco, size)
    settle(net, network_input(torch.from_numpy(crops)))
    save_net(net, size, args.output)


def dequantised_net(file: Path) -> Pose2DNet:
    """The network of a file in 8 bits; its normalisations, merged with convolutions there, add their bias only.

    Raises ValueError when the file is no stage 1 in 8 bits.
    """
    weights = _parameters(file)
    width, head_width = (len(weights.get(f"{name}.bias", ())) for name in ("backbone.stem.0.1", "pyramid.lateral.0"))
    for depth in DEPTHS if width and head_width else ():
        net = Pose2DNet(depth, width, head_width)
        take_ranks(net, weights)
        merged = dict(net.named_parameters())
        for name, module in net.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(merged.pop(f"{name}.weight"), (1 + module.eps) ** 0.5)
        if set(merged) == set(weights):
            net.load_state_dict(weights, strict=False)
            return net.eval()
    raise ValueError(f"{file} is no stage 1 in 8 bits, as `pose3d export int8 pose2d` writes it")


def settle(net: nn.Module, images: Tensor) -> None:
    """Gives normalisations that only add their bias the statistics of what they see in images [n, 3, h, w], and
    convolutions before them weights of the usual size: the network computes the same, and can be trained."""
    hooks = []
    for place in net.modules():
        match list(place) if isinstance(place, nn.Sequential) else []:
            case [convolution, nn.BatchNorm2d() as normalisation]:
                # Of a convolution in factors, the last one is what is normalised.
                (*_, last) = (each for each in convolution.modules() if isinstance(each, nn.Conv2d))
                hooks.append(normalisation.register_forward_pre_hook(partial(_settle, last)))
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()


def _settle(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d, given: tuple[Tensor]) -> Tensor:
    """The same for one pair, whose convolution has just made `given` [n, c, h, w]; returns what it would make now."""
    size = convolution.weight.square().mean((1, 2, 3)).sqrt().clamp_min(1e-6) / _USUAL_SIZE
    convolution.weight /= size[:, None, None, None]
    (values,) = given
    values = values / size[:, None, None]
    variance, mean = torch.var_mean(values, (0, 2, 3))
    normalisation.running_mean, normalisation.running_var = mean, variance
    normalisation.bias.add_(size * mean)
    normalisation.weight.copy_(size * (variance + normalisation.eps).sqrt())
    return values


def _parameters(file: Path) -> dict[str, Tensor]:
    """The parameters of a file in 8 bits as real numbers, by their names in the network, normalisations merged."""
    graph = read_network(file).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values = dict(constants)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            levels, scale, _ = (constants[name] for name in node.input)  # symmetric: zero is zero
            values[node.input[0]] = levels * scale.reshape(-1, *[1] * (levels.ndim - 1))
    found = {match[1]: each for name, each in values.items() if (match := _PARAMETER.fullmatch(name))}
    _ungroup_first(found)
    return {name: torch.from_numpy(each.astype(np.float32)) for name, each in found.items()}


def _ungroup_first(found: dict[str, NDArray]) -> None:
    """Takes back what `integer_layout` did to the first convolution, where it did."""
    whole, in_factors, bias = (f"backbone.stem.0.{name}" for name in ("0.weight", "0.0.weight", "1.bias"))
    kernels = whole if whole in found else in_factors
    if kernels not in found or found[kernels].shape[1] != GROUPED:
        return
    found[kernels] = ungrouped(found[kernels])
    if kernels == whole:  # the first of factors has no bias
        found[bias] = found[bias][: len(found[whole])]
