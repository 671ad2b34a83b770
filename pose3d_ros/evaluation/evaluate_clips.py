"""The whole pipeline over time, on rendered films with ground truth: are joints right, and as often as scores say?

`pose3d evaluate clips [FOLDER …]`, folders made by `pose3d render --kind clip`; without any, the package's own film.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.evaluation.evaluate_pose2d import Scores
from pose3d_ros.evaluation.films import play
from pose3d_ros.evaluation.metrics import joint_errors, mahalanobis_squared
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_pipeline
from pose3d_ros.evaluation.pose2d import torso_length
from pose3d_ros.person import Person
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.skeleton import ROOT
from pose3d_ros.video import PACKAGE_CLIP

Array = NDArray[np.float64]

_WITHIN = {68: 3.506, 95: 7.815}
"""Within this squared Mahalanobis distance so many per cent of all errors in space ought to lie."""


class Seen(NamedTuple):
    """A frame with somebody in it: true joints [24, 3] in metres and [24, 2] in pixels, which of them are inside the
    picture [24], and who was found nearest to them, if anybody."""

    joints_m: Array
    joints_px: Array
    inside: NDArray[np.bool_]
    person: Person | None


def follow(pipeline: Pipeline, folder: Path) -> Iterator[Seen]:
    """The frames of a folder's film in which somebody is. Raises as `play` does."""
    for true, people, camera in play(pipeline, folder, "joints_m", "clip"):
        if true is not None:
            joints_m = np.array(true)
            joints_px = camera.project(joints_m)
            inside = ((joints_px >= 0) & (joints_px < [camera.width, camera.height])).all(-1)
            yield Seen(joints_m, joints_px, np.asarray(inside), _nearest(people, joints_px))


def _nearest(people: Sequence[Person], joints_px: Array) -> Person | None:
    return min(people, key=lambda person: float(joint_errors(person.joints_px, joints_px).mean()), default=None)


def figures(frames: Sequence[Seen]) -> dict[str, Any]:
    """Per cent, probabilities and millimetres of a film's frames; in 2D of the joints inside the picture, in 3D of all,
    of which so many lie inside the ellipsoids that ought to hold 68 and 95 per cent."""
    found = [(seen, seen.person) for seen in frames if seen.person is not None]
    row: dict[str, Any] = {"frames": len(frames), "found": round(100 * len(found) / max(len(frames), 1), 1)}
    if not found:
        return row
    true_px = np.stack([seen.joints_px for seen, _ in found])
    scores = Scores.of(
        np.stack([person.joints_px for _, person in found]),
        np.stack([person.joints_px_cov for _, person in found]),
        np.stack([person.joint_score for _, person in found]),
        true_px,
        torso_length(true_px),
        np.stack([seen.inside for seen, _ in found]),
    )
    row |= {
        "PCK@0.2": round(scores.pck(0.2), 1),
        "score": round(float(scores.score[scores.counted].mean()), 3),
        "ECE": round(scores.reliability().error(), 3),
    }
    placed = [
        (seen.joints_m, person.joints_m, person.joints_m_cov) for seen, person in found if person.joints_m is not None
    ]
    if not placed:
        return row
    true, said, cov = (np.stack(column) for column in zip(*placed, strict=True))
    pose = joint_errors(said - said[:, [ROOT]], true - true[:, [ROOT]]).mean(1)
    root = joint_errors(said[:, ROOT], true[:, ROOT])
    squared = mahalanobis_squared(said - true, cov)
    row |= {"pose mm": round(1e3 * float(np.median(pose))), "root mm": round(1e3 * float(np.median(root)))}
    return row | {f"in {part} %": round(100 * float((squared < limit).mean()), 1) for part, limit in _WITHIN.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("folders", type=Path, nargs="*", help="films with clip.json (default: the package's own)")
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints a row per film, and one of all their frames."""
    pipeline = open_pipeline(args)
    films = {str(folder): list(follow(pipeline, folder)) for folder in args.folders or [PACKAGE_CLIP.parent]}
    if len(films) > 1:
        films["all"] = [seen for film in films.values() for seen in film]
    for name, frames in films.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures(frames).items()))
