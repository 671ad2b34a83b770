"""The whole pipeline on rendered scenes: who is found, how far away, and in which pose.

`pose3d evaluate people --rendered FOLDER`, the folder made by `pose3d render --kind scenes --split test`. Every picture
is by itself: nobody is known from the one before.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pose3d_ros.camera import Camera
from pose3d_ros.crop import iou
from pose3d_ros.data.synthetic.render import VISIBLE
from pose3d_ros.data.synthetic.shards import Shard, read_shard
from pose3d_ros.evaluation.metrics import joint_errors
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_pipeline
from pose3d_ros.person import Frame, Person
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.skeleton import NUM_JOINTS, ROOT

Array = NDArray[np.float64]

_LEAST_VISIBLE = 0.5
"""Share of the body that shows, of those who are to be found."""
_OVERLAP = 0.5
_BINS_M = ((0.0, 3.0), (3.0, 5.0), (5.0, 9.0), (9.0, np.inf))
_COVERAGE = {68: 1.0, 95: 1.96}


class Found(NamedTuple):
    """A person who is there: true joints [24, 3] in metres, which of them [24] show, and who was found in the place,
    if anybody."""

    joints_m: Array
    shows: NDArray[np.bool_]
    person: Person | None


def found_people(pipeline: Pipeline, folder: Path) -> Iterator[Found]:
    """Everybody in a folder of rendered scenes of whom enough is seen."""
    for path in sorted(folder.glob("*.npz")):
        shard = read_shard(path)
        for i in range(len(shard)):
            yield from _in_picture(pipeline, shard, i)


def _in_picture(pipeline: Pipeline, shard: Shard, i: int) -> Iterator[Found]:
    image = cv2.cvtColor(shard.picture(i), cv2.COLOR_RGB2BGR)
    height, width = image.shape[:2]
    pipeline.reset()
    people = pipeline.process(Frame(np.asarray(image, np.uint8), 0, Camera(width, height, shard.K[i])))
    rows = shard.people(i)
    overlap = iou(shard.box[rows].astype(float), np.array([person.box for person in people]).reshape(-1, 4))
    person_of = {
        k: people[j] for k, j in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[k, j] >= _OVERLAP
    }
    for k, row in enumerate(rows):
        if shard.visible_fraction[row] >= _LEAST_VISIBLE:
            yield Found(shard.joints_m[row].astype(float), shard.visibility[row] == VISIBLE, person_of.get(k))


def figures(people: list[Found]) -> str:
    """One line: share found; medians of the root's distance error, of the pose's, and of the joints' that show and
    that are hidden, all but the root's; how often sigma held the error."""
    found = [one for one in people if one.person is not None and one.person.joints_m is not None]
    if not found:
        return f"{len(people):5d} people, nobody found"
    true, shows = np.stack([one.joints_m for one in found]), np.stack([one.shows for one in found])
    said = np.stack([one.person.joints_m for one in found])  # type: ignore[union-attr, misc]
    cov = np.stack([one.person.joints_m_cov for one in found])  # type: ignore[union-attr, misc]
    distance = np.linalg.norm(true[:, ROOT], axis=1)
    error = np.abs(np.linalg.norm(said[:, ROOT], axis=1) - distance)
    ray = true[:, ROOT] / distance[:, None]
    sigma = np.sqrt(np.einsum("ni,nij,nj->n", ray, cov[:, ROOT], ray))
    pose = joint_errors(said - said[:, [ROOT]], true - true[:, [ROOT]])
    joints = np.arange(NUM_JOINTS) != ROOT
    parts = ", ".join(
        f"{name} {1e3 * np.median(pose[which & joints]):.0f}"
        for name, which in (("joints that show", shows), ("hidden", ~shows))
        if (which & joints).any()
    )
    held = ", ".join(f"{100 * np.mean(error <= k * sigma):.0f} % in {share} %" for share, k in _COVERAGE.items())
    return (
        f"{len(people):5d} people, {100 * len(found) / len(people):5.1f} % found; root distance "
        f"{1e3 * np.median(error):4.0f} mm ({held}); pose {1e3 * np.median(pose.mean(1)):4.0f} mm ({parts})"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_pipeline_arguments(parser)
    parser.add_argument("--rendered", type=Path, required=True, help="folder of rendered test scenes")


def run(args: argparse.Namespace) -> None:
    """Prints a row per range of distances."""
    people = list(found_people(open_pipeline(args), args.rendered))
    if not people:
        raise ValueError(f"no rendered scenes in {args.rendered}: make them with `pose3d render --kind scenes`")
    print(f"{'all':>9s} {figures(people)}")
    for low, high in _BINS_M:
        name = f"{low:.0f}-{high:.0f} m" if np.isfinite(high) else f"{low:.0f}- m"
        there = [found for found in people if low <= np.linalg.norm(found.joints_m[ROOT]) < high]
        if there:
            print(name.rjust(9), figures(there))
