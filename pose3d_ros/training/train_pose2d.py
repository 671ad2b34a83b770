"""Trains stage 1, resumably: `pose3d train pose2d --config … --data … --output runs/…`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pose3d_ros.data.coco import CocoPerson, as_photos, held_out, read_coco
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.data.nobody import pictures_without_people
from pose3d_ros.evaluation.pose2d import pck_of_photos
from pose3d_ros.networks.decode import Decoder
from pose3d_ros.networks.heatmap_losses import HEATMAP_LOSSES, cross_entropy, gaussian_targets
from pose3d_ros.networks.pose2d import HEATMAP_STRIDE, Pose2DNet, load_net, network_input
from pose3d_ros.networks.resnet import check_side
from pose3d_ros.training.coco_source import CocoSource
from pose3d_ros.training.config import read_config, section
from pose3d_ros.training.crop_data import (
    Augmentation,
    BystanderSource,
    CropStream,
    NobodySource,
    PhotoSource,
    Source,
    joint_weights,
)
from pose3d_ros.training.findings import Findings, FoundBystanders
from pose3d_ros.training.half import half_precision
from pose3d_ros.training.image_training import (
    RENDERED,
    add_training_arguments,
    mixture,
    required,
)
from pose3d_ros.training.synthetic_source import SyntheticSource
from pose3d_ros.training.trainer import Schedule, Trainer

BYSTANDERS = "those who stand by in the photos: give what was found in them with --bystanders"


@dataclass(frozen=True)
class Pose2DConfig(Schedule):
    """One training of stage 1; one YAML file per published row."""

    depth: int = 18
    width: int = 32
    head_width: int = 64
    input_size: int = 192
    loss: str = "cross_entropy"
    sigma: float = 1.5
    """Standard deviation of the target, heatmap pixels."""
    visibility_share: float = 0.5
    """Weight of the visibility's loss."""
    teacher_share: float = 0.5
    """Weight of what a teacher finds, or found in photos, where it is given; labels have the rest."""
    shares: dict[str, float] = field(default_factory=lambda: {"lspet": 0.97, "nobody": 0.03})
    """Proportions of the sources: lspet, bystanders, synthetic, coco, nobody."""
    augmentation: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_side(self.input_size, "input_size")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_crop_arguments(parser)
    parser.add_argument(
        "--teacher", type=Path, help="checkpoint.pt or exported .onnx of a better network, to learn from what it finds"
    )


def add_crop_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every training on crops."""
    add_training_arguments(parser)
    parser.add_argument("--findings", type=Path, help="what `pose3d findings` wrote, to learn from besides the labels")
    parser.add_argument(
        "--bystanders",
        type=Path,
        help="what `pose3d findings --bystanders` wrote, to learn from unlabelled people, too",
    )
    parser.add_argument("--photos", type=int, help="learn from so many of LSPET's photos only, to see what more bring")
    parser.add_argument(
        "--coco",
        type=Path,
        help="COCO keypoints of your own people, photos in the folder images beside it, or a folder of such files, as "
        "the node's hard frames; every tenth photo is for measuring only",
    )


class Kind(NamedTuple):
    """A kind of network that places joints in crops, and how it learns.

    network: of a configuration. loss: of a configuration -> the scalar loss of a network on a batch of Sample tensors.
    locate: a network, crops [n, s, s, 3] -> joints [n, 24, 2] in the crops' pixels.
    """

    network: Callable[[Pose2DConfig], nn.Module]
    loss: Callable[[Pose2DConfig], Callable[[nn.Module, Any], Tensor]]
    locate: Callable[[nn.Module, NDArray[np.uint8]], NDArray[np.floating]]


def run(args: argparse.Namespace) -> None:
    """Trains stage 1."""
    loss = Pose2DLoss if args.teacher is None else partial(TaughtLoss, teacher=load_net(args.teacher)[0])
    train(args, Kind(lambda config: Pose2DNet(config.depth, config.width, config.head_width), loss, locate))


def train(args: argparse.Namespace, kind: Kind) -> None:
    """Trains until the configuration's number of samples is reached, from the last checkpoint on."""
    torch.set_num_threads(args.threads)
    config = read_config(Pose2DConfig, args.config)
    torch.manual_seed(config.seed)
    trainer = Trainer(kind.network(config), config, args.output, args.init)
    own, own_measured = held_out(read_coco(args.coco)) if args.coco else ([], [])
    nobody = NobodySource(pictures_without_people(args.data))
    stream = CropStream(
        *_sources(config, args, own, nobody),
        nobody,
        config.input_size,
        section(Augmentation, config.augmentation, "augmentation"),
        trainer.stream_seed,
    )
    loader = DataLoader(stream, config.batch, num_workers=args.workers, pin_memory=torch.cuda.is_available())
    validation = {"": read_lspet(args.data / "lspet", "val")} if (args.data / "lspet").is_dir() else {}
    if own_measured:
        validation["own_"] = as_photos(own_measured)

    def evaluate(mean_net: nn.Module) -> dict[str, float]:
        return {
            f"{name}pck_{threshold}": 100 * share
            for name, photos in validation.items()
            for threshold, share in pck_of_photos(lambda c: kind.locate(mean_net, c), config.input_size, photos).items()
        }

    trainer.train(iter(loader), kind.loss(config), evaluate)


class Pose2DLoss:
    """The heatmaps' loss and the visibility's, of a network on a batch of Sample tensors."""

    def __init__(self, config: Pose2DConfig) -> None:
        if config.loss not in HEATMAP_LOSSES:
            raise ValueError(f"unknown loss '{config.loss}': choose one of {sorted(HEATMAP_LOSSES)}")
        self._config, self._maps_loss = config, HEATMAP_LOSSES[config.loss]
        self._joint_weights = torch.from_numpy(joint_weights())

    def __call__(self, net: nn.Module, batch: Any) -> Tensor:
        """The scalar loss."""
        return self.of_found(*found_by(net, batch[0]), batch)

    def of_found(self, logits: Tensor, visibility: Tensor, batch: Any) -> Tensor:
        """The scalar loss of heatmap logits [n, 24, h, h] and visibility logits [n, 24]."""
        _, joints, located, visible, visible_weight, places, found = batch
        places, weights = torch.cat([joints[:, :, None], places], 2), torch.cat([located[..., None], found], 2)
        # The centre of heatmap pixel u lies at pixel 4 u + 1.5 of the crop.
        goal = (places - (HEATMAP_STRIDE - 1) / 2) / HEATMAP_STRIDE
        maps = self._maps_loss(logits, gaussian_targets(goal, weights, logits.shape[-1], self._config.sigma))
        weight = weights.sum(-1) * self._joint_weights.to(located.device)
        errors = nn.functional.binary_cross_entropy_with_logits(visibility, visible, reduction="none")
        return weighted_mean(maps, weight) + self._config.visibility_share * weighted_mean(errors, visible_weight)


class TaughtLoss(Pose2DLoss):
    """Labels, and what a better network finds in the same crops (Hinton et al. 2015, "Distilling the knowledge in a
    neural network"): (1 − share) · loss of labels + share · loss of findings.

    The teacher also knows the joints that the photos do not label, and how sure one can be; each counts as far as it
    sees it. It is asked about crops whose labels leave something open only: of rendered people and of nobody the labels
    know everything. Whether a joint that photos do not label is to be seen is learned from rendered people.
    """

    def __init__(self, config: Pose2DConfig, teacher: Pose2DNet) -> None:
        super().__init__(config)
        self._teacher = teacher

    def __call__(self, net: nn.Module, batch: Any) -> Tensor:
        """The scalar loss."""
        crop, joints, located, visible, visible_weight, places, found = batch
        logits, visibility = found_by(net, crop)
        taught = (visible_weight < 1).any(1)
        labels = (1 - self._config.teacher_share * taught.float())[:, None]
        told = [crop, joints, labels * located, visible, labels * visible_weight, places, labels[..., None] * found]
        share = self._config.teacher_share * float(taught.float().mean())
        loss = (1 - share) * self.of_found(logits, visibility, told)
        if not share:
            return loss
        asked = (visible_weight[taught] > 0).float()
        return loss + share * self._of_findings(logits[taught], visibility[taught], crop[taught], asked)

    def _of_findings(self, logits: Tensor, visibility: Tensor, crop: Tensor, asked: Tensor) -> Tensor:
        """The scalar loss against what the teacher finds in the crops; asked [n, 24]: joints that labels tell of."""
        with torch.no_grad():
            taught_logits, taught_visibility = found_by(self._teacher.to(crop.device), crop)
            seen = torch.sigmoid(taught_visibility)
            goal = torch.softmax(taught_logits.flatten(2), -1).view_as(taught_logits)
        maps = weighted_mean(cross_entropy(logits, goal), seen * self._joint_weights.to(seen.device))
        visible = nn.functional.binary_cross_entropy_with_logits(visibility, seen, reduction="none")
        return maps + self._config.visibility_share * weighted_mean(visible, asked)


def found_by(net: nn.Module, crops: Tensor) -> tuple[Tensor, Tensor]:
    """Heatmap logits and visibility logits of a network in crops [n, s, s, 3] uint8, in single precision."""
    with half_precision(crops.device):
        logits, visibility = net(network_input(crops))
    return logits.float(), visibility.float()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of values [n, 24] by their weights; zero where nothing has one."""
    return (values * weights).sum() / weights.sum().clamp_min(1)


def locate(net: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Joints [n, 24, 2] in the pixels of crops [n, s, s, 3]."""
    device = next(net.parameters()).device
    with torch.inference_mode():
        logits, _ = found_by(net, torch.from_numpy(crops).to(device))
    return Decoder()(logits)[0][:, :, 0].cpu().numpy()


def _sources(
    config: Pose2DConfig, args: argparse.Namespace, own: Sequence[CocoPerson], nobody: NobodySource
) -> tuple[list[Source], list[float]]:
    photos = cache(lambda: _read_photos(args.data, args.photos))  # once for both sources
    makers: dict[str, Callable[[], Source]] = {
        "lspet": lambda: _photos(photos(), args.findings, config.teacher_share),
        "bystanders": lambda: _bystanders(required(args.bystanders, BYSTANDERS), photos()),
        "synthetic": lambda: SyntheticSource(required(args.synthetic, RENDERED)),
        "coco": lambda: CocoSource(required(own, "people of your own: give their annotations with --coco")),
        "nobody": lambda: nobody,
    }
    return mixture(makers, config.shares)


def _read_photos(data: Path, count: int | None) -> Photos:
    photos = read_lspet(data / "lspet", "train")
    return photos if count is None else photos.thinned(count)


def _photos(photos: Photos, findings: Path | None, share: float) -> PhotoSource:
    return PhotoSource(photos) if findings is None else PhotoSource(photos, Findings.read(findings, photos), share)


def _bystanders(found: Path, photos: Photos) -> BystanderSource:
    return BystanderSource(photos, FoundBystanders.read(found, photos))
