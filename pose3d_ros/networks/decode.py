"""Heatmaps -> where each joint may be, with covariances and how sure each place is; part of the exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.networks.pose2d import HEATMAP_STRIDE

CANDIDATES = 3
"""Places per joint. Where the best one is wrong, one of the next two is right more often than not."""
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
        n, j, h, w = logits.shape
        p = torch.softmax(logits.flatten(2), -1)
        cell = torch.arange(h * w, device=p.device)
        column, row = (cell % w).to(p.dtype), torch.div(cell, w, rounding_mode="floor").to(p.dtype)
        found = []
        for _ in range(CANDIDATES):
            near, *peak = _highest_peak(p, column, row)
            found.append(peak)
            p = p * (1 - near)
        cells, covariance, mass = (torch.stack(parts, 2) for parts in zip(*found, strict=True))
        covariance = covariance.reshape(n, j, CANDIDATES, 2, 2)
        return cells * HEATMAP_STRIDE + (HEATMAP_STRIDE - 1) / 2, covariance * HEATMAP_STRIDE**2, mass


def _highest_peak(p: Tensor, column: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of probabilities [n, j, h w] over cells at column, row [h w]: the window [n, j, h w] (0 or 1) round the highest
    cell, and the mean [n, j, 2], covariance [n, j, 4] and sum [n, j] of what lies in it."""
    peak = p.argmax(-1)
    peak_x, peak_y = column[peak], row[peak]
    x, y = column - peak_x[..., None], row - peak_y[..., None]
    near = ((x.abs() <= _WINDOW) & (y.abs() <= _WINDOW)).to(p.dtype)
    q = p * near
    mass = q.sum(-1)
    q = q / mass.clamp_min(1e-12)[..., None]
    dx, dy = (q * x).sum(-1), (q * y).sum(-1)
    xx = (q * x * x).sum(-1) - dx * dx + _LEAST_VARIANCE
    yy = (q * y * y).sum(-1) - dy * dy + _LEAST_VARIANCE
    xy = (q * x * y).sum(-1) - dx * dy
    return near, torch.stack([peak_x + dx, peak_y + dy], -1), torch.stack([xx, xy, xy, yy], -1), mass
