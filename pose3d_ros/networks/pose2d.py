"""Stage 1: a crop -> one heatmap per joint, and whether the joint is to be seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.networks.resnet import FeaturePyramid, ResNet
from pose3d_ros.skeleton import NUM_JOINTS

HEATMAP_STRIDE = 4


class Pose2DNet(nn.Module):
    """ResNet -> feature pyramid at stride 4 -> heatmaps.

    depth, width: of the ResNet. head_width: channels of the pyramid.
    """

    def __init__(self, depth: int, width: int, head_width: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth, width)
        self.pyramid = FeaturePyramid(self.backbone.channels, head_width)
        self.heads = nn.Conv2d(head_width, 2 * NUM_JOINTS, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, 3, s, s], normalised -> heatmap logits [n, 24, s/4, s/4], visibility logits [n, 24].

        A joint's visibility is read where its heatmap lies.
        """
        logits, visibility = self.heads(self.pyramid(self.backbone(images))).split(NUM_JOINTS, 1)
        attention = torch.softmax(logits.detach().float().flatten(2), -1)
        return logits, (attention * visibility.float().flatten(2)).sum(-1)


def normalise(images: Tensor) -> Tensor:
    """[n, 3, h, w] of 0...255 -> about -2...2."""
    return (images - 118.0) * (1 / 58.0)
