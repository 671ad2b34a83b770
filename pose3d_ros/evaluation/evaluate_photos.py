"""The whole pipeline on everyday photos: who is found, and with which joints. Every photo is by itself.

`pose3d evaluate pose2d` gives stage 1 the person's crop on the same photos; here nobody says where people are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pose3d_ros.evaluation.evaluate_pose2d import LabelledPerson, everyday_people
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_pipeline
from pose3d_ros.person import Frame
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.skeleton import NUM_JOINTS

Array = NDArray[np.float64]

_FOUND = 0.5
"""Median error of the joints over the torso, below which a person counts as found."""


class Photo(NamedTuple):
    """Joints [k, 24, 2] that were found in a photo, and the people who are labelled in it."""

    found_px: Array
    people: Sequence[LabelledPerson]


def errors(photo: Photo) -> list[Array]:
    """Of each labelled person the errors of the joints that count, over the torso, of who was found there; infinite
    where nobody was. Everybody who was found is somebody once."""
    distance = [
        np.linalg.norm(photo.found_px[:, person.counted] - person.joints_px[person.counted], axis=-1) / person.torso_px
        for person in photo.people
    ]
    answers = [np.full(int(person.counted.sum()), np.inf) for person in photo.people]
    cost = np.array([np.minimum(d, 1).mean(1) for d in distance]).reshape(len(answers), -1)
    for k, j in zip(*linear_sum_assignment(cost), strict=True):
        answers[k] = distance[k][j]
    return answers


def figures(photos: Sequence[Photo]) -> str:
    """One line: share of the people who are found, PCK of their joints, and how many people were reported."""
    each = [error for photo in photos for error in errors(photo)]
    joints = np.concatenate(each)
    found = np.mean([np.median(error) <= _FOUND for error in each])
    right = ", ".join(f"PCK@{threshold} {100 * np.mean(joints <= threshold):.1f}" for threshold in (0.2, 0.1))
    return (
        f"{len(each)} people in {len(photos)} photos: {100 * found:.1f} % found, {right}; "
        f"{sum(len(photo.found_px) for photo in photos)} people reported"
    )


def processed(pipeline: Pipeline, annotations: Path) -> Iterator[Photo]:
    """The photos that have people who are large enough."""
    for path, people in groupby(everyday_people(annotations), lambda person: person.path):
        pipeline.reset()
        reported = pipeline.process(Frame(np.asarray(cv2.imread(str(path)), np.uint8), 0, None))
        yield Photo(np.reshape([person.joints_px for person in reported], (-1, NUM_JOINTS, 2)), list(people))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_pipeline_arguments(parser)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")


def run(args: argparse.Namespace) -> None:
    """Prints the figures."""
    print(figures(list(processed(open_pipeline(args), args.data / "everyday/person_keypoints.json"))))
