"""People in the photos that are learned from whom no label names: `pose3d bystanders --output bystanders.npz`, then
`pose3d train finder --bystanders bystanders.npz`.

One person of each photo is labelled, and others stand by: spectators, players. Taken for emptiness, they teach the
finder to overlook people in a crowd. Whom the shipped networks are sure of becomes a person to find, and what they are
not sure of is left out of the loss (pseudo-labels; Sohn et al. 2020, "A simple semi-supervised learning framework for
object detection").
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pose3d_ros.crop import areas, box_of_joints, shared_areas
from pose3d_ros.data.lspet import Photos, read_lspet
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_networks
from pose3d_ros.loaded_networks import Locate, Networks, Search
from pose3d_ros.newcomers import LEAST_FOUND
from pose3d_ros.stages.presence import presence
from pose3d_ros.training.photo_notes import PhotoNotes

Array = NDArray[np.float64]

_PERSON = 0.6
"""Presence from which on somebody is taken for a person."""
_COVERED = 0.6
"""Share of a box within the labelled person's from which on it is they, or a part of them."""


@dataclass(frozen=True, eq=False)
class Bystanders(PhotoNotes):
    """Who else may be in photos.

    photo: [m] to which of them each belongs. boxes_px: [m, 4] in the photo's pixels.
    person: [m] whether they are people; else it is not known.
    """

    made_by = "bystanders"

    photo: NDArray[np.intp]
    boxes_px: NDArray[np.float32]
    person: NDArray[np.bool_]


def find_bystanders(networks: Networks, photos: Photos) -> Bystanders:
    """Who else the networks find in the photos."""
    each = list(_each(networks, photos))
    counts = [len(boxes) for boxes, _ in each]
    boxes, person = (np.concatenate(parts) for parts in zip(*each, strict=True))
    return Bystanders(np.array(photos.names), np.repeat(np.arange(len(each)), counts), boxes.astype(np.float32), person)


def _each(networks: Networks, photos: Photos) -> Iterator[tuple[Array, NDArray[np.bool_]]]:
    """Boxes [k, 4] of each photo, and whether they are people [k]."""
    for i in tqdm(range(len(photos)), unit="photo", disable=None):
        yield _others(networks, photos.image(i), box_of_joints(photos.joints_px[i][photos.labelled[i]]))


def _others(networks: Networks, image: NDArray[np.uint8], labelled: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Boxes [k, 4] of what may be people in the image besides the one of the `labelled` box, and whether it is [k]."""
    [(boxes, scores)] = networks.search([Search(image, LEAST_FOUND)])
    shared = shared_areas(boxes, labelled[None])[:, 0]
    elsewhere = shared < _COVERED * np.minimum(areas(boxes), areas(labelled))
    boxes, scores = boxes[elsewhere], scores[elsewhere]
    [pose] = networks.locate([Locate(image, boxes)])
    person = presence(scores, pose) >= _PERSON
    # The finder's boxes are rather large than small; of people the joints tell better.
    return np.where(person[:, None], pose.boxes(boxes), boxes), person


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_pipeline_arguments(parser)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="file of the bystanders, .npz")


def run(args: argparse.Namespace) -> None:
    """Looks at every photo that is learned from."""
    networks = open_networks(args)
    found = find_bystanders(networks, read_lspet(args.data / "lspet", "train"))
    found.write(args.output)
    print(f"{found.person.sum()} people, {(~found.person).sum()} who may be some")
