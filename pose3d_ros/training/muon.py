"""Muon: momentum whose step is made orthogonal, for matrices between hidden layers, and convolutions, [outputs, rest].

After Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), with Moonlight's scale (Liu et al. 2025,
arXiv:2502.16982), so that AdamW's learning rates and weight decay fit. `torch.optim.Muon` does the same, but always in
bfloat16, which a CPU without it only imitates: 4.5 s a step instead of 0.2 for the lifter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pose3d_ros.training.half import multiplies_in_half

_A, _B, _C = 3.4445, -4.7750, 2.0315  # Jordan's quintic: steepest at zero
_ITERATIONS = 5


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix [m,n] with singular values of about one (0.7...1.2), by Newton-Schulz iteration."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    if multiplies_in_half(matrix.device):
        x = x.bfloat16()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, scaled to the root mean square 0.2 of AdamW's steps."""

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.01, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        wrong = [tuple(p.shape) for group in self.param_groups for p in group["params"] if p.ndim < 2]
        if wrong:
            raise ValueError(f"Muon is for matrices, not for parameters of shape {wrong}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                buffer = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(buffer, group["momentum"]).flatten(1)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(orthogonal(ahead).view(p.shape), alpha=-0.2 * max(ahead.shape) ** 0.5 * group["lr"])
