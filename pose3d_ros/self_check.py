"""Does an engine compute what the network does? Pictures of our rendered clip through both, compared.

Half precision can ruin a network without a word: every freshly built engine is compared with ONNX Runtime in single
precision on the CPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.camera import Camera
from pose3d_ros.camera_file import read_camera
from pose3d_ros.crop import box_of_joints
from pose3d_ros.engines.engine import Engine, Rows, TensorSpec
from pose3d_ros.stages.find import Finder
from pose3d_ros.stages.lift import Lifter
from pose3d_ros.stages.pose2d import PoseEstimator
from pose3d_ros.video import PACKAGE_CLIP, open_source

Image = NDArray[np.uint8]
Arrays = Mapping[str, Any]
"""Inputs or outputs by name; a recurrent state in Rows."""

_FRAMES = range(60, 180, 15)
"""Of the clip: the person is in view in all of them."""
_BATCHES = (1, 2, 3, 5)
"""So that an engine's batch sizes, 1, 2, 4 and 8, all have their turn, filled and not."""
_SURE_BOX_SCORE, _SURE_JOINT_SCORE = 0.3, 0.5
_SAME_SCORE = 0.1
_SPREAD_PX = 2.0
_MOST_SHIFT = {"find": 1.0, "pose2d": 1.0, "lift": 0.005}
_MOST_CHANGE = 0.25
_SMALLEST = 1e-6
"""Values below are as good as nothing."""
_POSITIONS = {"boxes", "joints", "joints_m"}
_COUNTED = {"find": "boxes", "pose2d": "joints", "lift": "joints_m"}
_UNITS = {"find": "px", "pose2d": "px", "lift": "m"}


class Sample(NamedTuple):
    """What a network was given, and what it answered in single precision."""

    inputs: Arrays
    answers: Arrays


class Check(NamedTuple):
    """The comparison's result. text: for people."""

    passed: bool
    text: str


def samples_for(role: str, reference: Engine) -> list[Sample]:
    """The clip's pictures as the network of a role (find, pose2d, lift) sees them, with its answers."""
    recorder = _Recorder(reference)
    _SHOW[role](recorder, *_scenes())
    return recorder.samples


def check(role: str, engine: Engine, samples: list[Sample]) -> Check:
    """Compares an engine's answers with the samples': none may be NaN, and half of them must be as good as the same:
    positions within 1 px or 5 mm, all else (scores, spreads, the state) within a quarter of its value. That must hold
    for each number of people, as an engine computes each in its own way."""
    pairs: dict[int, list[tuple[Arrays, Arrays]]] = {}
    for sample in samples:
        answers = engine.run(sample.inputs)
        for name, values in answers.items():
            if not np.isfinite(values).all():
                return Check(False, f"{name} has values that are not finite")
        pairs.setdefault(len(sample.answers[_COUNTED[role]]), []).append((answers, sample.answers))
    shifts = {}
    for count, compared in pairs.items():
        shifts[count] = _median(_SHIFT[role](*pair) for pair in compared)
        if trouble := _trouble(role, shifts[count], compared):
            return Check(False, f"{trouble} ({count} at once)" if len(pairs) > 1 else trouble)
    return Check(True, f"{max(shifts.values()):.2g} {_UNITS[role]} from single precision in the median")


def _trouble(role: str, shift: float, compared: list[tuple[Arrays, Arrays]]) -> str:
    """What is wrong with answers that were compared with those expected, their positions by `shift`; empty: nothing."""
    most, unit = _MOST_SHIFT[role], _UNITS[role]
    if shift > most:
        return f"positions are off by {shift:.3g} {unit} in the median: at most {most:g} {unit} is allowed"
    for name in compared[0][0].keys() - _POSITIONS:
        change = _median(_changes(answers, expected, name) for answers, expected in compared)
        if change > _MOST_CHANGE:
            return f"{name} is off by {change:.0%} in the median: at most {_MOST_CHANGE:.0%} is allowed"
    return ""


def _median(parts: Iterable[NDArray[np.float64]]) -> float:
    return float(np.median(np.concatenate(list(parts))))


class _Recorder:
    """An engine that writes down what it is asked and answers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.samples: list[Sample] = []

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.outputs

    @property
    def device(self) -> str:
        return self._engine.device

    def run(self, arrays: Arrays) -> dict[str, Any]:
        answers = self._engine.run(arrays)
        self.samples.append(Sample(dict(arrays), answers))
        return answers

    def close(self) -> None:
        self._engine.close()


def _scenes() -> tuple[Camera, list[Image], NDArray[np.float64]]:
    """The clip's camera, some of its frames, and the person's true joints [frames, 24, 3] in metres."""
    truth = json.loads(PACKAGE_CLIP.with_suffix(".json").read_text(encoding="utf-8"))["joints_m"]
    with open_source(str(PACKAGE_CLIP)) as source:
        images = [image.copy() for i, (image, _) in zip(range(_FRAMES.stop), source, strict=False) if i in _FRAMES]
    return read_camera(PACKAGE_CLIP.with_suffix(".json")), images, np.array([truth[i] for i in _FRAMES])


def _show_finder(engine: Engine, _: Camera, images: list[Image], __: NDArray[np.float64]) -> None:
    finder = Finder(engine)
    for image in images:
        finder.find(image, _SURE_BOX_SCORE)


def _show_poses(engine: Engine, camera: Camera, images: list[Image], joints_m: NDArray[np.float64]) -> None:
    estimator = PoseEstimator(engine)
    boxes = np.stack([box_of_joints(joints) for joints in camera.project(joints_m)])
    for image, count in zip(images, _BATCHES, strict=False):
        estimator.estimate(image, boxes[:count])
    for image, box in zip(images, boxes, strict=True):
        estimator.estimate(image, box[None])


def _show_lifter(engine: Engine, camera: Camera, __: list[Image], joints_m: NDArray[np.float64]) -> None:
    lifter = Lifter(engine)
    pixels = camera.project(joints_m)
    rays, jacobian = camera.rays_with_jacobian(pixels)
    cov = _SPREAD_PX**2 * jacobian @ np.swapaxes(jacobian, -1, -2)
    score = np.ones(rays.shape[:2])
    for count in (*_BATCHES, len(rays)):
        states: Rows = [None] * count
        for _ in range(2):  # the second time with states that remember
            states = lifter(rays[:count], cov[:count], score[:count], states).states


def _box_shifts(answers: Arrays, expected: Arrays) -> NDArray[np.float64]:
    """How far [n] the corners of the sure boxes have moved; endlessly, where a box is no longer sure."""
    scores = expected["scores"][0]
    sure = min(_SURE_BOX_SCORE, float(scores.max()))
    boxes = answers["boxes"][0][answers["scores"][0] >= sure - _SAME_SCORE].astype(float)
    wanted = expected["boxes"][0][scores >= sure].astype(float)
    if not len(boxes):
        return np.full(len(wanted), np.inf)
    return np.abs(wanted[:, None] - boxes[None]).max(-1).min(1)


def _pixel_shifts(answers: Arrays, expected: Arrays) -> NDArray[np.float64]:
    """How far [n] the sure ones of the joints have moved: where a heatmap is flat, any place is as good as another."""
    score = expected["score"]
    return _moved(answers, expected, "joints")[score >= min(_SURE_JOINT_SCORE, float(score.max()))]


def _metre_shifts(answers: Arrays, expected: Arrays) -> NDArray[np.float64]:
    """How far [n] the joints have moved."""
    return _moved(answers, expected, "joints_m").ravel()


def _changes(answers: Arrays, expected: Arrays, name: str) -> NDArray[np.float64]:
    """By what part of themselves [n] the values of an output have changed."""
    wanted = expected[name].astype(float)
    return (np.abs(np.asarray(answers[name]) - wanted) / (np.abs(wanted) + _SMALLEST)).ravel()


def _moved(answers: Arrays, expected: Arrays, name: str) -> NDArray[np.float64]:
    """How far [...] the points of an output [..., 2 or 3] have moved."""
    return np.linalg.norm(answers[name].astype(float) - expected[name].astype(float), axis=-1)


_SHOW = {"find": _show_finder, "pose2d": _show_poses, "lift": _show_lifter}
_SHIFT: dict[str, Callable[[Arrays, Arrays], NDArray[np.float64]]] = {
    "find": _box_shifts,
    "pose2d": _pixel_shifts,
    "lift": _metre_shifts,
}
