"""What a heatmap is trained towards: a Gaussian round the joint."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gaussian_targets(places: Tensor, weights: Tensor, size: int, sigma: float) -> Tensor:
    """Means [n, j, size, size] of Gaussians of peak 1 round places [n, j, p, 2], heatmap pixels; weights [n, j, p]."""
    grid = torch.arange(size, dtype=places.dtype, device=places.device)
    x, y = (torch.exp(-((grid - places[..., k, None]) ** 2) / (2 * sigma**2)) for k in (0, 1))
    shares = weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)
    return (shares[..., None] * y).transpose(-1, -2) @ x


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy [n, j] between the spatial softmax of the logits and the targets normalised to one.

    Learns many times faster than the squared error: see docs/training.md.
    """
    goal = targets.flatten(2)
    goal = goal / goal.sum(-1, keepdim=True).clamp_min(1e-6)
    return -(goal * torch.log_softmax(logits.float().flatten(2), -1)).sum(-1)


def mean_squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error [n, j] between the map and the Gaussian, as the paper has it; summed over the map, so that
    it does not vanish among the zeros."""
    return ((logits.float() - targets) ** 2).flatten(2).sum(-1)


HEATMAP_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "mse": mean_squared_error,
}
