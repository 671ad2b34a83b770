"""How well people are told from things, and the weights of `stages/presence.py` made anew.

`pose3d evaluate presence --rendered FOLDER`, the folder made by `pose3d render --kind scenes --count 400 --seed 1`, of
which no training sees any. Judged is what the finder suspects in it, in LSPET's photos kept for calibration and in
clutter, by what stage 1 sees there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pose3d_ros.crop import areas, box_of_joints, iou, shared_areas
from pose3d_ros.data.clutter import clutter
from pose3d_ros.data.lspet import read_lspet
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_networks
from pose3d_ros.loaded_networks import Locate, Networks, Search, Steps
from pose3d_ros.newcomers import LEAST_FOUND, Suspects, look_closely
from pose3d_ros.pipeline import answer_together
from pose3d_ros.stage_times import StageTimes
from pose3d_ros.stages.presence import BIAS, WEIGHTS, log_odds

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_SAME, _ELSEWHERE = 0.5, 0.2
"""Overlap with somebody's box from which on a suspect is them, and the share of a thing's box that people may cover."""
_CLUTTERS, _CLUTTER_SIZE = 1000, (320, 240)


class Known(NamedTuple):
    """What is known of a picture: boxes [k, 4] of people, and whether there is nobody but them."""

    boxes: Array
    all: bool


class Judged(NamedTuple):
    """Log odds [n, 3] of suspects, see presence.log_odds, and whether they are people [n]."""

    odds: Array
    is_person: NDArray[np.bool_]


def judged(networks: Networks, pictures: Iterator[tuple[Image, Known]]) -> Judged:
    """The suspects of pictures as far as it is known what they are."""
    odds, answers = [], []
    for image, known in pictures:
        [suspects] = answer_together(networks, [_suspects(image)], StageTimes())
        if isinstance(suspects, Exception):
            raise suspects
        boxes = suspects.pose.boxes(suspects.boxes)
        same = iou(boxes, known.boxes).max(1, initial=0) >= _SAME
        covered = (shared_areas(boxes, known.boxes) / areas(boxes)[:, None]).max(1, initial=0)
        sure = same | (known.all & (covered < _ELSEWHERE))
        odds.append(log_odds(suspects.found_score, suspects.pose)[sure])
        answers.append(same[sure])
    return Judged(np.concatenate(odds), np.concatenate(answers))


def _suspects(image: Image) -> Steps[Suspects]:
    boxes, scores = yield Search(image, LEAST_FOUND)
    pose = yield Locate(image, boxes)
    return (yield from look_closely(image, Suspects(boxes, scores, pose)))


def fitted(sets: Sequence[Judged]) -> tuple[Array, float]:
    """Weights [3] and bias of the logistic function that tells the people of all sets from the things; both count the
    same in sum."""
    odds = np.concatenate([each.odds for each in sets])
    sign = np.where(np.concatenate([each.is_person for each in sets]), 1.0, -1.0)
    count = np.where(sign > 0, 1 / (sign > 0).sum(), 1 / (sign < 0).sum())

    def loss(parameters: Array) -> float:
        return float((count * np.logaddexp(0, -sign * (odds @ parameters[:-1] + parameters[-1]))).sum())

    found = minimize(loss, np.zeros(odds.shape[1] + 1)).x
    return found[:-1], float(found[-1])


def told_apart(each: Judged, weights: Array, bias: float) -> str:
    """How many of the people and of the things are called people."""
    called = each.odds @ weights + bias > 0
    people, things = called[each.is_person], called[~each.is_person]
    return f"{people.sum()} of {len(people)} people, {things.sum()} of {len(things)} things"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_pipeline_arguments(parser)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--rendered", type=Path, required=True, help="folder of rendered scenes that no training saw")


def run(args: argparse.Namespace) -> None:
    """Prints the weights, and a row per set: who would be called a person by the shipped weights and by these."""
    networks = open_networks(args)
    sets = {
        "photos": judged(networks, _photos(args.data / "lspet")),
        "rendered": judged(networks, _rendered(args.rendered)),
        "clutter": judged(networks, _clutter()),
    }
    weights, bias = fitted(list(sets.values()))
    print(
        f"weights {np.round(weights, 2).tolist()}, bias {bias:.2f}: people and things are equally often taken wrongly"
    )
    for name, each in sets.items():
        print(f"{name:>9s} shipped: {told_apart(each, WEIGHTS, BIAS)}; these: {told_apart(each, weights, bias)}")


def _photos(folder: Path) -> Iterator[tuple[Image, Known]]:
    """One person is labelled; others may stand by."""
    photos = read_lspet(folder, "calibration")
    for i in range(len(photos)):
        yield photos.image(i), Known(box_of_joints(photos.joints_px[i][photos.labelled[i]])[None], False)


def _rendered(folder: Path) -> Iterator[tuple[Image, Known]]:
    from pose3d_ros.training.synthetic_source import labelled_scenes

    for image, boxes, hidden in labelled_scenes(folder):
        yield image, Known(np.concatenate([boxes, hidden]).astype(float), True)


def _clutter() -> Iterator[tuple[Image, Known]]:
    rng = np.random.default_rng(0)
    for _ in range(_CLUTTERS):
        yield clutter(rng, *_CLUTTER_SIZE), Known(np.zeros((0, 4)), True)
