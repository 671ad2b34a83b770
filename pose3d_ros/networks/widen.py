"""The weights of a network for a wider one that computes the same (Net2Net, Chen et al., ICLR 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NOISE = 0.5
"""How far the copies of a channel are weighted apart, over the weights' root mean square."""


def multiplied(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether every size wanted is a whole multiple of the one there is."""
    return len(shape) == len(wanted) and all(b % a == 0 for a, b in zip(shape, wanted, strict=True))


def widen(weights: Tensor, wanted: Sequence[int]) -> Tensor:
    """Weights [outputs, inputs, ...], or a value per channel [channels], with every channel as often as `wanted` asks.

    Copies of an input share its weight unequally: what they add to an output is as before, but they learn apart.
    """
    times = [b // a for a, b in zip(weights.shape, wanted, strict=True)]
    wide = weights.repeat(times)
    if weights.ndim < 2 or times[1] == 1:
        return wide
    wide = wide / times[1]
    noise = torch.randn_like(wide) * (NOISE * wide.square().mean().sqrt())
    copies = noise.unflatten(1, (times[1], -1))
    return wide + (copies - copies.mean(1, keepdim=True)).flatten(1, 2)
