"""What a trained stage 1 finds in the photos that are learned from, to learn from besides their labels:
`pose3d findings --checkpoint … --output findings.npz`, then `pose3d train pose2d --findings findings.npz`.

After Hinton et al. 2015 ("Distilling the knowledge in a neural network") and Radosavovic et al. 2018 ("Data
distillation"): the network looks at each person several times, larger and smaller and in the mirror, which finds more
than it finds at one glance; whoever learns from that learns it for one glance. It also knows the joints that photos do
not label, and doubts labels that are wrong.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pose3d_ros.crop import apply, box_of_joints, crop_transform, inverse, square_of_box, warp
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.networks.decode import CANDIDATES, Decoder
from pose3d_ros.networks.pose2d import Pose2DNet, load_net, look_both_ways, network_input
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.training.half import half_precision
from pose3d_ros.training.photo_notes import PhotoNotes

_SIZE = 256
_ZOOMS = (1.15, 1.0, 0.85)
"""How much larger the person is seen than usual."""
PLACES = len(_ZOOMS) * CANDIDATES
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Findings(PhotoNotes):
    """Where joints were found in photos.

    places_px: [n, 24, PLACES, 2] in the photos' pixels. probability: [n, 24, PLACES] that the joint is there.
    visible: [n, 24] probability that it is to be seen.
    """

    places_px: NDArray[np.float32]
    probability: NDArray[np.float32]
    visible: NDArray[np.float32]


def find(net: Pose2DNet, photos: Photos) -> Findings:
    """What the network finds in the photos' labelled people."""
    rows = range(len(photos))
    batches = [rows[start : start + _BATCH] for start in rows[::_BATCH]]
    parts = [_find(net, photos, batch) for batch in tqdm(batches, unit="batch", disable=None)]
    return Findings(np.array(photos.names), *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _find(net: Pose2DNet, photos: Photos, rows: range) -> tuple[NDArray[np.float32], ...]:
    """Places, probabilities and visibility of some of the people."""
    device = next(net.parameters()).device
    images = [photos.image(i) for i in rows]
    squares = [square_of_box(box_of_joints(photos.joints_px[i][photos.labelled[i]])) for i in rows]
    places, probability, visible = [], [], []
    for zoom in _ZOOMS:
        transforms = [crop_transform(centre, side / zoom, _SIZE) for centre, side in squares]
        crops = np.stack([warp(image, t, _SIZE) for image, t in zip(images, transforms, strict=True)])
        with torch.inference_mode():
            with half_precision(device):
                logits, seen = look_both_ways(net, network_input(torch.from_numpy(crops).to(device)))
            found, _, mass = Decoder()(logits.float())
        flat = found.cpu().numpy().reshape(len(rows), -1, 2)
        in_photo = np.stack([apply(inverse(t), own) for t, own in zip(transforms, flat, strict=True)])
        places.append(in_photo.reshape(len(rows), NUM_JOINTS, CANDIDATES, 2))
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
        "--checkpoint", type=Path, required=True, help="checkpoint.pt or exported .onnx of the network that looks"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="file of the findings, .npz")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")


def run(args: argparse.Namespace) -> None:
    """Looks at every photo that is learned from."""
    torch.set_num_threads(args.threads)
    net, _ = load_net(args.checkpoint)
    find(net, read_lspet(args.data / "lspet", "train")).write(args.output)
