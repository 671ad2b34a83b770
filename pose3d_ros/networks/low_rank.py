"""Convolutions of lower rank: 1 x 1 to few channels, the convolution among few, 1 x 1 to all, where that is less work.

After Zhang et al. 2016, "Accelerating very deep convolutional networks for classification and detection".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn

_CHANNELS_AT_A_TIME = 16
"""Of what integer kernels compute at once: a rank between costs as much as the next multiple."""
_LEAST_SAVED = 0.2
"""Share of a convolution's products from which on another one is worth its overhead."""
_LEAST_GAIN = 1e-3
"""Of a normalisation: a channel that is quieter counts as if it were this loud."""
_RIDGE = 1e-6
"""Of the mean variance, so that channels that say nothing do no harm."""
_PLACES = 20_000


class _Enough(Exception):
    """What was to be looked at is computed; nobody asks for the rest."""


class _Values(NamedTuple):
    """Of a convolution: inputs' second moments [i, i], outputs at some places [o, n]."""

    moments: Tensor
    outputs: Tensor


def factorise(net: nn.Module, images: Tensor, share: float, input_share: float) -> dict[str, list[int]]:
    """Makes two or three of each normalised convolution of more than 1 x 1 whose outputs, or inputs, lie within few
    directions.

    images: [n, 3, h, w], normalised. Outputs stay as nearly as ranks allow that keep `share` of their variance after
    normalisation, and `input_share` of what the inputs bring to them. One convolution after the other, so that each
    makes up for those before it. Returns name -> channels from first to last of those that became more. The network
    must be in evaluation.
    """
    wanted = {name: values.outputs for name, values in _look(net, images).items()}
    pairs = dict(_normalised(net))
    channels = {}
    for name, goal in wanted.items():
        convolution, normalisation = pairs[name]
        parts = _parts(convolution, _gain(normalisation), _look(net, images, name)[name], goal, share, input_share)
        if len(parts) == 1:
            continue
        pairs[name][0] = nn.Sequential(*parts)
        normalisation.running_mean -= (goal - _look(net, images, name)[name].outputs).mean(1).float()
        channels[name] = [convolution.in_channels, *(part.out_channels for part in parts)]
    return channels


def take_ranks(net: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Makes as many convolutions of each as these weights have, with weights of their own."""
    for name, pair in list(_normalised(net)):
        parts = []
        while (shape := weights.get(f"{name}.0.{len(parts)}.weight", torch.empty(0)).shape) != (0,):
            parts.append(_convolution(pair[0], shape))
        if parts:
            pair[0] = nn.Sequential(*parts)


def _normalised(net: nn.Module) -> Iterator[tuple[str, nn.Sequential]]:
    """Convolutions of more than 1 x 1 and their normalisation, as `resnet.conv_bn` makes them, by name."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
            first = module[0][0] if isinstance(module[0], nn.Sequential) else module[0]
            if isinstance(module[0], nn.Sequential) or first.kernel_size[0] > 1:
                yield name, module


def _look(net: nn.Module, images: Tensor, only: str | None = None) -> dict[str, _Values]:
    """What goes into and comes out of normalised convolutions, or of only one, in the order of computing."""
    moments: dict[str, list[Tensor]] = {}
    outputs: dict[str, list[Tensor]] = {}
    hooks = []
    for name, pair in _normalised(net):
        if only not in (None, name):
            continue

        def keep(_: nn.Module, given: tuple[Tensor], found: Tensor, name: str = name) -> None:
            inputs, values = (each.transpose(0, 1).flatten(1) for each in (given[0], found))
            # An odd step does not keep to a few columns.
            step = (values.shape[1] * len(images) // len(found) // _PLACES) | 1
            moments.setdefault(name, []).append((inputs @ inputs.T).double() / inputs.shape[1])
            outputs.setdefault(name, []).append(values[:, ::step].double())
            if only is not None:
                raise _Enough

        hooks.append(pair[0].register_forward_hook(keep))
    with torch.no_grad():
        for some in images.split(8):
            with suppress(_Enough):
                net(some)
    for hook in hooks:
        hook.remove()
    return {name: _Values(torch.stack(moments[name]).mean(0), torch.cat(outputs[name], 1)) for name in outputs}


def _gain(normalisation: nn.BatchNorm2d) -> Tensor:
    gain = (normalisation.weight / (normalisation.running_var + normalisation.eps).sqrt()).detach().double()
    return gain.sign() * gain.abs().clamp_min(_LEAST_GAIN)


def _parts(
    convolution: nn.Conv2d, gain: Tensor, values: _Values, goal: Tensor, share: float, input_share: float
) -> list[nn.Conv2d]:
    """What replaces a convolution, or itself; gain [o]: of the normalisation. goal [o, n]: what it is to give."""
    weights = convolution.weight.detach().double()
    outputs, inputs, taps = len(weights), weights.shape[1], weights[0, 0].numel()
    size = weights.square().mean().sqrt()
    after, before = [], []
    rank = _rank(torch.linalg.eigvalsh(torch.cov(gain[:, None] * goal)).flip(0), share)
    if rank * (inputs * taps + outputs) <= (1 - _LEAST_SAVED) * outputs * inputs * taps:
        narrow, wide = _reduced(values.outputs, goal, gain, rank)
        weights = torch.einsum("ro,oikl->rikl", narrow, weights)
        after, gain = [wide], torch.ones(rank, dtype=weights.dtype)
    loud = (gain[:, None, None] * weights.flatten(2)).transpose(0, 1).flatten(1)
    moments = values.moments + _RIDGE * values.moments.diagonal().mean() * torch.eye(inputs, dtype=weights.dtype)
    scales, turns = torch.linalg.eigh(moments)
    root = (turns * scales.clamp_min(0).sqrt()) @ turns.T
    variances, directions = torch.linalg.eigh(root @ loud @ loud.T @ root)
    few = _rank(variances.flip(0), input_share)
    stride = convolution.stride[0]
    if few * (inputs * stride**2 + len(weights) * taps) <= (1 - _LEAST_SAVED) * inputs * len(weights) * taps:
        directions = directions[:, -few:]
        weights = torch.einsum("ri,oikl->orkl", (root @ directions).T, weights)
        before = [torch.linalg.solve(root, directions).T]
    # As large as the weights were: optimisers take steps of a size.
    rest = torch.tensor(1.0, dtype=weights.dtype)
    for matrix in before:
        rest, matrix = rest * matrix.square().mean().sqrt() * inputs**0.5, matrix
        matrix /= matrix.square().mean().sqrt() * inputs**0.5
    rest = rest * weights.square().mean().sqrt() / size
    weights = weights * size / weights.square().mean().sqrt()
    if after:
        after[0] = after[0] * rest
    else:
        weights = weights * rest
    stack = [*(m[..., None, None] for m in before), weights, *(m[..., None, None] for m in after)]
    if len(stack) == 1:
        return [convolution]
    found = [_convolution(convolution, each.shape) for each in stack]
    for part, each in zip(found, stack, strict=True):
        part.weight.data = each.float()
    return found


def _rank(variances: Tensor, share: float) -> int:
    """How many of these variances, falling, make up the share, in whole groups of channels."""
    needed = int((variances.cumsum(0) < share * variances.sum()).sum()) + 1
    return -(-needed // _CHANNELS_AT_A_TIME) * _CHANNELS_AT_A_TIME


def _reduced(given: Tensor, wanted: Tensor, gain: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """narrow [rank, c], wide [c, rank]: wide · narrow · given, but for a constant, is nearest to wanted [c, n], each
    channel's error times its gain (reduced-rank regression)."""
    inputs, goal = torch.cov(given), gain[:, None] * (wanted - wanted.mean(1, keepdim=True))
    both = goal @ (given - given.mean(1, keepdim=True)).T / (given.shape[1] - 1)
    inputs += _RIDGE * inputs.diagonal().mean() * torch.eye(len(inputs), dtype=inputs.dtype)
    linear = torch.linalg.solve(inputs, both.T).T
    directions = torch.linalg.eigh(linear @ both.T)[1][:, -rank:]
    return directions.T @ linear, directions / gain[:, None]


def _convolution(like: nn.Conv2d, shape: torch.Size) -> nn.Conv2d:
    """One of the parts: of more than 1 x 1 it has the whole one's stride."""
    outputs, inputs, *kernel = shape
    if kernel == [1, 1]:
        return nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Conv2d(inputs, outputs, like.kernel_size, like.stride, like.padding, bias=False)  # type: ignore[arg-type]
