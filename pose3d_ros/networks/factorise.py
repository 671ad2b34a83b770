"""A trained stage 1 with convolutions of lower rank, to go on training from: `pose3d factorise`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pose3d_ros.networks.calibrate_file import add_photos_arguments, kept_crops
from pose3d_ros.networks.low_rank import factorise
from pose3d_ros.networks.pose2d import load_mean_net, network_input, save_net
from pose3d_ros.networks.resnet import check_side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--network", type=Path, nargs="+", required=True, help="checkpoint.pt or exported .onnx; of several the mean"
    )
    parser.add_argument("--share", type=float, default=0.96, help="of its outputs' variance that a convolution keeps")
    parser.add_argument("--input-share", type=float, default=0.985, help="of what inputs bring to them that it keeps")
    parser.add_argument("--size", type=int, help="side of the crops it will take, pixels (default: as before)")
    add_photos_arguments(parser)
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write, for `pose3d train --init`")


def run(args: argparse.Namespace) -> None:
    """Writes the checkpoint, and prints what became of each convolution."""
    net, size = load_mean_net(args.network)
    size = args.size or size
    check_side(size, "--size")
    crops = kept_crops(args.data, args.coco, size)
    images = network_input(torch.from_numpy(crops))
    for name, channels in factorise(net, images, args.share, args.input_share).items():
        print(name, *channels)
    save_net(net, size, args.output)
