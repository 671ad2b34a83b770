"""Heatmaps -> where each joint may be, with covariances and how sure each place is; part of the exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.networks.pose2d import HEATMAP_STRIDE

CANDIDATES = 3
"""Places per joint. Where the best one is wrong, one of the next two is right in half of the cases."""
_WINDOW = 3
_LEAST_VARIANCE = 0.05


class Decoder(nn.Module):
    """The highest peaks of the spatial softmax, each refined by the mean over the 7 x 7 window round it.

    The mean over the whole map (soft-argmax) would be drawn between two candidates; the plain peak is quantised.
    """

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heatmap logits [n, j, h, w] -> candidates [n, j, CANDIDATES, 2], best first, and their covariance
        [n, j, CANDIDATES, 2, 2] in the crop's pixels, and the share [n, j, CANDIDATES] of the probability that lies
        in each peak's window."""
        h, w = logits.shape[2:]
        p = torch.softmax(logits.flatten(2), -1).unflatten(2, (h, w))
        found = []
        for _ in range(CANDIDATES):
            near, *peak = _highest_peak(p)
            found.append(peak)
            p = p - near
        cells, covariance, mass = (torch.stack(parts, 2) for parts in zip(*found, strict=True))
        covariance = covariance.unflatten(3, (2, 2))
        return cells * HEATMAP_STRIDE + (HEATMAP_STRIDE - 1) / 2, covariance * HEATMAP_STRIDE**2, mass


def _highest_peak(p: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of probabilities [n, j, h, w]: those in the window round the highest cell (elsewhere 0), and their mean
    [n, j, 2], covariance [n, j, 4] and sum [n, j]."""
    h, w = p.shape[2:]
    peak = p.flatten(2).argmax(-1, keepdim=True)
    peak_y = torch.div(peak, w, rounding_mode="floor")
    x = (torch.arange(w, device=p.device) - (peak - peak_y * w)).to(p.dtype)
    y = (torch.arange(h, device=p.device) - peak_y).to(p.dtype)
    in_x, in_y = (x.abs() <= _WINDOW).to(p.dtype), (y.abs() <= _WINDOW).to(p.dtype)
    near = p * (in_y[..., :, None] * in_x[..., None, :])
    columns, rows = near.sum(2), near.sum(3)
    mass = columns.sum(-1)
    share = 1 / mass.clamp_min(1e-12)
    mean_x, mean_y = (columns * x).sum(-1) * share, (rows * y).sum(-1) * share
    xx = (columns * x * x).sum(-1) * share - mean_x * mean_x + _LEAST_VARIANCE
    yy = (rows * y * y).sum(-1) * share - mean_y * mean_y + _LEAST_VARIANCE
    xy = ((near @ x[..., None])[..., 0] * y).sum(-1) * share - mean_x * mean_y
    # Cell 0 lies x[0], y[0] from the peak.
    centre = torch.stack([mean_x - x[..., 0], mean_y - y[..., 0]], -1)
    return near, centre, torch.stack([xx, xy, xy, yy], -1), mass
