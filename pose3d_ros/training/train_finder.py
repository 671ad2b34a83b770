"""Trains the person finder, resumably: `pose3d train finder --config … --data … --output runs/…`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pose3d_ros.crop import box_of_joints, iou
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.data.nobody import pictures_without_people
from pose3d_ros.networks.export_finder import FinderGraph
from pose3d_ros.networks.finder import FINDER_STRIDE, FinderNet
from pose3d_ros.networks.finder_losses import box_loss, centre_targets, focal_loss
from pose3d_ros.networks.pose2d import network_input
from pose3d_ros.stages.find import letterbox
from pose3d_ros.training.bystanders import Bystanders
from pose3d_ros.training.config import read_config
from pose3d_ros.training.half import half_precision
from pose3d_ros.training.image_training import (
    RENDERED,
    add_training_arguments,
    mixture,
    required,
)
from pose3d_ros.training.scene_data import EmptySource, PhotoSceneSource, SceneSource, SceneStream
from pose3d_ros.training.synthetic_source import SyntheticSceneSource
from pose3d_ros.training.trainer import Schedule, Trainer

_FOUND_OVERLAP = 0.5
_FOUND_SCORE = 0.3


@dataclass(frozen=True)
class FinderConfig(Schedule):
    """One training of the finder."""

    depth: int = 18
    width: int = 32
    head_width: int = 64
    input_width: int = 320
    input_height: int = 256
    box_share: float = 1.0
    """Weight of the boxes' loss."""
    shares: dict[str, float] = field(default_factory=lambda: {"lspet": 0.4, "synthetic": 0.5, "empty": 0.1})
    """Proportions of the sources: lspet, synthetic, empty."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_training_arguments(parser)
    parser.add_argument("--bystanders", type=Path, help="what `pose3d bystanders` wrote: who else is in the photos")


def run(args: argparse.Namespace) -> None:
    """Trains until the configuration's number of samples is reached, from the last checkpoint on."""
    torch.set_num_threads(args.threads)
    config = read_config(FinderConfig, args.config)
    torch.manual_seed(config.seed)
    trainer = Trainer(FinderNet(config.depth, config.width, config.head_width), config, args.output, args.init)
    sources, shares = _sources(config, args)
    size = (config.input_width, config.input_height)
    stream = SceneStream(sources, shares, size, trainer.stream_seed)
    loader = DataLoader(stream, config.batch, num_workers=args.workers, pin_memory=torch.cuda.is_available())
    validation = read_lspet(args.data / "lspet", "val") if (args.data / "lspet").is_dir() else None

    def loss_of(net: nn.Module, batch: Any) -> Tensor:
        image, boxes, weight = batch
        with half_precision(image.device):
            logits, found = net(network_input(image))
        heat, goal = centre_targets(boxes, logits.shape[-2], logits.shape[-1], FINDER_STRIDE)
        # A person's own cells always count; only emptiness can be in doubt.
        weight = torch.maximum(weight, heat)
        return focal_loss(logits.float(), heat, weight) + config.box_share * box_loss(found, goal, heat)

    def evaluate(mean_net: nn.Module) -> dict[str, float]:
        return {} if validation is None else share_found(mean_net, size, validation)

    trainer.train(iter(loader), loss_of, evaluate)


def share_found(net: nn.Module, size: tuple[int, int], photos: Photos) -> dict[str, float]:
    """Percentage of the labelled people whose box of the joints (grown by 15 %) some found box overlaps by half."""
    graph = FinderGraph(net)  # type: ignore[arg-type]
    device = next(net.parameters()).device
    found = []
    for i in range(len(photos)):
        canvas, scale, offset = letterbox(photos.image(i), *size)
        with torch.inference_mode(), half_precision(device):
            boxes, scores = graph(torch.from_numpy(canvas)[None].to(device))
        own = boxes[0][scores[0] >= _FOUND_SCORE].float().cpu().numpy()
        truth = (box_of_joints(photos.joints_px[i][photos.labelled[i]]) + 0.5) * scale + np.tile(offset, 2) - 0.5
        found.append(bool(len(own)) and iou(truth[None], own).max() >= _FOUND_OVERLAP)
    return {"found": 100 * float(np.mean(found))}


def _sources(config: FinderConfig, args: argparse.Namespace) -> tuple[list[SceneSource], list[float]]:
    empty = EmptySource(pictures_without_people(args.data))
    makers: dict[str, Callable[[], SceneSource]] = {
        "lspet": lambda: _photos(read_lspet(args.data / "lspet", "train"), args.bystanders, empty),
        "synthetic": lambda: SyntheticSceneSource(required(args.synthetic, RENDERED)),
        "empty": lambda: empty,
    }
    return mixture(makers, config.shares)


def _photos(photos: Photos, bystanders: Path | None, empty: EmptySource) -> PhotoSceneSource:
    return PhotoSceneSource(photos, empty, None if bystanders is None else Bystanders.read(bystanders, photos))
