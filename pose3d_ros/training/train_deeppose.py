"""Trains direct regression on what stage 1 learns from, to be measured beside it: `pose3d train deeppose --config …`.

The configurations are stage 1's: same pictures, same feature extractor, same schedule, other head and loss.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pose3d_ros.networks.deeppose import DeepPoseNet
from pose3d_ros.networks.pose2d import network_input
from pose3d_ros.training.crop_data import joint_weights
from pose3d_ros.training.half import half_precision
from pose3d_ros.training.train_pose2d import Kind, Pose2DConfig, train, weighted_mean
from pose3d_ros.training.train_pose2d import add_crop_arguments as add_arguments

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> None:
    """Trains the network; the log has its PCK."""
    train(args, Kind(lambda config: DeepPoseNet(config.depth, config.width), DirectLoss, locate_directly))


class DirectLoss:
    """Distance of the joints over the side of the crop: smooth near zero, linear beyond, for labels that are wrong."""

    _smooth = 0.02
    """Over the side; about a tenth of a torso."""

    def __init__(self, config: Pose2DConfig) -> None:
        self._size = config.input_size
        self._joint_weights = torch.from_numpy(joint_weights())

    def __call__(self, net: nn.Module, batch: Any) -> Tensor:
        """The scalar loss."""
        crop, joints, located, *_ = batch
        with half_precision(crop.device):
            found = net(network_input(crop))
        goal = (joints + 0.5) / self._size - 0.5
        errors = nn.functional.smooth_l1_loss(found.float(), goal, reduction="none", beta=self._smooth).sum(-1)
        return weighted_mean(errors, located * self._joint_weights.to(located.device))


def locate_directly(net: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Joints [n, 24, 2] in the pixels of crops [n, s, s, 3]."""
    device = next(net.parameters()).device
    with torch.inference_mode(), half_precision(device):
        found = net(network_input(torch.from_numpy(crops).to(device)))
    return ((found.float() + 0.5) * crops.shape[1] - 0.5).cpu().numpy()
