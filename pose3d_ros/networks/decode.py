"""Heatmaps -> positions, covariances and how sure the peak is; part of the exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.networks.pose2d import HEATMAP_STRIDE

_WINDOW = 3
_LEAST_VARIANCE = 0.05


class Decoder(nn.Module):
    """Peak of the spatial softmax, refined by the mean over the 7 x 7 window round it.

    The mean over the whole map (soft-argmax) would be drawn between two candidates; the plain peak is quantised.
    """

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heatmap logits [n, j, h, w] -> joints [n, j, 2] and covariance [n, j, 2, 2] in the crop's pixels, and
        the share [n, j] of the probability that lies in the peak's window."""
        n, j, h, w = logits.shape
        p = torch.softmax(logits.flatten(2), -1)
        peak = p.argmax(-1, keepdim=True)
        peak_y = torch.div(peak, w, rounding_mode="floor").to(p.dtype)
        peak_x = peak.to(p.dtype) - peak_y * w
        cell = torch.arange(h * w, device=p.device)
        y = torch.div(cell, w, rounding_mode="floor").to(p.dtype) - peak_y
        x = (cell % w).to(p.dtype) - peak_x
        near = ((x.abs() <= _WINDOW) & (y.abs() <= _WINDOW)).to(p.dtype)
        q = p * near
        mass = q.sum(-1)
        q = q / mass[..., None]
        dx, dy = (q * x).sum(-1), (q * y).sum(-1)
        xx = (q * x * x).sum(-1) - dx * dx + _LEAST_VARIANCE
        yy = (q * y * y).sum(-1) - dy * dy + _LEAST_VARIANCE
        xy = (q * x * y).sum(-1) - dx * dy
        cells = torch.stack([peak_x[..., 0] + dx, peak_y[..., 0] + dy], -1)
        covariance = torch.stack([xx, xy, xy, yy], -1).reshape(n, j, 2, 2)
        return cells * HEATMAP_STRIDE + (HEATMAP_STRIDE - 1) / 2, covariance * HEATMAP_STRIDE**2, mass
