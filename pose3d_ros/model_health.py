"""Whether the networks work as well as when they were measured: figures of the people seen, against a reference.

No truth is known on a robot. What can be told without it: how sure the networks are, whether a body keeps its size,
whether the 3D joints lie on the 2D ones, and whether people keep their ids. The reference stands in models.json, with
the network that each figure tells most of; `pose3d evaluate health --record` measures it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.camera import Camera
from pose3d_ros.crop import iou
from pose3d_ros.models import Model
from pose3d_ros.person import JointState, Person
from pose3d_ros.skeleton import BONES, INDEX

Array = NDArray[np.float64]

LONG_BONES = tuple(
    (parent, child)
    for parent, child in BONES
    if child in {INDEX[f"{side}_{name}"] for side in ("left", "right") for name in ("knee", "ankle", "elbow", "wrist")}
)
"""Thighs, shins, upper arms and forearms, as pairs of joints: long enough for their length to mean something."""

_NS = 1e-9
_WINDOW_NS = 30_000_000_000
_PERIOD_NS = 1_000_000_000
_LEAST_STEP_NS = 90_000_000  # ten frames a second tell all
_LEAST_PERSON_S = 5.0
_LEAST_SWITCH_S = 30.0  # one in a short visit is no drift
"""Less than so much of people within the window says nothing."""
_LEAST_BONES = 10
_LONGEST_STEP_NS = 500_000_000  # between frames that count as following each other
_SAME_PLACE_IOU = 0.3
_SWITCH_NS = 2_000_000_000
_PERIODS_TO_WARN = 10


class Figure(NamedTuple):
    """What a figure is. role: the network that it tells most of. worse: 1 if more is worse, -1 if less is.

    slack: by how much of the reference, and by how much besides, a figure may be worse. means: what a worse one may
    mean, and what to do.
    """

    role: str
    worse: int
    slack: tuple[float, float]
    means: str


FIGURES: Mapping[str, Figure] = {
    "mean_score": Figure(
        "pose2d",
        -1,
        (0.25, 0.0),
        "the network is less sure of joints than it was: look at the picture (light, focus, dirt on the lens), or the "
        "people look or stand other than those it was trained with (record_hard_frames helps to train it further)",
    ),
    "inferred_share": Figure(
        "pose2d",
        1,
        (0.5, 0.4),
        "more joints are guessed than usual: people are hidden or cut off by the picture's edge, or the network does "
        "not know what it sees",
    ),
    "predicted_share": Figure(
        "find",
        1,
        (1.0, 0.15),
        "people are lost more often than usual: they are hidden, move fast for the image rate, or are no people",
    ),
    "bone_variation": Figure(
        "lift",
        1,
        (0.75, 0.03),
        "bodies change their size: the 2D joints jump, the calibration does not fit, or the 3D network sees poses that "
        "it was not trained with",
    ),
    "residual_sigmas": Figure(
        "lift",
        1,
        (0.75, 0.3),
        "3D joints do not lie on the 2D ones: check calibration and distortion, and whether the image is rectified",
    ),
    "id_switches_per_minute": Figure(
        "find",
        1,
        (1.0, 4.0),
        "people get new ids where they stand: they are lost and found again; see the light, the image rate and "
        "track_timeout_s",
    ),
}


class Reference(NamedTuple):
    """A figure as it was measured, and the worst that is still well."""

    value: float
    limit: float


class Figures(NamedTuple):
    """What people of some time look like; all but the first NaN where there were too few.

    person_s: seconds of people within the window, added up. mean_score: of their joints, 0...1. visible_share,
    inferred_share, predicted_share: of their joints, by state. bone_variation: standard deviation over mean of the
    lengths of a track's long bones, median. residual_sigmas: distance of the projected 3D joints from the 2D ones, in
    standard deviations of these, median over visible joints. new_ids_per_minute, id_switches_per_minute: by person and
    minute; a switch is a new id where another has just ended.
    """

    person_s: float
    mean_score: float = math.nan
    visible_share: float = math.nan
    inferred_share: float = math.nan
    predicted_share: float = math.nan
    bone_variation: float = math.nan
    residual_sigmas: float = math.nan
    new_ids_per_minute: float = math.nan
    id_switches_per_minute: float = math.nan


class _Sample(NamedTuple):
    """A person in a frame. seconds: since the frame before. shares: of joints, by state. bones: [8] m, NaN: unknown."""

    stamp_ns: int
    id: int
    seconds: float
    score: float
    shares: Array
    bones: Array
    residual: float
    is_new: bool
    is_switch: bool


class ModelMonitor:
    """Watches the people of one camera, by the images' stamps alone. Not thread-safe, but for `figures` and `drift`.

    figures: of the last 30 seconds, anew every second. drift: what has been worse than the reference for ten seconds,
    one text each.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets everything, after time jumped."""
        self.figures = Figures(0.0)
        self.drift: tuple[str, ...] = ()
        self._samples: deque[_Sample] = deque()
        self._last_ns: int | None = None
        self._due_ns: int | None = None
        self._known: dict[int, tuple[int, Array]] = {}
        self._periods = dict.fromkeys(FIGURES, 0)

    def note(
        self, stamp_ns: int, people: Sequence[Person], camera: Camera | None, reference: Mapping[str, Reference]
    ) -> None:
        """Takes the people of a frame; those that follow each other too closely are left out.

        camera: None where there are no metres.
        """
        if self._last_ns is not None and stamp_ns < self._last_ns:
            self.reset()
        if self._last_ns is not None and stamp_ns - self._last_ns < _LEAST_STEP_NS:
            return
        step_ns = 0 if self._last_ns is None else min(stamp_ns - self._last_ns, _LONGEST_STEP_NS)
        self._last_ns = stamp_ns
        self._samples += self._sampled(stamp_ns, step_ns * _NS, people, camera)
        if self._due_ns is None:
            self._due_ns = stamp_ns + _PERIOD_NS
        if stamp_ns >= self._due_ns:
            self._due_ns = stamp_ns + _PERIOD_NS
            self._judge(stamp_ns, reference)

    def figures_now(self) -> Figures:
        """The figures of the last 30 seconds up to the last frame."""
        return _figures(self._samples)

    def _sampled(
        self, stamp_ns: int, seconds: float, people: Sequence[Person], camera: Camera | None
    ) -> Iterator[_Sample]:
        ended = {i: box for i, (seen_ns, box) in self._known.items() if stamp_ns - seen_ns <= _SWITCH_NS}
        for person in people:
            ended.pop(person.id, None)
        for person in people:
            is_new = person.id not in self._known
            switched = is_new and len(ended) > 0 and iou(person.box[None], np.stack([*ended.values()])).max()
            yield _Sample(
                stamp_ns,
                person.id,
                seconds,
                float(person.joint_score.mean()),
                np.bincount(person.joint_state, minlength=len(JointState)) / len(person.joint_state),
                bone_lengths(person),
                residual_sigmas(person, camera),
                is_new,
                bool(switched and switched > _SAME_PLACE_IOU),
            )
        self._known |= {person.id: (stamp_ns, person.box) for person in people}

    def _judge(self, stamp_ns: int, reference: Mapping[str, Reference]) -> None:
        while self._samples and self._samples[0].stamp_ns < stamp_ns - _WINDOW_NS:
            self._samples.popleft()
        self._known = {i: known for i, known in self._known.items() if known[0] >= stamp_ns - _WINDOW_NS}
        self.figures = self.figures_now()
        texts = worse_figures(self.figures, reference)
        self._periods = {name: self._periods[name] + 1 if text else 0 for name, text in texts.items()}
        self.drift = tuple(texts[name] for name, count in self._periods.items() if count >= _PERIODS_TO_WARN)


def bone_lengths(person: Person) -> Array:
    """Metres [8] of LONG_BONES; NaN where an end was not seen in this frame, or there are no metres."""
    if person.joints_m is None:
        return np.full(len(LONG_BONES), np.nan)
    parents, children = np.array(LONG_BONES).T
    lengths = np.linalg.norm(person.joints_m[parents] - person.joints_m[children], axis=1)
    seen = person.joint_state == JointState.VISIBLE
    return np.where(seen[parents] & seen[children], lengths, np.nan)


def residual_sigmas(person: Person, camera: Camera | None) -> float:
    """Distance of the projected 3D joints from the 2D ones, by the 2D ones' standard deviation (Mahalanobis, per axis).

    The median over visible joints; NaN without any, or without metres.
    """
    seen = np.flatnonzero(person.joint_state == JointState.VISIBLE)
    if camera is None or person.joints_m is None or not len(seen):
        return math.nan
    off = camera.project(person.joints_m[seen]) - person.joints_px[seen]
    (a, b), (_, d) = np.moveaxis(person.joints_px_cov[seen], 0, -1)
    squared = (d * off[:, 0] ** 2 - 2 * b * off[:, 0] * off[:, 1] + a * off[:, 1] ** 2) / np.maximum(
        a * d - b * b, 1e-9
    )
    squared = squared[np.isfinite(squared)]
    return float(np.sqrt(np.median(squared) / 2)) if len(squared) else math.nan


def worse_figures(figures: Figures, reference: Mapping[str, Reference]) -> dict[str, str]:
    """By figure, what to say if it is worse than its reference allows; empty if it is not, or nobody knows."""
    texts = dict.fromkeys(FIGURES, "")
    for name, known in reference.items():
        figure, value = FIGURES.get(name), getattr(figures, name, math.nan)
        if figure and (value - known.limit) * figure.worse > 0:
            bound = "at most" if figure.worse > 0 else "at least"
            texts[name] = (
                f"{name} is {value:.2g}, measured {known.value:.2g} and {bound} {known.limit:.2g}: {figure.means}"
            )
    return texts


def reference_of(measured: Iterable[Figures]) -> dict[str, Reference]:
    """The reference of figures of several videos: their mean, and the worst of them with the figure's slack."""
    references = {}
    for name, figure in FIGURES.items():
        values = np.array([getattr(figures, name) for figures in measured])
        values = values[np.isfinite(values)]
        if len(values):
            worst = float((values * figure.worse).max()) * figure.worse
            relative, absolute = figure.slack
            limit = worst + figure.worse * (relative * abs(worst) + absolute)
            references[name] = Reference(round(float(values.mean()), 4), round(limit, 4))
    return references


def reference_in(models: Iterable[Model]) -> dict[str, Reference]:
    """The references that are stored with networks; figures that nobody knows any more are left out."""
    stored = (item for model in models for item in model.reference.items())
    return {name: Reference(entry["value"], entry["limit"]) for name, entry in stored if name in FIGURES}


def _figures(samples: Sequence[_Sample] | deque[_Sample]) -> Figures:
    seconds = sum(sample.seconds for sample in samples)
    if seconds < _LEAST_PERSON_S:
        return Figures(seconds)
    visible, inferred, predicted = np.mean([sample.shares for sample in samples], axis=0)
    residuals = np.array([sample.residual for sample in samples])
    return Figures(
        seconds,
        float(np.mean([sample.score for sample in samples])),
        float(visible),
        float(inferred),
        float(predicted),
        _bone_variation(samples),
        float(np.nanmedian(residuals)) if np.isfinite(residuals).any() else math.nan,
        60 / seconds * sum(sample.is_new for sample in samples),
        60 / max(seconds, _LEAST_SWITCH_S) * sum(sample.is_switch for sample in samples),
    )


def _bone_variation(samples: Iterable[_Sample]) -> float:
    tracks: dict[int, list[Array]] = {}
    for sample in samples:
        tracks.setdefault(sample.id, []).append(sample.bones)
    variations: list[Array] = []
    for bones in map(np.array, tracks.values()):
        often = np.isfinite(bones).sum(0) >= _LEAST_BONES
        if often.any():
            known = bones[:, often]
            variations.append(np.nanstd(known, axis=0) / np.nanmean(known, axis=0))
    return float(np.median(np.concatenate(variations))) if variations else math.nan
