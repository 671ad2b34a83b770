"""Frame -> [Person]: the one place that calls the stages, in order. It owns no arithmetic beyond gluing them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.backend import BACKENDS, PRECISIONS, Engines, Wish, open_engines
from pose3d_ros.camera import Camera
from pose3d_ros.crop import box_of_joints
from pose3d_ros.engines.engine import Engine, EngineError
from pose3d_ros.models import Model, pipeline_models
from pose3d_ros.person import Frame, Person
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.body import Body, body_of, sized
from pose3d_ros.stages.depth import joint_depths, with_depth
from pose3d_ros.stages.find import Finder, without_overlaps
from pose3d_ros.stages.ground import with_ground
from pose3d_ros.stages.lift import Lifted, Lifter
from pose3d_ros.stages.place import place
from pose3d_ros.stages.pose2d import Pose2D, PoseEstimator
from pose3d_ros.stages.track import Measurement, Track, Tracked, Tracker, TrackerConfig, distinct

Array = NDArray[np.float64]
Stage = TypeVar("Stage")

STAGES = ("find", "pose2d", "lift", "place", "track")

_BOX_SCORE = 0.3
"""Joints below this score do not shape the person's box."""
_LEAST_BOX_JOINTS = 4
_VISIBLE = 0.5
"""Probability from which on a joint is to be seen, so that the surface there is the joint's."""
_ZOOMS = (1.0, 0.8, 0.64)
"""Of the finder's boxes, which are rather large than small."""
_SURE_SCORE = 0.5
"""Mean score of the joints from which on the person's crop is taken to be right."""


@dataclass(frozen=True)
class PipelineSettings:
    """How the pipeline works. Raises ValueError naming the setting, its value and what it may be.

    threads: CPU threads of a network. backend, precision: what runs the networks, see pose3d_ros.backend.
    max_people: most people in a frame.
    score_threshold: least confidence that a thing is a person, of the finder and of its joints, 0...1.
    new_person_threshold: the same of somebody who was not there before, not less: things that look a little like a
    person shall not come and go. visible_threshold: least score of a joint that counts as visible.
    smoothing: how calm the joints are over time; divides the accelerations that people are believed capable of.
    find_every_n_frames: how often the whole image is searched while everybody known is in view.
    track_timeout_s: how long a person who is not seen is carried on.
    """

    threads: int = 2
    backend: str = "auto"
    precision: str = "auto"
    max_people: int = 6
    score_threshold: float = 0.3
    new_person_threshold: float = 0.5
    visible_threshold: float = TrackerConfig.visible_score
    smoothing: float = 1.0
    find_every_n_frames: int = 10
    track_timeout_s: float = 0.5

    def __post_init__(self) -> None:
        for name in ("threads", "max_people", "find_every_n_frames"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value}: it must be a whole number, 1 or more")
        for name, choices in (("backend", BACKENDS), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is '{getattr(self, name)}': it must be one of {', '.join(choices)}")
        for name in ("score_threshold", "new_person_threshold", "visible_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must lie between 0 and 1")
        if self.new_person_threshold < self.score_threshold:
            raise ValueError(
                f"new_person_threshold is {self.new_person_threshold}, below the score_threshold of "
                f"{self.score_threshold}: whoever is taken up would be given up in the next frame; change both together"
            )
        if not 0 < self.smoothing < float("inf"):
            raise ValueError(f"smoothing is {self.smoothing}: it must be more than 0")
        if not 0 <= self.track_timeout_s < float("inf"):
            raise ValueError(f"track_timeout_s is {self.track_timeout_s}: it must be 0 s or more")

    @property
    def wish(self) -> Wish:
        """How the networks shall run. The lifter is so small that sharing it among threads would only delay it."""
        return Wish(self.backend, self.precision, {"find": self.threads, "pose2d": self.threads, "lift": 1})


class Pipeline:
    """The whole way of a frame, with the state of the people it follows.

    models_dir: a folder with models.json; None for the package's own. engines: used instead, where they are open
    already; the pipeline closes them.
    timings_ms: milliseconds that each of STAGES took on the last frame. description: the networks and where they run.
    Raises EngineError when a network is missing, damaged, or not what its stage needs.
    """

    def __init__(
        self, models_dir: Path | None = None, settings: PipelineSettings | None = None, engines: Engines | None = None
    ) -> None:
        self.settings = settings or PipelineSettings()
        self._engines = engines or open_engines(pipeline_models(models_dir), self.settings.wish)
        loader = _Loader(self._engines.models, self._engines.by_role)
        try:
            self._finder = loader.load("find", Finder, _try_finder)
            self._poses = loader.load("pose2d", PoseEstimator, _try_poses)
            self._lifter = loader.load("lift", Lifter, _try_lifter)
        except EngineError:
            self._engines.close()
            raise
        told = ", ".join(f"{model.path.name} {model.short_hash}" for model in self._engines.models.values())
        self.description = f"{told}; {self._engines.about}"
        self._tracker = Tracker(_tracker_config(self.settings), self._lifter.state_size)
        self.timings_ms: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.reset()

    def change(self, settings: PipelineSettings) -> None:
        """Other settings from the next frame on; nobody is forgotten.

        Raises ValueError if the networks would have to run in another way.
        """
        if settings.wish != self.settings.wish:
            raise ValueError(
                "backend, precision and threads cannot be changed once the networks are loaded: make a new pipeline"
            )
        self.settings = settings
        self._tracker.config = _tracker_config(settings)

    def close(self) -> None:
        """Frees what the engines hold; the pipeline must not be used again."""
        self._engines.close()

    def reset(self) -> None:
        """Forgets everybody."""
        self._tracker.reset()
        self._last: Frame | None = None
        self._frames_since_find = self.settings.find_every_n_frames
        self._somebody_missing = False
        self._seen: dict[int, tuple[Array, float]] = {}
        self._tracked: list[Tracked] = []

    def process(self, frame: Frame) -> list[Person]:
        """The people in a frame, by id; also those who are carried on without being seen.

        A jump back in time resets, and so does an image of another size. Raises EngineError when a network fails.
        """
        last = self._last
        if last is not None and (frame.stamp_ns < last.stamp_ns or frame.image.shape != last.image.shape):
            self.reset()
        self._last = frame
        self.timings_ms = dict.fromkeys(STAGES, 0.0)
        with self._timed("track"):
            self._tracker.predict(frame.stamp_ns)
            self._tracker.end_outside(frame.image.shape[1], frame.image.shape[0])
            known = self._tracker.predicted_boxes()[: self.settings.max_people]
            sure = np.array([track.score.mean() >= _SURE_SCORE for track in self._tracker.tracks], bool)
        found = self._find(frame, known, known[sure[: len(known)]])
        with self._timed("pose2d"):
            boxes, pose = self._estimate(frame.image, known, found)
        with self._timed("track"):
            tracks = self._tracker.assign(boxes, pose.joints_px, pose.score)
            pose = _chosen(pose, self._tracker.believe(tracks, boxes, pose.candidates_px, pose.candidates_score))
            boxes = _boxes(pose, boxes)
        measured = self._measure(frame, boxes, pose, tracks)
        with self._timed("track"):
            self._tracked = self._tracker.update(tracks, measured)
            self._somebody_missing = any(track.row < 0 for track in self._tracker.tracks)
            self._remember(self._tracked, pose)
            return self._people(self._tracked)

    def ahead(self, stamp_ns: int) -> list[Person]:
        """The people of the last frame at a later time, if they go on as they do: predicted, with less certainty."""
        if self._last is None:
            return []
        return self._people(self._tracker.ahead(self._tracked, 1e-9 * (stamp_ns - self._last.stamp_ns)))

    def _find(self, frame: Frame, known: Array, sure: Array) -> Array:
        """Boxes [m, 4] of people that are not among the `sure` ones of the `known` boxes [n, 4], if it is time to look,
        or if the frame tells where people are.

        People of whom the joints tell little are looked for again: their crop may have slipped off them.
        """
        if frame.regions is not None:
            likely = frame.regions.scores >= self.settings.score_threshold
            return self._new_ones(frame.regions.boxes[likely], frame.regions.scores[likely], sure)
        self._frames_since_find += 1
        due = self._frames_since_find >= self.settings.find_every_n_frames
        if not (due or self._somebody_missing or not len(known)):
            return np.zeros((0, 4))
        with self._timed("find"):
            self._frames_since_find = 0
            return self._new_ones(*self._finder.find(frame.image, self.settings.score_threshold), sure)

    def _new_ones(self, boxes: Array, scores: Array, sure: Array) -> Array:
        """Of found boxes [n, 4] with their scores [n] those of people who are not among the `sure` boxes."""
        both = np.concatenate([sure, boxes])
        # Above every score of a finder: a followed person's own crop fits better than the finder's box.
        kept = without_overlaps(both, np.concatenate([np.full(len(sure), 2.0), scores]))
        return both[kept[kept >= len(sure)]][: self.settings.max_people]

    def _estimate(self, image: NDArray[np.uint8], known: Array, found: Array) -> tuple[Array, Pose2D]:
        """The people who are there: their boxes [n, 4] round their joints, and their joints."""
        pose = self._poses.estimate(image, np.concatenate([known, *(_zoomed(found, zoom) for zoom in _ZOOMS)]))
        boxes = np.concatenate([known, np.tile(found, (len(_ZOOMS), 1))])
        least = np.full(len(known), self.settings.score_threshold)
        if len(found):
            tries = _people(pose, len(known) + np.arange(len(_ZOOMS) * len(found)).reshape(len(_ZOOMS), -1))
            new = self._looked_again(image, found, tries)
            pose = _joined(_people(pose, np.arange(len(known))), new)
            boxes = np.concatenate([known, found])
            least = np.append(least, np.full(len(found), self.settings.new_person_threshold))
        boxes = _boxes(pose, boxes)
        kept = np.flatnonzero(pose.person_score >= least)
        kept = kept[distinct(boxes[kept], pose.joints_px[kept], pose.score[kept])]
        kept = np.sort(kept[without_overlaps(boxes[kept], pose.score[kept].mean(1))])[: self.settings.max_people]
        return boxes[kept], _people(pose, kept)

    def _looked_again(self, image: NDArray[np.uint8], found: Array, tries: Pose2D) -> Pose2D:
        """The best poses of new people: the finder's boxes [n, 4] are rough, so that several zooms are tried.

        tries: poses [zooms, n, …] of the finder's boxes. The best of each person asks for a crop of its own, which is
        taken if it is better still.
        """
        best = tries.score.mean(-1).argmax(0)
        first = Pose2D(*(values[best, np.arange(len(found))] for values in tries))
        second = self._poses.estimate(image, _boxes(first, found))
        better = second.score.mean(1) >= first.score.mean(1)
        return _people(_joined(first, second), np.arange(len(found)) + len(found) * better)

    def _measure(self, frame: Frame, boxes: Array, pose: Pose2D, tracks: list[Track]) -> Measurement:
        """Pixels to metres, where a calibration tells how."""
        camera, ground = frame.camera, frame.ground
        up = None if ground is None else ground.up
        if camera is None:
            return Measurement(boxes, pose.joints_px, pose.score)
        with self._timed("lift"):
            rays = camera.rays(pose.joints_px)
            jacobian = camera.ray_jacobian(pose.joints_px)
            cov = jacobian @ pose.cov_px @ np.swapaxes(jacobian, -1, -2)
            lifted = self._lifter(rays, cov, pose.score, self._tracker.states(tracks), up)
        with self._timed("place"):
            placed = place(lifted.joints_m, lifted.sigma_m, rays, cov, pose.score)
            body = body_of(placed, *self._tracker.sizes(tracks))
            if frame.depth_m is not None:
                body = self._with_depth(body, lifted, frame.depth_m, camera, pose)
            size, size_variance = body.size, body.size_variance  # of depth only: the ground may be a step
            if ground is not None:
                body = with_ground(body, lifted.joints_m, lifted.sigma_m, ground)
            joints_m, sigma_m = sized(lifted.joints_m, lifted.sigma_m, body)
        return Measurement(
            boxes,
            pose.joints_px,
            pose.score,
            joints_m,
            sigma_m,
            body.root_m,
            body.root_cov,
            body.root_noise_cov,
            lifted.state,
            size,
            size_variance,
        )

    def _with_depth(
        self, body: Body, lifted: Lifted, depth_m: NDArray[np.float32], camera: Camera, pose: Pose2D
    ) -> Body:
        """The people with root and size corrected by the surface before the joints that are visible."""
        seen = (pose.score >= self.settings.visible_threshold) & (pose.visible >= _VISIBLE)
        expected = body.root_m[:, 2:] + body.size[:, None] * lifted.joints_m[..., 2]
        depths = joint_depths(depth_m, pose.joints_px, pose.cov_px, seen, expected, float(camera.K[0, 0]))
        return with_depth(body, lifted.joints_m, lifted.sigma_m, depths)

    def _remember(self, tracked: list[Tracked], pose: Pose2D) -> None:
        """Keeps what was last seen of each person's picture."""
        seen = {
            track.id: (pose.cov_px[track.row], float(pose.person_score[track.row]))
            for track in tracked
            if track.row >= 0
        }
        self._seen = {track.id: seen.get(track.id) or self._seen[track.id] for track in tracked}

    def _people(self, tracked: list[Tracked]) -> list[Person]:
        return [
            Person(
                track.id,
                track.box,
                self._seen[track.id][1],
                track.joints_px,
                self._seen[track.id][0],
                track.score,
                track.joint_state,
                track.joints_m,
                track.joints_cov,
            )
            for track in tracked
        ]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.timings_ms[stage] += 1e3 * (time.perf_counter() - started)


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
    lifted = lifter(np.zeros((*joints, 2)), cov, np.ones(joints), lifter.new_state(2))
    shapes = ((*joints, 3), joints, (2, lifter.state_size))
    return all(values.shape == shape for values, shape in zip(lifted, shapes, strict=True))


def _tracker_config(settings: PipelineSettings) -> TrackerConfig:
    return TrackerConfig(
        timeout_s=settings.track_timeout_s,
        visible_score=settings.visible_threshold,
        root_acceleration=TrackerConfig.root_acceleration / settings.smoothing,
        joint_acceleration=TrackerConfig.joint_acceleration / settings.smoothing,
        box_margin=0.0,  # the crop already adds a margin round the person's box
    )


def _boxes(pose: Pose2D, otherwise: Array) -> Array:
    """The people's boxes [n, 4] round the joints that are likely right; `otherwise` [n, 4] where those are too few."""
    good = pose.score >= _BOX_SCORE
    boxes = otherwise.copy()
    for i in np.flatnonzero(good.sum(1) >= _LEAST_BOX_JOINTS):
        boxes[i] = box_of_joints(pose.joints_px[i][good[i]])
    return boxes


def _chosen(pose: Pose2D, belief: Array) -> Pose2D:
    """The poses with each joint's most believed candidate first, given beliefs [n, 24, k].

    Its score is the belief's share of the probability that any of the candidates is right.
    """
    order = np.argsort(-belief, axis=-1, kind="stable")
    score = np.minimum(belief * pose.candidates_score.sum(-1, keepdims=True), 1.0)
    return pose._replace(
        candidates_px=np.take_along_axis(pose.candidates_px, order[..., None], 2),
        candidates_cov=np.take_along_axis(pose.candidates_cov, order[..., None, None], 2),
        candidates_score=np.take_along_axis(score, order, 2),
    )


def _zoomed(boxes: Array, zoom: float) -> Array:
    """The boxes [n, 4] shrunk round their centres."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, zoom * (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([middle - half, middle + half], 1)


def _people(pose: Pose2D, rows: NDArray[np.intp]) -> Pose2D:
    """Some of the people, by row."""
    return Pose2D(*(values[rows] for values in pose))


def _joined(one: Pose2D, other: Pose2D) -> Pose2D:
    """The people of both."""
    return Pose2D(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))
