"""Convolutions of lower rank: 1 x 1 to few channels, the convolution among few, 1 x 1 to all, where that is less work.

After Zhang et al. 2016, "Accelerating very deep convolutional networks for classification and detection".
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import count, takewhile
from statistics import geometric_mean
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
_PLACES, _AT_A_TIME = 20_000, 8


class _SeenError(Exception):
    """What was to be looked at is computed; nobody asks for the rest."""


class _Pair(NamedTuple):
    """A convolution and its normalisation, and the place where they stand, as `resnet.conv_bn` makes it."""

    place: nn.Sequential
    convolution: nn.Conv2d
    normalisation: nn.BatchNorm2d


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
    pairs = _normalised(net)
    wanted = _look(net, images, {name: pair.convolution for name, pair in pairs.items()})
    channels = {}
    for name, (_, goal) in wanted.items():
        place, convolution, normalisation = pairs[name]
        (given,) = _look(net, images, {name: convolution}).values()
        parts = _parts(convolution, _gain(normalisation), given, goal, share, input_share)
        if len(parts) == 1:
            continue
        place[0] = nn.Sequential(*parts)
        (given,) = _look(net, images, {name: place[0]}).values()
        assert normalisation.running_mean is not None
        normalisation.running_mean -= (goal - given.outputs).mean(1).float()
        channels[name] = [convolution.in_channels, *(part.out_channels for part in parts)]
    return channels


def take_ranks(net: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Makes as many convolutions of each as these weights have, with weights of their own."""
    for name, (place, convolution, _) in _normalised(net).items():
        names = (f"{name}.0.{i}.weight" for i in count())
        shapes = [weights[each].shape for each in takewhile(weights.__contains__, names)]
        if shapes:
            place[0] = nn.Sequential(*(_convolution(convolution, shape) for shape in shapes))


def _normalised(net: nn.Module) -> dict[str, _Pair]:
    """Convolutions of more than 1 x 1 that are normalised, by the names of their places."""
    pairs = {}
    for name, place in net.named_modules():
        match list(place) if isinstance(place, nn.Sequential) else []:
            case [nn.Conv2d() as convolution, nn.BatchNorm2d() as normalisation] if convolution.kernel_size != (1, 1):
                pairs[name] = _Pair(place, convolution, normalisation)
    return pairs


def _look(net: nn.Module, images: Tensor, modules: Mapping[str, nn.Module]) -> dict[str, _Values]:
    """What goes into and comes out of modules, in the order of computing."""
    seen: dict[str, list[_Values]] = {}

    def keep(name: str, given: Tensor, found: Tensor) -> None:
        inputs, outputs = (each.transpose(0, 1).flatten(1) for each in (given, found))
        # An odd step does not keep to a few columns.
        step = (outputs.shape[1] * len(images) // len(found) // _PLACES) | 1
        moments = (inputs @ inputs.T).double() / inputs.shape[1]
        seen.setdefault(name, []).append(_Values(moments, outputs[:, ::step].double()))
        if len(modules) == 1:
            raise _SeenError

    hooks = [
        module.register_forward_hook(lambda _, given, found, name=name: keep(name, given[0], found))
        for name, module in modules.items()
    ]
    with torch.no_grad():
        for some in images.split(_AT_A_TIME):
            with suppress(_SeenError):
                net(some)
    for hook in hooks:
        hook.remove()
    return {
        name: _Values(torch.stack([v.moments for v in values]).mean(0), torch.cat([v.outputs for v in values], 1))
        for name, values in seen.items()
    }


def _gain(normalisation: nn.BatchNorm2d) -> Tensor:
    """How loud channels [o] come out of a normalisation; which way round does not matter."""
    assert normalisation.running_var is not None
    deviation = (normalisation.running_var.double() + normalisation.eps).sqrt()
    return (normalisation.weight.detach().abs() / deviation).clamp_min(_LEAST_GAIN)


def _parts(
    convolution: nn.Conv2d, gain: Tensor, values: _Values, goal: Tensor, share: float, input_share: float
) -> list[nn.Conv2d]:
    """What replaces a convolution, or itself; gain [o]: of the normalisation. goal [o, n]: what it is to give."""
    weights, wide = _to_fewer(convolution.weight.detach().double(), values.outputs, goal, gain, share)
    heard = gain if wide is None else torch.ones(len(weights), dtype=weights.dtype)
    weights, narrow = _from_fewer(weights, values.moments, heard, convolution.stride[0], input_share)
    if wide is None and narrow is None:
        return [convolution]
    stack = [weights]
    if narrow is not None:
        stack.insert(0, narrow[..., None, None])
    if wide is not None:
        stack.append(wide[..., None, None])
    found = [_convolution(convolution, each.shape) for each in stack]
    for part, each in zip(found, _balanced(stack), strict=True):
        part.weight.data = each.float()
    return found


def _to_fewer(
    weights: Tensor, given: Tensor, wanted: Tensor, gain: Tensor, share: float
) -> tuple[Tensor, Tensor | None]:
    """Weights to fewer outputs [r, i, k, k], and wide [o, r], which makes all of them; or the weights, where that is no
    less work. So that given [o, n], but for a constant, becomes what is nearest to wanted [o, n], each channel's error
    times its gain (reduced-rank regression)."""
    products = weights[0].numel()
    rank = _rank(torch.linalg.eigvalsh(torch.cov(gain[:, None] * wanted)), share)
    if not _is_less(rank * (products + len(weights)), len(weights) * products):
        return weights, None
    inputs = torch.cov(given)
    inputs += _RIDGE * inputs.diagonal().mean() * torch.eye(len(inputs), dtype=inputs.dtype)
    both = torch.cov(torch.cat([gain[:, None] * wanted, given]))[: len(weights), len(weights) :]
    linear = torch.linalg.solve(inputs, both.T).T
    directions = torch.linalg.eigh(linear @ both.T)[1][:, -rank:]
    return torch.einsum("ro,oikl->rikl", directions.T @ linear, weights), directions / gain[:, None]


def _from_fewer(
    weights: Tensor, moments: Tensor, gain: Tensor, stride: int, share: float
) -> tuple[Tensor, Tensor | None]:
    """Weights from fewer inputs [o, r, k, k], and narrow [r, i], which makes these of all; or the weights, where that
    is no less work. So that of inputs with these second moments [i, i] comes what is nearest to what came of all."""
    outputs, inputs, taps = *weights.shape[:2], weights[0, 0].numel()
    heard = (gain[:, None, None] * weights.flatten(2)).transpose(0, 1).flatten(1)
    variances, axes = torch.linalg.eigh(moments)
    root = (axes * variances.clamp_min(_RIDGE * variances.mean()).sqrt()) @ axes.T
    variances, directions = torch.linalg.eigh(root @ heard @ heard.T @ root)
    rank = _rank(variances, share)
    if not _is_less(rank * (inputs * stride**2 + outputs * taps), inputs * outputs * taps):
        return weights, None
    directions = directions[:, -rank:]
    return torch.einsum("ri,oikl->orkl", directions.T @ root, weights), torch.linalg.solve(root, directions).T


def _rank(variances: Tensor, share: float) -> int:
    """How many of the largest of these rising variances make up the share, in whole groups of channels."""
    needed = int((variances.flip(0).cumsum(0) < share * variances.sum()).sum()) + 1
    return -(-needed // _CHANNELS_AT_A_TIME) * _CHANNELS_AT_A_TIME


def _is_less(products: int, before: int) -> bool:
    return products <= (1 - _LEAST_SAVED) * before


def _balanced(stack: list[Tensor]) -> list[Tensor]:
    """Weights of the same product, and all of one size: Muon's steps have a size of their own, and would wipe out what
    is much smaller."""
    sizes = [float(each.square().mean().sqrt()) for each in stack]
    return [each * (geometric_mean(sizes) / size) for each, size in zip(stack, sizes, strict=True)]


def _convolution(like: nn.Conv2d, shape: torch.Size) -> nn.Conv2d:
    """One of the parts: of more than 1 x 1 it has the whole one's stride."""
    outputs, inputs, *kernel = shape
    if kernel == [1, 1]:
        return nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Conv2d(inputs, outputs, like.kernel_size, like.stride, like.padding, bias=False)  # type: ignore[arg-type]
