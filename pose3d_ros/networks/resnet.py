"""ResNet feature extractors (He et al., CVPR 2016) of any width, without the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STAGE_STRIDES = (1, 2, 2, 2)
COARSEST_STRIDE = 32
"""Of the last stage's maps: the sides of pictures must be multiples of it."""


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation, 'same' padding."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def check_side(side: int, name: str) -> None:
    """Raises ValueError when pictures of such a side, which is called by its name, have no maps of each stride."""
    if side % COARSEST_STRIDE:
        raise ValueError(f"{name} {side} must be a multiple of {COARSEST_STRIDE}")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut (ResNet-18, 34)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, width, 3, stride), nn.ReLU(inplace=True), conv_bn(width, width, 3))
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, width, h / stride, w / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and the shortcut (ResNet-50), stride in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs, width, 1),
            nn.ReLU(inplace=True),
            conv_bn(width, width, 3, stride),
            nn.ReLU(inplace=True),
            conv_bn(width, 4 * width, 1),
        )
        self.shortcut = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, 4 width, h / stride, w / stride]."""
        return torch.relu(self.body(x) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return conv_bn(inputs, outputs, 1, stride)


_VARIANTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}
DEPTHS = tuple(_VARIANTS)


class ResNet(nn.Module):
    """Images [n, 3, h, w] -> feature maps at strides 4, 8, 16, 32.

    depth: 18, 34 or 50. width: channels of the first stage (64 in the paper); each further stage doubles them.
    Raises ValueError on another depth.
    """

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        if depth not in _VARIANTS:
            raise ValueError(f"ResNet depth is {depth}: choose one of {sorted(_VARIANTS)}")
        block, counts = _VARIANTS[depth]
        self.stem = nn.Sequential(conv_bn(3, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList()
        self.channels: list[int] = []
        inputs = width
        for i, (count, stride) in enumerate(zip(counts, _STAGE_STRIDES, strict=True)):
            blocks: list[nn.Module] = []
            for j in range(count):
                blocks.append(block(inputs, width << i, stride if j == 0 else 1))
                inputs = (width << i) * block.expansion
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(inputs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[n, 3, h, w] -> four maps [n, channels[i], h / 4·2^i, w / 4·2^i]."""
        features = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class FeaturePyramid(nn.Module):
    """Brings all the strides' features together at the finest one used (Lin et al., CVPR 2017)."""

    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(conv_bn(width, width, 3), nn.ReLU(inplace=True)) for _ in channels[:-1]
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Maps from fine to coarse -> one map [n, width, h, w] of the finest one's size."""
        x = self.lateral[-1](features[-1])
        for lateral, smooth, feature in zip(
            reversed(self.lateral[:-1]), reversed(self.smooth), reversed(features[:-1]), strict=True
        ):
            x = smooth(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest") + lateral(feature))
        return x
