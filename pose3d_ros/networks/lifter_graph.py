"""What is exported of stage 2: the lifter that looks at a person and at the mirror image, with a calibrated sigma.

Left and right are alike to the mocap's people, but not to the network: the mean of both looks is 2 mm better, with
exact 2D and with a noisy one, for a batch twice as large, which costs a small network next to nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.networks.lifter import Lifter
from pose3d_ros.skeleton import MIRROR

_MIRROR = torch.from_numpy(MIRROR)
_FLIP = torch.tensor([-1.0, 1.0, 1.0])


def _mirrored(rays: Tensor, cov: Tensor, score: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The lifter's input [...,24,...] and up [...,3] as a mirror shows them."""
    flip = _FLIP[:2]
    return (
        rays[..., _MIRROR, :] * flip,
        cov[..., _MIRROR, :, :] * (flip[:, None] * flip),
        score[..., _MIRROR],
        up * _FLIP,
    )


def _both(given: tuple[Tensor, ...]) -> list[Tensor]:
    """Each input [N,...] followed by its mirror image: [2N,...]."""
    return [torch.cat([straight, mirrored]) for straight, mirrored in zip(given, _mirrored(*given), strict=True)]


def _mean(joints: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Joints [2N,...,24,3] and scales [2N,...,24] of both looks, turned back: their means over the looks."""
    straight, mirrored = joints.unflatten(0, (2, -1)).unbind()
    scale_straight, scale_mirrored = scale.unflatten(0, (2, -1)).unbind()
    return (straight + mirrored[..., _MIRROR, :] * _FLIP) / 2, (scale_straight + scale_mirrored[..., _MIRROR]) / 2


class LifterGraph(nn.Module):
    """A `Lifter` that looks both ways; the state holds both memories."""

    def __init__(self, lifter: Lifter) -> None:
        super().__init__()
        self.lifter = lifter

    @property
    def state_size(self) -> int:
        """H of the recurrent state [N,H]."""
        return 2 * self.lifter.config.state_size

    def forward(
        self, rays: Tensor, cov: Tensor, score: Tensor, up: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One frame of N people: as `Lifter.forward`, but the second output is sigma_m [N,24], calibrated."""
        states = torch.cat(state.split(self.lifter.config.state_size, dim=1))
        joints, scale, states = self.lifter(*_both((rays, cov, score, up)), states)
        joints, scale = _mean(joints, scale)
        new_state = torch.cat(states.unflatten(0, (2, -1)).unbind(), dim=1)
        return joints, self.lifter.sigma(joints, scale), new_state

    def forward_sequence(self, rays: Tensor, cov: Tensor, score: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        """Whole sequences from a zero state: [B,T,24,...], up [B,3] → joints_m [B,T,24,3], Laplace scale [B,T,24]."""
        joints, scale, _ = self.lifter.forward_sequence(*_both((rays, cov, score, up)))
        return _mean(joints, scale)
