"""A trained stage 1 with convolutions of lower rank, to go on training from: `pose3d factorise`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pose3d_ros.networks.calibrate_file import kept_crops
from pose3d_ros.networks.low_rank import factorise
from pose3d_ros.networks.pose2d import load_mean_net, normalise
from pose3d_ros.networks.resnet import check_side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--network", type=Path, nargs="+", required=True, help="checkpoint.pt or exported .onnx; of several the mean"
    )
    parser.add_argument("--share", type=float, default=0.96, help="of its outputs' variance that a convolution keeps")
    parser.add_argument("--input-share", type=float, default=0.985, help="of what inputs bring to them that it keeps")
    parser.add_argument("--size", type=int, help="side of the crops it will take, pixels (default: as before)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--coco", type=Path, help="people of your own that the training was given")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write, for `pose3d train --init`")


def run(args: argparse.Namespace) -> None:
    """Writes the checkpoint, and prints what became of each convolution."""
    net, size = load_mean_net(args.network)
    size = args.size or size
    check_side(size, "--size")
    crops = kept_crops(args.data, args.coco, size)
    images = normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    for name, channels in factorise(net, images, args.share, args.input_share).items():
        print(name, *channels)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": net.sizes | {"input_size": size}, "ema": net.state_dict()}, args.output)
