"""Stage 1 from a training's checkpoint to a calibrated ONNX file."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pose3d_ros.crop import apply, box_of_joints, crop_transform, square_of_box, warp
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.evaluation.pose2d import RIGHT, TORSO, torso_length
from pose3d_ros.models import Model, record_model
from pose3d_ros.networks.calibration import Calibration, fit_calibration
from pose3d_ros.networks.decode import Decoder
from pose3d_ros.networks.onnx_file import write_onnx_file
from pose3d_ros.networks.pose2d import Pose2DNet, normalise
from pose3d_ros.skeleton import JOINTS

_ABOUT = "a person's crop -> heatmaps -> joints in its pixels, covariance, score, visibility"


class Pose2DGraph(nn.Module):
    """What is exported: crops as they come from the camera in, joints, covariance and probabilities out."""

    def __init__(self, net: Pose2DNet, calibration: Calibration) -> None:
        super().__init__()
        self.net, self.decoder, self.calibration = net, Decoder(), calibration

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Crops [n, s, s, 3] uint8 BGR -> the k places where each joint may be, best first: joints [n, 24, k, 2] and
        covariance [n, 24, k, 2, 2] in the crop's pixels, score [n, 24, k]; and visible [n, 24].

        What the best place leaves of one is shared among the others by the mass of their peaks.
        """
        joints, covariance, mass, visibility = self.raw(crops)
        c = self.calibration
        best, others = mass[..., :1], mass[..., 1:]
        certainty = c.mass_weight * torch.logit(best, 1e-4) + c.visibility_weight * visibility[..., None] + c.bias
        right = torch.sigmoid(certainty)
        score = torch.cat([right, (1 - right) * others / (1 - best).clamp_min(1e-4)], -1)
        missed = (c.miss_variance * crops.shape[1] ** 2) * (1 - score)
        covariance = c.peak_scale * covariance + missed[..., None, None] * torch.eye(2)
        return joints, covariance, score, torch.sigmoid(visibility)

    def raw(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Candidates, covariance, mass and visibility's logit before calibration."""
        logits, visibility = self.net(normalise(crops.float().permute(0, 3, 1, 2)))
        return (*self.decoder(logits), visibility)


def load_net(checkpoint: Path) -> tuple[Pose2DNet, int]:
    """The network with its averaged weights, and the side of its input."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = state["config"]
    net = Pose2DNet(config["depth"], config["width"], config["head_width"])
    net.load_state_dict(state["ema"])
    return net.eval(), config["input_size"]


def calibrate(net: Pose2DNet, size: int, photos: Photos) -> Calibration:
    """The calibration of the network on photos kept from training."""
    graph = Pose2DGraph(net, Calibration())
    scored = photos.labelled[:, TORSO].all(1)
    parts: list[tuple[np.ndarray, ...]] = []
    for i in np.flatnonzero(scored).tolist():
        known = photos.labelled[i]
        transform = crop_transform(*square_of_box(box_of_joints(photos.joints_px[i][known])), size)
        crop = torch.from_numpy(warp(photos.image(i), transform, size))[None]
        with torch.inference_mode():
            *candidates, visibility = (t[0].numpy()[known] for t in graph.raw(crop))
        joints, covariance, mass = (values[:, 0] for values in candidates)
        truth = apply(transform, photos.joints_px[i])
        error = joints - truth[known]
        right = np.linalg.norm(error, axis=-1) <= RIGHT * torso_length(truth[None])[0]
        parts.append((mass, visibility, right, error, covariance))
    mass, visibility, right, error, covariance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return fit_calibration(mass, visibility, right, error, covariance, size)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.pt of a training")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--output", type=Path, default=Path("models/pose2d.onnx"), help="file to write")


def run(args: argparse.Namespace) -> None:
    """Calibrates and writes the ONNX file."""
    net, size = load_net(args.checkpoint)
    calibration = calibrate(net, size, read_lspet(args.data / "lspet", "calibration"))
    print(json.dumps(asdict(calibration)))
    write_onnx(Pose2DGraph(net, calibration), size, args.output)
    record_model(Model("pose2d", args.output, "", input_size=(size, size), joints=JOINTS, about=_ABOUT))


def write_onnx(graph: Pose2DGraph, size: int, path: Path) -> None:
    """Writes the graph for crops of the given side, with a free number of people."""
    example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    names = ("crops", ("joints", "covariance", "score", "visible"))
    write_onnx_file(graph, example, path, names, free_batch=True)
