"""What the finder is trained towards."""

from __future__ import annotations

import torch
from torch import Tensor

_FOCUS = 2.0
_NEAR_EXPONENT = 4.0
_POSITIVE = 0.2
"""Cells whose target is above this learn the box: of small people the next ones too, where the peak may fall."""
_SMALL_PX = 40.0
"""People up to this size have a Gaussian of the same size."""


def centre_targets(boxes: Tensor, h: int, w: int, stride: int) -> tuple[Tensor, Tensor]:
    """Targets for boxes [n, m, 4] (x0, y0, x1, y1 pixels; a missing person's box is all zero).

    Returns a Gaussian of the box's size round each centre [n, h, w], highest person first, and for every cell the
    box [n, 4, h, w] of the person whose Gaussian is highest there.
    """
    size = (boxes[..., 2:] - boxes[..., :2]) / stride
    present = (size > 0).all(-1)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    cell = ((middle - (stride - 1) / 2) / stride).round()
    sigma = (0.12 * size).clamp(min=0.6)
    x = torch.arange(w, device=boxes.device).float()
    y = torch.arange(h, device=boxes.device).float()
    gx = torch.exp(-((x - cell[..., :1]) ** 2) / (2 * sigma[..., :1] ** 2))
    gy = torch.exp(-((y - cell[..., 1:]) ** 2) / (2 * sigma[..., 1:] ** 2))
    maps = gy[..., :, None] * gx[..., None, :] * present[..., None, None]
    heat, owner = maps.max(1)
    index = owner[:, None].expand(-1, 4, -1, -1).flatten(2)
    return heat, boxes.transpose(1, 2).gather(2, index).unflatten(2, (h, w))


def focal_loss(logits: Tensor, heat: Tensor, weight: Tensor) -> Tensor:
    """CornerNet's focal loss of centres (Law and Deng, ECCV 2018) over the number of people; logits, heat, weight
    [n, h, w]."""
    p = torch.sigmoid(logits)
    peak = (heat > 0.999).float()
    found = -torch.nn.functional.logsigmoid(logits) * (1 - p) ** _FOCUS * peak
    empty = -torch.nn.functional.logsigmoid(-logits) * p**_FOCUS * (1 - heat) ** _NEAR_EXPONENT * (1 - peak)
    return ((found + empty) * weight).sum() / peak.sum().clamp_min(1)


def box_loss(boxes: Tensor, goal: Tensor, heat: Tensor) -> Tensor:
    """Generalised IoU loss (Rezatofighi et al., CVPR 2019) near the centres; boxes, goal [n, 4, h, w].

    Everybody counts alike, however many cells lie near their centre.
    """
    chosen = heat > _POSITIVE
    a = boxes.permute(0, 2, 3, 1)[chosen]
    b = goal.permute(0, 2, 3, 1)[chosen]
    inner = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0).prod(1)
    outer = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1).clamp_min(1e-3)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inner
    giou = inner / union.clamp_min(1e-3) - (outer - union) / outer
    weight = heat[chosen] / (b[:, 2:] - b[:, :2]).clamp_min(_SMALL_PX).prod(1)
    return ((1 - giou) * weight).sum() / weight.sum().clamp_min(1e-9)
