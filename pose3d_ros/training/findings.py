"""What a trained stage 1 finds in the photos that are learned from, to learn from besides their labels:
`pose3d findings --checkpoint … --output findings.npz`, then `pose3d train pose2d --findings findings.npz`. With
`--bystanders` it looks at those who stand by instead, whom no label names, for `pose3d train pose2d --bystanders`.

After Hinton et al. 2015 ("Distilling the knowledge in a neural network") and Radosavovic et al. 2018 ("Data
distillation"): the network looks at each person several times, larger and smaller and in the mirror, which finds more
than it finds at one glance; whoever learns from that learns it for one glance. It also knows the joints that photos do
not label, and doubts labels that are wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pose3d_ros.crop import apply, box_of_joints, crop_transform, inverse, square_of_box, warp
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.networks.decode import CANDIDATES, Decoder
from pose3d_ros.networks.pose2d import Pose2DNet, load_mean_net, look_both_ways, network_input
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.training.bystanders import Bystanders
from pose3d_ros.training.half import half_precision
from pose3d_ros.training.photo_notes import PhotoNotes

_SIZE = 256
_ZOOMS = (1.15, 1.0, 0.85)
"""How much larger the person is seen than usual."""
PLACES = len(_ZOOMS) * CANDIDATES
_BATCH = 32
_LEAST_PX = 48
"""Width or height of those who stand by from which on their limbs can be told."""
_SAME = 0.04
"""Places within this share of the usual crop's side are one."""


@dataclass(frozen=True, eq=False)
class Findings(PhotoNotes):
    """Where joints were found in photos.

    places_px: [n, 24, PLACES, 2] in the photos' pixels. probability: [n, 24, PLACES] that the joint is there.
    visible: [n, 24] probability that it is to be seen.
    """

    made_by = "findings"

    places_px: NDArray[np.float32]
    probability: NDArray[np.float32]
    visible: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FoundBystanders(PhotoNotes):
    """Where joints of people were found whom no label names.

    photo: [m] to which photo each belongs. boxes_px: [m, 4], joints_px: [m, 24, 2] in its pixels.
    confidence: [m, 24] probability that the joint is there. visible: [m, 24] that it is to be seen.
    """

    photo: NDArray[np.intp]
    boxes_px: NDArray[np.float32]
    joints_px: NDArray[np.float32]
    confidence: NDArray[np.float32]
    visible: NDArray[np.float32]


def find(net: Pose2DNet, photos: Photos) -> Findings:
    """What the network finds in the photos' labelled people."""
    boxes = [box_of_joints(joints[known]) for joints, known in zip(photos.joints_px, photos.labelled, strict=True)]
    return Findings(np.array(photos.names), *_find(net, photos, range(len(photos)), boxes))


def find_bystanders(net: Pose2DNet, photos: Photos, bystanders: Bystanders) -> FoundBystanders:
    """What the network finds in those who stand by, of whom enough pixels show."""
    large = np.ptp(bystanders.boxes_px.reshape(-1, 2, 2), 1).max(-1) >= _LEAST_PX
    photo, boxes = (notes[bystanders.person & large] for notes in (bystanders.photo, bystanders.boxes_px))
    places, probability, visible = _find(net, photos, photo.tolist(), boxes)
    best = np.take_along_axis(places, probability.argmax(-1)[..., None, None], 2)
    sides = np.array([square_of_box(box)[1] for box in boxes])
    there = np.linalg.norm(places - best, axis=-1) <= _SAME * sides[:, None, None]
    confidence = (probability * there).sum(-1)
    return FoundBystanders(np.array(photos.names), photo, boxes, best[:, :, 0], confidence, visible)


def _find(
    net: Pose2DNet, photos: Photos, rows: Sequence[int], boxes: Sequence[NDArray[np.floating]]
) -> tuple[NDArray[np.float32], ...]:
    """Places, probabilities and visibility of people: the rows of their photos, and their boxes there."""
    people = list(zip(rows, boxes, strict=True))
    batches = [people[start : start + _BATCH] for start in range(0, len(people), _BATCH)]
    parts = [_find_batch(net, photos, batch) for batch in tqdm(batches, unit="batch", disable=None)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _find_batch(
    net: Pose2DNet, photos: Photos, people: Sequence[tuple[int, NDArray[np.floating]]]
) -> tuple[NDArray[np.float32], ...]:
    """Places, probabilities and visibility of some people."""
    device = next(net.parameters()).device
    images = [photos.image(row) for row, _ in people]
    squares = [square_of_box(box) for _, box in people]
    places, probability, visible = [], [], []
    for zoom in _ZOOMS:
        transforms = [crop_transform(centre, side / zoom, _SIZE) for centre, side in squares]
        crops = np.stack([warp(image, t, _SIZE) for image, t in zip(images, transforms, strict=True)])
        with torch.inference_mode():
            with half_precision(device):
                logits, seen = look_both_ways(net, network_input(torch.from_numpy(crops).to(device)))
            found, _, mass = Decoder()(logits.float())
        flat = found.cpu().numpy().reshape(len(people), -1, 2)
        in_photo = np.stack([apply(inverse(t), own) for t, own in zip(transforms, flat, strict=True)])
        places.append(in_photo.reshape(len(people), NUM_JOINTS, CANDIDATES, 2))
        probability.append(mass.cpu().numpy() / len(_ZOOMS))
        visible.append(torch.sigmoid(seen.float()).cpu().numpy())
    return (
        np.concatenate(places, 2).astype(np.float32),
        np.concatenate(probability, 2).astype(np.float32),
        np.mean(visible, 0).astype(np.float32),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        required=True,
        help="checkpoint.pt or exported .onnx of the network that looks; of several, their mean",
    )
    parser.add_argument("--bystanders", type=Path, help="what `pose3d bystanders` wrote: look at them instead")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="file of the findings, .npz")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")


def run(args: argparse.Namespace) -> None:
    """Looks at every person of the photos that are learned from."""
    torch.set_num_threads(args.threads)
    net, _ = load_mean_net(args.checkpoint)
    photos = read_lspet(args.data / "lspet", "train")
    if args.bystanders is None:
        find(net, photos).write(args.output)
    else:
        find_bystanders(net, photos, Bystanders.read(args.bystanders, photos)).write(args.output)
