"""Joints by direct regression (DeepPose, Toshev and Szegedy, CVPR 2014): what heatmaps are measured against."""

from __future__ import annotations

from torch import Tensor, nn

from pose3d_ros.networks.resnet import ResNet
from pose3d_ros.skeleton import NUM_JOINTS


class DeepPoseNet(nn.Module):
    """ResNet -> mean over the picture -> one place per joint. depth, width: of the ResNet."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth, width)
        self.head = nn.Linear(self.backbone.channels[-1], 2 * NUM_JOINTS)

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, 3, s, s], normalised -> joints [n, 24, 2] over the side of the crop, from its middle."""
        return self.head(self.backbone(images)[-1].mean((2, 3))).unflatten(1, (NUM_JOINTS, 2))
