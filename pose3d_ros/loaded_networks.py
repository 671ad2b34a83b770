"""The three networks of the pipeline, loaded: they answer what the followers of several cameras ask, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose3d_ros.backend import Engines
from pose3d_ros.engines.engine import Engine, EngineError, Rows
from pose3d_ros.models import Model
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.find import Finder
from pose3d_ros.stages.lift import Lifted, Lifter
from pose3d_ros.stages.pose2d import Pose2D, PoseEstimator
from pose3d_ros.stages.rows import split

Array = NDArray[np.float64]
Stage = TypeVar("Stage")

_UNKNOWN = np.zeros(3)
"""Where up is, if nobody knows."""


class Search(NamedTuple):
    """Who is in the image [h, w, 3]? Answered with Finder.find's boxes and scores."""

    image: NDArray[np.uint8]
    score_threshold: float


class Locate(NamedTuple):
    """Where are the joints of the people in the boxes [n, 4] of the image [h, w, 3]? Answered with a Pose2D."""

    image: NDArray[np.uint8]
    boxes: Array


class Lift(NamedTuple):
    """Where are these joints in space? Answered with a Lifted.

    rays [n, 24, 2], cov [n, 24, 2, 2], score [n, 24] and states as in Lifter; up: [3] or None.
    """

    rays: Array
    cov: Array
    score: Array
    states: Rows
    up: ArrayLike | None


Question: TypeAlias = Search | Locate | Lift
Value = TypeVar("Value")
Steps: TypeAlias = Generator[Question, Any, Value]
"""Yields questions, is sent their answers, and returns a value."""


class Networks:
    """Finder, stage 1 and lifter on their engines, which are closed with it.

    description: the networks and where they run.
    Raises EngineError when a network is not what its stage needs; the engines are closed then.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        loader = _Loader(engines.models, engines.by_role)
        try:
            self._finder = loader.load("find", Finder, _try_finder)
            self._poses = loader.load("pose2d", PoseEstimator, _try_poses)
            self._lifter = loader.load("lift", Lifter, _try_lifter)
        except EngineError:
            engines.close()
            raise
        told = ", ".join(f"{model.path.name} {model.short_hash}" for model in engines.models.values())
        self.description = f"{told}; {engines.about}"

    def search(self, questions: Sequence[Search]) -> list[tuple[Array, Array]]:
        """Boxes and scores; image by image, as hardly ever several are searched at once."""
        return [self._finder.find(*question) for question in questions]

    def locate(self, questions: Sequence[Locate]) -> list[Pose2D]:
        """Poses, all crops in one batch."""
        return self._poses.estimate_all(questions)

    def lift(self, questions: Sequence[Lift]) -> list[Lifted]:
        """Joints in space, all people in one batch."""
        counts = [len(question.states) for question in questions]
        rays, cov, score = (np.concatenate(parts) for parts in zip(*(q[:3] for q in questions), strict=True))
        states = [state for question in questions for state in question.states]
        ups = [_UNKNOWN if q.up is None else np.asarray(q.up, float) for q in questions for _ in q.states]
        lifted = self._lifter(rays, cov, score, states, np.reshape(ups, (-1, 3)))
        return [Lifted(*parts) for parts in split(lifted, counts)]

    def close(self) -> None:
        """Frees what the engines hold."""
        self._engines.close()


class _Loader:
    """Makes the stages on their engines."""

    def __init__(self, models: Mapping[str, Model], engines: Mapping[str, Engine]) -> None:
        self._models, self._engines = models, engines

    def load(self, role: str, stage: Callable[[Engine], Stage], attempt: Callable[[Stage], bool]) -> Stage:
        """The stage with its network, after one attempt at nothing: are the answers of the right shape?

        Raises EngineError naming the file.
        """
        path = self._models[role].path
        try:
            loaded = stage(self._engines[role])
            fits = attempt(loaded)
        except (EngineError, ValueError, IndexError) as error:
            raise EngineError(f"{path} does not do for '{role}': {error}") from error
        if not fits:
            raise EngineError(
                f"{path} does not do for '{role}': its answers have another shape than this version needs "
                f"({NUM_JOINTS} joints); export it again"
            )
        return loaded


def _try_finder(finder: Finder) -> bool:
    boxes, scores = finder.find(np.zeros((48, 64, 3), np.uint8), 0.0)
    return boxes.shape == (len(scores), 4)


def _try_poses(poses: PoseEstimator) -> bool:
    pose = poses.estimate(np.zeros((48, 64, 3), np.uint8), np.array([[0.0, 0, 63, 47]] * 2))
    joints = (2, NUM_JOINTS)
    shapes = ((*joints, 2), (*joints, 2, 2), joints, joints, (2,))
    answers = (pose.joints_px, pose.cov_px, pose.score, pose.visible, pose.person_score)
    return all(values.shape == shape for values, shape in zip(answers, shapes, strict=True))


def _try_lifter(lifter: Lifter) -> bool:
    joints = (2, NUM_JOINTS)
    cov = np.tile(1e-4 * np.eye(2), (*joints, 1, 1))
    lifted = lifter(np.zeros((*joints, 2)), cov, np.ones(joints), [None, None])
    return (lifted.joints_m.shape, lifted.sigma_m.shape, len(lifted.states)) == ((*joints, 3), joints, 2)
