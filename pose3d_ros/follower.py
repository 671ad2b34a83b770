"""One camera's people from frame to frame: what is asked of the networks, and what is made of their answers.

A frame's way is a generator: it yields a question for a network (`loaded_networks`), is sent the answer, and returns
the people. Whoever runs it may so put the questions of several cameras to a network in one batch; see `pipeline`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.camera import Camera
from pose3d_ros.loaded_networks import Lift, Locate, Search, Steps
from pose3d_ros.newcomers import LEAST_FOUND, Suspects, look_closely
from pose3d_ros.person import Frame, JointState, Person
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.stage_times import StageTimes
from pose3d_ros.stages.appearance import appearance
from pose3d_ros.stages.body import Body, body_of, sized, without_blur
from pose3d_ros.stages.depth import joint_depths, with_depth
from pose3d_ros.stages.find import without_overlaps
from pose3d_ros.stages.ground import with_ground
from pose3d_ros.stages.lift import Lifted
from pose3d_ros.stages.place import place
from pose3d_ros.stages.pose2d import Pose2D, joined
from pose3d_ros.stages.presence import presence, still_there
from pose3d_ros.stages.track import Measurement, Track, Tracked, Tracker, TrackerConfig, distinct, within

Array = NDArray[np.float64]

_VISIBLE = 0.5
"""Probability from which on a joint is to be seen, so that the surface there is the joint's."""
_SURE_SCORE = 0.5
"""Mean score of the joints from which on the person's crop is taken to be right."""
_DOUBTFUL, _DOUBTFUL_SHARE = 0.45, 1.5
"""Mean of still_there in the frames lately, and that over `score_threshold`, below which somebody is given up: most
things that look like people for a moment stay below."""
_NEW_SHARE = 0.1
"""Of the last frame in that mean."""
_SAME_CAMERA = 0.005
"""By how much a camera's focal length, its centre as a share of the image's width, and each coefficient of its
distortion (at 45 degrees off the axis, about a share of the ray) may change, as autofocus and stabilised lenses do."""


class _Seen(NamedTuple):
    """How somebody was last seen.

    cov_px: [24, 2, 2] of the joints. score: that it is a person. there: see still_there, the mean of the frames lately.
    """

    cov_px: Array
    score: float
    there: float


class Follower:
    """Follows the people of one camera; holds all that is known of them between frames."""

    def __init__(self, settings: PipelineSettings | None = None) -> None:
        self._settings = settings or PipelineSettings()
        self._tracker = Tracker(_tracker_config(self._settings))
        self.reset()

    @property
    def stamp_ns(self) -> int | None:
        """The time of the last frame; None before the first."""
        return None if self._last is None else self._last.stamp_ns

    def change(self, settings: PipelineSettings) -> None:
        """Other settings from the next frame on; nobody is forgotten.

        Raises ValueError if the networks would have to run in another way.
        """
        if settings.wish != self._settings.wish:
            raise ValueError(
                "backend, precision and threads cannot be changed once the networks are loaded: make a new pipeline"
            )
        self._settings = settings
        self._tracker.config = _tracker_config(settings)

    def reset(self) -> None:
        """Forgets everybody. Ids are counted anew from the next frame on, whose time `since_ns` is."""
        self._tracker.reset()
        self.since_ns = 0
        self._last: Frame | None = None
        self._camera: Camera | None = None  # by which the metres began
        self._frames_since_find = self._settings.find_every_n_frames
        self._somebody_missing = False
        self._seen: dict[int, _Seen] = {}
        self._tracked: list[Tracked] = []

    def follow(self, frame: Frame, times: StageTimes) -> Steps[list[Person]]:
        """The way of a frame: the people in it, by id; also those who are carried on without being seen.

        times: what the stages took here is added. A jump back in time resets, and so does an image of another size.
        Another calibration only makes the metres begin anew.
        """
        last = self._last
        if last is not None and (frame.stamp_ns < last.stamp_ns or frame.image.shape != last.image.shape):
            self.reset()
        if self._last is None:
            self.since_ns = frame.stamp_ns
        if not _same_camera(self._camera, frame.camera):
            self._tracker.forget_metres()
            self._camera = frame.camera
        self._last = frame
        with times.of("track"):
            self._tracker.predict(frame.stamp_ns)
            self._tracker.end_outside(frame.image.shape[1], frame.image.shape[0])
            known = self._tracker.predicted_boxes()[: self._settings.max_people]
            sure = np.array([track.score.mean() >= _SURE_SCORE for track in self._tracker.tracks], bool)
            doubt = self._doubt(len(known))
        found = yield from self._find(frame, known, known[sure[: len(known)]])
        boxes, pose = yield from self._estimate(frame.image, known, doubt, *found)
        with times.of("track"):
            looks = appearance(frame.image, pose.joints_px, pose.score)
            tracks = self._tracker.assign(boxes, pose.joints_px, pose.score, looks)
            pose = _chosen(pose, self._tracker.believe(tracks, boxes, pose.candidates_px, pose.candidates_score))
            boxes = pose.boxes(boxes)
        measured = yield from self._measure(frame, boxes, pose, tracks, times)
        with times.of("track"):
            self._tracked = self._tracker.update(tracks, measured)
            self._somebody_missing = any(track.row < 0 for track in self._tracker.tracks)
            self._remember(self._tracked, pose)
            return self._people(self._tracked)

    def ahead(self, stamp_ns: int) -> list[Person]:
        """The people of the last frame at a later time, if they go on as they do: predicted, with less certainty."""
        if self._last is None:
            return []
        return self._people(self._tracker.ahead(self._tracked, 1e-9 * (stamp_ns - self._last.stamp_ns)))

    def _find(self, frame: Frame, known: Array, sure: Array) -> Steps[tuple[Array, Array]]:
        """Boxes [m, 4] and scores [m] of what may be people who are not among the `sure` ones of the `known` boxes
        [n, 4], if it is time to look, or if the frame tells where people are.

        People of whom the joints tell little are looked for again: their crop may have slipped off them.
        """
        if frame.regions is not None:
            likely = frame.regions.scores >= self._settings.score_threshold
            return self._new_ones(frame.regions.boxes[likely], frame.regions.scores[likely], sure)
        self._frames_since_find += 1
        due = self._frames_since_find >= self._settings.find_every_n_frames
        if not (due or self._somebody_missing or not len(known)):
            return np.zeros((0, 4)), np.zeros(0)
        self._frames_since_find = 0
        boxes, scores = yield Search(frame.image, LEAST_FOUND)
        return self._new_ones(boxes, scores, sure)

    def _new_ones(self, boxes: Array, scores: Array, sure: Array) -> tuple[Array, Array]:
        """Of found boxes [n, 4] with their scores [n] those of people who are not among the `sure` boxes."""
        both = np.concatenate([sure, boxes])
        # Above every score of a finder: a followed person's own crop fits better than the finder's box.
        kept = without_overlaps(both, np.concatenate([np.full(len(sure), 2.0), scores]))
        new = (kept[kept >= len(sure)] - len(sure))[: self._settings.max_people]
        return boxes[new], scores[new]

    def _estimate(
        self, image: NDArray[np.uint8], known: Array, doubt: Array, found: Array, found_score: Array
    ) -> Steps[tuple[Array, Pose2D]]:
        """The people who are there: their boxes [n, 4] round their joints, and their joints.

        doubt: how far each of the `known` ones has to be told to be there.
        """
        pose: Pose2D = yield Locate(image, np.concatenate([known, found]))
        there = still_there(pose)[: len(known)] >= doubt
        if len(found):
            first = pose.people(np.arange(len(known), len(pose.score)))
            new = yield from look_closely(image, Suspects(found, found_score, first))
            pose = joined(pose.people(np.arange(len(known))), new.pose)
            found, there = new.boxes, np.append(there, self._are_people(new))
        boxes = pose.boxes(np.concatenate([known, found]))
        kept = np.flatnonzero(there & within(boxes, image.shape[1], image.shape[0]))
        kept = kept[distinct(boxes[kept], pose.joints_px[kept], pose.score[kept])]
        kept = np.sort(kept[without_overlaps(boxes[kept], pose.score[kept].mean(1))])[: self._settings.max_people]
        return boxes[kept], pose.people(kept)

    def _doubt(self, count: int) -> Array:
        """[count] what still_there has to say of each of the first tracks: with less its mean would become doubtful."""
        first = self._tracker.tracks[:count]
        means = np.array([self._seen[track.id].there if track.id in self._seen else 1.0 for track in first])
        threshold = self._settings.score_threshold
        least_mean = min(_DOUBTFUL, _DOUBTFUL_SHARE * threshold)
        return np.maximum((least_mean - (1 - _NEW_SHARE) * means) / _NEW_SHARE, threshold)

    def _are_people(self, new: Suspects) -> NDArray[np.bool_]:
        """[n] whether these are people, and would not be given up again in the next frame."""
        sure = presence(new.found_score, new.pose) >= self._settings.new_person_threshold
        return np.asarray(sure & (new.pose.person_score >= self._settings.score_threshold))

    def _measure(
        self, frame: Frame, boxes: Array, pose: Pose2D, tracks: list[Track], times: StageTimes
    ) -> Steps[Measurement]:
        """Pixels to metres, where a calibration tells how."""
        camera, ground = frame.camera, frame.ground
        if camera is None:
            return Measurement(boxes, pose.joints_px, pose.score)
        with times.of("lift"):
            rays, jacobian = camera.rays_with_jacobian(pose.joints_px)
            cov = jacobian @ pose.cov_px @ np.swapaxes(jacobian, -1, -2)
        up = None if ground is None else ground.up
        lifted: Lifted = yield Lift(rays, cov, pose.score, self._tracker.states(tracks), up)
        with times.of("place"):
            placed = place(lifted.joints_m, lifted.sigma_m, rays, cov, pose.score)
            body = without_blur(body_of(placed, *self._tracker.sizes(tracks)), boxes)
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
            lifted.states,
            size,
            size_variance,
        )

    def _with_depth(
        self, body: Body, lifted: Lifted, depth_m: NDArray[np.float32], camera: Camera, pose: Pose2D
    ) -> Body:
        """The people with root and size corrected by the surface before the joints that are visible."""
        seen = (pose.score >= self._settings.visible_threshold) & (pose.visible >= _VISIBLE)
        # By the usual size: what was learned of a person may be wrong, and these are to tell.
        expected = body.root_m[:, 2:] / body.size[:, None] + lifted.joints_m[..., 2]
        depths = joint_depths(depth_m, pose.joints_px, pose.cov_px, seen, expected, float(camera.K[0, 0]))
        return with_depth(body, lifted.joints_m, lifted.sigma_m, depths)

    def _remember(self, tracked: list[Tracked], pose: Pose2D) -> None:
        """Keeps what was last seen of each person's picture, also of those who are not shown just now."""
        there = still_there(pose)
        seen = self._seen | {
            track.id: _Seen(
                pose.cov_px[track.row],
                float(pose.person_score[track.row]),
                self._there(track.id, float(there[track.row])),
            )
            for track in tracked
            if track.row >= 0
        }
        self._seen = {track.id: seen[track.id] for track in self._tracker.tracks if track.id in seen}

    def _there(self, id_: int, now: float) -> float:
        """The mean of the frames lately, with this one."""
        before = self._seen[id_].there if id_ in self._seen else now
        return before + _NEW_SHARE * (now - before)

    def _people(self, tracked: list[Tracked]) -> list[Person]:
        assert self._last is not None
        return [
            Person(
                track.id,
                track.box,
                self._seen[track.id].score,
                track.joints_px,
                self._seen[track.id].cov_px,
                track.score,
                _state_within(track, self._last.image.shape),
                track.joints_m,
                track.joints_cov,
                track.joints_m_s,
            )
            for track in tracked
        ]


def _same_camera(one: Camera | None, other: Camera | None) -> bool:
    """Whether metres by the one go on with the other, both None or of images of one size."""
    if one is None or other is None or one is other:
        return one is other
    if one.model != other.model or one.distortion.shape != other.distortion.shape:
        return False
    focal = np.diag(other.K)[:2] / np.diag(one.K)[:2] - 1
    centre = (other.K[:2, 2] - one.K[:2, 2]) / one.width
    changes = np.concatenate([focal, centre, other.distortion - one.distortion])
    return bool((np.abs(changes) <= _SAME_CAMERA).all())


def _state_within(track: Tracked, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The joints' states [24]: outside the picture [h, w, …] none is visible, however sure it may be."""
    inside = ((track.joints_px >= -0.5) & (track.joints_px < np.array(shape[1::-1]) - 0.5)).all(-1)
    return np.where(inside, track.joint_state, np.maximum(track.joint_state, np.uint8(JointState.INFERRED)))


def _tracker_config(settings: PipelineSettings) -> TrackerConfig:
    return TrackerConfig(
        timeout_s=settings.track_timeout_s,
        visible_score=settings.visible_threshold,
        root_acceleration=TrackerConfig.root_acceleration / settings.smoothing,
        joint_acceleration=TrackerConfig.joint_acceleration / settings.smoothing,
        box_margin=0.0,  # the crop already adds a margin round the person's box
    )


def _chosen(pose: Pose2D, belief: Array) -> Pose2D:
    """The poses with each joint's most believed candidate first, given beliefs [n, 24, k].

    Its score is the belief's share of the probability that any of the candidates is right.
    """
    order = np.argsort(-belief, axis=-1, kind="stable")
    score = np.minimum(belief * pose.candidates_score.sum(-1, keepdims=True), 1.0)
    people, joints, _ = order.shape
    ordered = np.arange(people)[:, None, None], np.arange(joints)[:, None], order
    return pose._replace(
        candidates_px=pose.candidates_px[ordered],
        candidates_cov=pose.candidates_cov[ordered],
        candidates_score=score[ordered],
    )
