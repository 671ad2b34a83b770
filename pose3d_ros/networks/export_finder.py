"""The finder from a training's checkpoint to an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from pose3d_ros.engines.half_weights import halve_weights
from pose3d_ros.models import Model, record_model
from pose3d_ros.networks.finder import FinderNet
from pose3d_ros.networks.onnx_file import write_onnx_file
from pose3d_ros.networks.pose2d import normalise
from pose3d_ros.networks.resnet import COARSEST_STRIDE

_MOST_PEOPLE = 32
_ABOUT = "a letterboxed picture -> people's boxes and scores, best first"


class FinderGraph(nn.Module):
    """What is exported: a letterboxed picture in, the strongest local maxima out."""

    def __init__(self, net: FinderNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image [1, h, w, 3] uint8 BGR -> boxes [1, 32, 4] in its pixels, scores [1, 32], best first."""
        logits, boxes = self.net(normalise(image.float().permute(0, 3, 1, 2)))
        score = torch.sigmoid(logits)
        highest = nn.functional.max_pool2d(score[:, None], 3, 1, 1)[:, 0]
        score = (score * (score >= highest)).flatten(1)
        best, where = score.topk(_MOST_PEOPLE, 1)
        return boxes.flatten(2).transpose(1, 2).gather(1, where[..., None].expand(-1, -1, 4)), best


def load_finder(checkpoint: Path) -> tuple[FinderNet, tuple[int, int]]:
    """The network with its averaged weights, and height and width of its input."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = state["config"]
    net = FinderNet(config["depth"], config["width"], config["head_width"])
    net.load_state_dict(state["ema"])
    return net.eval(), (config["input_height"], config["input_width"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of a training")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="of the pictures it takes, multiples of 32 (default: as in the training)",
    )
    parser.add_argument("--output", type=Path, default=Path("models/finder.onnx"), help="file to write")


def run(args: argparse.Namespace) -> None:
    """Writes the ONNX file."""
    net, (height, width) = load_finder(args.checkpoint)
    if args.size:
        width, height = args.size
    if width % COARSEST_STRIDE or height % COARSEST_STRIDE:
        raise ValueError(
            f"the finder's pictures cannot be {width} x {height}: both must be multiples of {COARSEST_STRIDE}"
        )
    write_onnx(FinderGraph(net), (height, width), args.output)
    halve_weights(args.output)
    record_model(Model("find", args.output, "", input_size=(width, height), about=_ABOUT))


def write_onnx(graph: FinderGraph, size: tuple[int, int], path: Path) -> None:
    """Writes the graph for one picture of the given height and width."""
    example = torch.zeros(1, *size, 3, dtype=torch.uint8)
    write_onnx_file(graph, example, path, ("image", ("boxes", "scores")), free_batch=False)
