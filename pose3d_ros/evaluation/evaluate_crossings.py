"""Who is who in rendered films of people whose ways cross: `pose3d evaluate crossings FOLDER …`, folders made by
`pose3d render --kind crossing`.

Each frame's people are assigned to the true ones within a torso's length (Hungarian, mean error of the joints); a
switch is a true person whom another id is assigned to than the time before (Bernardin and Stiefelhagen 2008, "CLEAR
MOT").
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pose3d_ros.evaluation.films import play
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_pipeline
from pose3d_ros.evaluation.pose2d import torso_length
from pose3d_ros.person import JointState, Person
from pose3d_ros.pipeline import Pipeline

Array = NDArray[np.float64]

_FARTHEST = 1.0
"""Mean error of the joints, in torso lengths, within which somebody is taken for a true person."""


@dataclass
class Whereabouts:
    """A true person in the frames that show them. ids: that were theirs, None where they were not found."""

    ids: list[int | None] = field(default_factory=list)

    @property
    def found(self) -> list[int]:
        """The ids in the frames in which they were found."""
        return [found for found in self.ids if found is not None]

    @property
    def switches(self) -> int:
        """How often their id changed, gaps or not."""
        return sum(a != b for a, b in zip(self.found, self.found[1:], strict=False))

    @property
    def as_one(self) -> int:
        """Frames in which they have the id that is theirs most often."""
        return Counter(self.found).most_common(1)[0][1] if self.found else 0


@dataclass
class Identities:
    """What became of the people of a film, or of several.

    strangers: who is none of them, though said to be seen. carried_on: likewise, of those said to be out of sight.
    """

    people: list[Whereabouts]
    strangers: int = 0
    carried_on: int = 0

    def figures(self) -> dict[str, float]:
        """Frames of all people; per cent in which they are found, and found under one id; switches; strangers."""
        frames = sum(len(person.ids) for person in self.people)
        shares = {
            "found": sum(len(person.found) for person in self.people),
            "under one id": sum(person.as_one for person in self.people),
        }
        row = {name: round(100 * count / max(frames, 1), 1) for name, count in shares.items()}
        switches = sum(person.switches for person in self.people)
        return {
            "frames": frames,
            **row,
            "switches": switches,
            "strangers": self.strangers,
            "carried on": self.carried_on,
        }


def follow(pipeline: Pipeline, folder: Path) -> Identities:
    """The people of a folder's film. Raises as `play` does."""
    frames = list(play(pipeline, folder, "people_m", "crossing"))
    found = Identities([Whereabouts() for _ in frames[0].true])
    for true, people, camera in frames:
        there = [k for k, joints_m in enumerate(true) if joints_m is not None]
        match = dict(_pairs(camera.project(np.reshape([true[k] for k in there], (-1, 24, 3))), people))
        for i, k in enumerate(there):
            found.people[k].ids.append(people[match[i]].id if i in match else None)
        others = [person for i, person in enumerate(people) if i not in match.values()]
        carried_on = sum(bool((person.joint_state == JointState.PREDICTED).all()) for person in others)
        found.carried_on += carried_on
        found.strangers += len(others) - carried_on
    return found


def _pairs(joints_px: Array, people: Sequence[Person]) -> Iterator[tuple[int, int]]:
    """Which true people, of joints [n, 24, 2], are which of those found."""
    said = np.reshape([person.joints_px for person in people], (-1, 24, 2))
    errors = np.linalg.norm(joints_px[:, None] - said, axis=-1).mean(-1) / torso_length(joints_px)[:, None].clip(1e-6)
    for i, k in zip(*linear_sum_assignment(errors.clip(max=10)), strict=True):
        if errors[i, k] <= _FARTHEST:
            yield int(i), int(k)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("folders", type=Path, nargs="+", help="films with clip.json")
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Prints a row per film, and one of all."""
    pipeline = open_pipeline(args)
    films = {str(folder): follow(pipeline, folder) for folder in args.folders}
    if len(films) > 1:
        films["all"] = Identities(
            [person for film in films.values() for person in film.people],
            sum(film.strangers for film in films.values()),
            sum(film.carried_on for film in films.values()),
        )
    for name, film in films.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in film.figures().items()))
