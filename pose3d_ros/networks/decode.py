"""Heatmaps -> where each joint may be, with covariances and how sure each place is; part of the exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.networks.pose2d import HEATMAP_STRIDE

CANDIDATES = 3
"""Places per joint. Where the best one is wrong, one of the next two is right in half of the cases."""
_REACH = 3
"""The window round a peak reaches so many cells to each side."""
_NOTHING = -1.0
_LEAST_VARIANCE = 0.05


class Decoder(nn.Module):
    """The highest peaks of the spatial softmax, each refined by the mean over the 7 x 7 window round it.

    The mean over the whole map (soft-argmax) would be drawn between two candidates; the plain peak is quantised.
    Few operators, and only those that look for peaks see whole maps: a CPU takes longer for each than for its numbers.
    """

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heatmap logits [n, j, h, w] -> candidates [n, j, CANDIDATES, 2], best first, and their covariance
        [n, j, CANDIDATES, 2, 2] in the crop's pixels, and the share [n, j, CANDIDATES] of the probability that lies
        in each peak's window."""
        h, w = int(logits.shape[2]), int(logits.shape[3])
        p = torch.softmax(logits.flatten(2), -1).unflatten(2, (h, w))
        # A margin for windows that reach over the edge; below zero, like what is taken out, so that no peak lies there.
        p = nn.functional.pad(p, [_REACH] * 4, value=_NOTHING)
        height, width = h + 2 * _REACH, w + 2 * _REACH
        around, moments = _window(width)
        peaks, windows = [], []
        for _ in range(CANDIDATES):
            row, column = _highest(p)
            flat, window = p.flatten(2), row * width + column + around.to(p.device)
            peaks.append(torch.stack([column, row], -1))
            windows.append(flat.gather(-1, window))
            p = flat.scatter(-1, window, _NOTHING).unflatten(2, (height, width))
        inside = torch.stack(windows, 2).clamp_min(0)
        sums = inside @ moments.to(p)
        mass = sums[..., 0]
        mean = sums[..., 1:] / mass.clamp_min(1e-12)[..., None]
        offset, squares = mean[..., :2], mean[..., 2:].unflatten(-1, (2, 2))
        covariance = squares - offset[..., :, None] * offset[..., None, :] + _LEAST_VARIANCE * torch.eye(2).to(p)
        cells = torch.cat(peaks, 2).to(p.dtype) - _REACH + offset
        return cells * HEATMAP_STRIDE + (HEATMAP_STRIDE - 1) / 2, covariance * HEATMAP_STRIDE**2, mass


def _highest(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column [n, j, 1] of the highest cell of maps [n, j, h, w].

    First the row, then the cell in it: ONNX Runtime finds values of maxima ten times as fast as their places.
    """
    row = maps.amax(-1).argmax(-1, keepdim=True)
    cells = maps.gather(2, row[..., None].expand(-1, -1, -1, int(maps.shape[-1])))[:, :, 0]
    return row, cells.argmax(-1, keepdim=True)


def _window(columns: int) -> tuple[Tensor, Tensor]:
    """Of a window's 49 cells: how far each lies from the middle one in a map of so many columns, whose cells are
    counted row by row, and 1, x, y, xx, xy, xy, yy of it, [49, 7]."""
    steps = torch.arange(-_REACH, _REACH + 1)
    y, x = (axis.flatten() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    return y * columns + x, torch.stack([torch.ones_like(x), x, y, x * x, x * y, x * y, y * y], -1)
