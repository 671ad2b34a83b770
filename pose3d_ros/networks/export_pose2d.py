"""Stage 1 from a training's checkpoint to a calibrated ONNX file."""

from __future__ import annotations

import argparse
from dataclasses import astuple
from pathlib import Path

import torch
from torch import Tensor, nn

from pose3d_ros.engines.half_weights import halve_weights
from pose3d_ros.models import Model, record_model
from pose3d_ros.networks.calibrate_file import add_calibration_argument, calibrate_file, calibration_sets, kept_photos
from pose3d_ros.networks.calibration import UNCALIBRATED, Calibration
from pose3d_ros.networks.decode import Decoder
from pose3d_ros.networks.onnx_file import write_onnx_file
from pose3d_ros.networks.pose2d import Look, Pose2DNet, load_mean_net, look_both_ways, look_once, normalise
from pose3d_ros.networks.resnet import check_side
from pose3d_ros.skeleton import JOINTS

_ABOUT = "a person's crop -> heatmaps -> joints in its pixels, covariance, score, visibility"
_LOOKS = {"once": look_once, "both-ways": look_both_ways}


class Pose2DGraph(nn.Module):
    """What is exported: crops as they come from the camera in, joints, covariance and probabilities out.

    calibration: lies in the exported file, where `networks.calibrate_file` changes it.
    look: `look_once`, or `look_both_ways`, which is better and takes twice the time.
    """

    def __init__(self, net: Pose2DNet, calibration: Calibration, look: Look = look_once) -> None:
        super().__init__()
        self.net, self.decoder, self._look = net, Decoder(), look
        self.calibration: Tensor
        self.register_buffer("calibration", torch.tensor(astuple(calibration)))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Crops [n, s, s, 3] uint8 BGR -> the k places where each joint may be, best first: joints [n, 24, k, 2] and
        covariance [n, 24, k, 2, 2] in the crop's pixels, score [n, 24, k]; and visible [n, 24].

        What the best place leaves of one is shared among the others by the mass of their peaks.
        """
        mass_weight, unseen_weight, unseen_below, bias, peak_scale, miss_variance = self.calibration
        logits, visibility = self._look(self.net, normalise(crops.float().permute(0, 3, 1, 2)))
        joints, covariance, mass = self.decoder(logits)
        best, others = mass[..., :1], mass[..., 1:]
        best = best.clamp(1e-4, 1 - 1e-4)
        unseen = (visibility[..., None] - unseen_below).clamp(max=0)
        right = torch.sigmoid(mass_weight * torch.log(best / (1 - best)) + unseen_weight * unseen + bias)
        score = torch.cat([right, (1 - right) * others / (1 - best)], -1)
        missed = (miss_variance * int(crops.shape[1]) ** 2) * (1 - score)
        covariance = peak_scale * covariance + missed[..., None, None] * torch.eye(2)
        return joints, covariance, score, torch.sigmoid(visibility)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", required=True, help="checkpoint.pt of a training; of several the mean"
    )
    add_calibration_argument(parser)
    parser.add_argument("--size", type=int, help="side of the crops it takes, pixels (default: as in the training)")
    parser.add_argument(
        "--look",
        choices=sorted(_LOOKS),
        default="once",
        help="both-ways: at the mirror image too, for graphics processors: better, in twice the time",
    )
    parser.add_argument("--output", type=Path, default=Path("models/pose2d.onnx"), help="file to write")


def run(args: argparse.Namespace) -> None:
    """Writes the ONNX file and calibrates it."""
    net, trained_size = load_mean_net(args.checkpoint)
    size = args.size or trained_size
    check_side(size, "--size")
    sets = calibration_sets(kept_photos(args.data, args.coco), args.synthetic, size)
    partial = args.output.with_name(f"{args.output.stem}.partial.onnx")
    try:
        write_onnx(Pose2DGraph(net, UNCALIBRATED, _LOOKS[args.look]), size, partial)
        halve_weights(partial)
        calibrate_file(partial, sets)
        partial.replace(args.output)
    finally:
        partial.unlink(missing_ok=True)
    record_model(Model("pose2d", args.output, "", input_size=(size, size), joints=JOINTS, about=_ABOUT))


def write_onnx(graph: Pose2DGraph, size: int, path: Path) -> None:
    """Writes the graph for crops of the given side, with a free number of people."""
    example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    names = ("crops", ("joints", "covariance", "score", "visible"))
    write_onnx_file(graph, example, path, names, free_batch=True)
