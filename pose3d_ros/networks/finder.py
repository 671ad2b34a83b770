"""The person finder: a picture -> where people's centres lie, and how far their boxes reach from there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.networks.resnet import FeaturePyramid, ResNet, conv_bn

FINDER_STRIDE = 8
_BOX_UNIT_PX = 32.0
_RARE = -4.0
"""Bias of the centre's logit at the start: few cells hold a person (Lin et al., RetinaNet, ICCV 2017)."""


class FinderNet(nn.Module):
    """ResNet -> feature pyramid at stride 8 -> centre and box (CenterNet, Zhou et al. 2019; FCOS's four distances).

    depth, width: of the ResNet. head_width: channels of the pyramid.
    """

    def __init__(self, depth: int, width: int, head_width: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth, width)
        self.pyramid = FeaturePyramid(self.backbone.channels[1:], head_width)
        self.head = nn.Sequential(conv_bn(head_width, head_width, 3), nn.ReLU(inplace=True))
        self.centre = nn.Conv2d(head_width, 1, 1)
        self.box = nn.Conv2d(head_width, 4, 1)
        nn.init.constant_(self.centre.bias, _RARE)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, 3, h, w], normalised -> centre logits [n, h/8, w/8] and boxes [n, 4, h/8, w/8]: x0, y0, x1, y1
        in pixels of the input."""
        features = self.head(self.pyramid(self.backbone(images)[1:]))
        reach = torch.exp(self.box(features).float().clamp(-6, 4)) * _BOX_UNIT_PX
        h, w = features.shape[-2:]
        x = self._centres(w, images.device)
        y = self._centres(h, images.device)[:, None]
        left, top, right, bottom = reach.unbind(1)
        return self.centre(features)[:, 0], torch.stack([x - left, y - top, x + right, y + bottom], 1)

    @staticmethod
    def _centres(cells: int, device: torch.device) -> Tensor:
        """Where the cells' centres lie, pixels of the input."""
        return torch.arange(cells, dtype=torch.float32, device=device) * FINDER_STRIDE + (FINDER_STRIDE - 1) / 2
