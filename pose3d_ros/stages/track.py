"""Identity and time: detections to tracks with stable ids, and a Kalman filter per joint.

A frame goes through a `Tracker` in two steps, since the lifter needs each person's recurrent state before there is 3D:

    tracker.predict(stamp_ns)                                 # to this image's time; old tracks end
    tracks = tracker.assign(boxes, joints_px, score, looks)   # one track per detection, new ones begin
    belief = tracker.believe(tracks, boxes, places, scores)   # which of several places each joint is at
    lifted = …(rays, cov, score, tracker.states(tracks))      # the people of all cameras at once
    people = tracker.update(tracks, Measurement(...))         # all people to publish, also those not seen just now

Everything follows the images' stamps. The same detections give the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from pose3d_ros.crop import areas, iou
from pose3d_ros.engines.engine import Rows
from pose3d_ros.person import JointState
from pose3d_ros.skeleton import NUM_JOINTS, ROOT
from pose3d_ros.stages.appearance import remembered, unlikeness
from pose3d_ros.stages.choose import Belief, believe
from pose3d_ros.stages.place import SIZE_SD

Array = NDArray[np.float64]

_NS = 1e-9
_VISIBLE, _INFERRED, _PREDICTED = np.array([JointState.VISIBLE, JointState.INFERRED, JointState.PREDICTED], np.uint8)
_SAME_BOX_IOU = 0.7
_BESIDE_IOU = 0.1
"""From which overlap of two boxes on one of them may have the other's colours in it."""
_NEW_LOOK = 0.1
"""Share of one more look at somebody in what they are known to look like."""
_ALIKE, _UNLIKE = 10.0, 40.0
"""Differences of colour, of which the first is a person's own from frame to frame, and the second another person's."""
_LOOKS_WEIGHT, _SHARE_ALIKE = 0.5, 0.3
"""What looks count for in a match, and where between those two differences they speak neither for it nor against it."""
_SAME_LOOK = 12.0
"""Difference up to which somebody who was lost is known again."""
_REMEMBERED_S = 3.0
"""For how long they are."""
_NEAR_BY, _SPEED, _SAME_SIZE = 0.3, 0.8, 0.4
"""Where they may be then, in body heights and body heights a second, and how much larger or smaller (log)."""
_EDGE = 0.02
"""Width of the strips, as a share of the picture's."""
_LONGEST_GAP_S = 1.5
_LONGEST_MEMORY_S = 0.3
"""The lifter has learned from images no farther apart than some tenths of a second: what it remembers from before a
longer gap misleads it, and makes it too sure."""
_SURE = 0.5
"""Mean score of the joints from which on their motion is taken in full."""
_STEADY_S = 0.15
"""How long people keep their speed: over so long it is averaged."""
_SHORTEST_S = 0.02
"""Between two images of somebody who is taken for the same: a camera may be as slow as 1 Hz, or pause."""
_LEAST_SIZE_SD = 0.03
"""A person's size is not known better than this from one frame to the next: a lifter errs in it with the pose."""


@dataclass(frozen=True)
class TrackerConfig:
    """How tracks begin, go on and end, and how fast people may move."""

    min_hits: int = 1
    """Detections before a track is published."""
    timeout_s: float = 0.6
    """A track that was not seen for so long ends."""
    confirm_hits: int = 5
    """A track with fewer detections ends as soon as it is not seen: most of those are mistakes."""
    max_cost: float = 0.8
    """Largest cost of a match: half 1 − IoU, half pose distance over half the person's size (0...1)."""
    visible_score: float = 0.5
    """A joint with at least this score counts as visible, below as inferred."""
    root_acceleration: float = 6.0
    """m/s², one axis, standard deviation of the process noise of the root."""
    joint_acceleration: float = 30.0
    """m/s², likewise of the joints relative to the root; a punch reaches 100."""
    white_fraction: float = 0.3
    """Part of a measurement's variance that changes from frame to frame. The rest is taken as slow: it is not
    averaged away, and comes out in every covariance."""
    box_margin: float = 0.15
    """Growth of the predicted box on each side, as a fraction of its size."""


class Measurement(NamedTuple):
    """What the stages before found out about n detections; joints in skeleton order.

    boxes [n,4] x0, y0, x1, y1 and joints_px [n,24,2] in pixels, score [n,24] 0...1; and, with a calibrated camera,
    joints_m [n,24,3] root-relative metres, sigma_m [n,24] metres, root_m [n,3], root_cov and root_noise_cov [n,3,3]
    (`stages.place`; NaN roots count as not measured), states the lifter's new ones, size and size_variance [n]
    relative to people of usual size (`stages.body`).
    """

    boxes: Array
    joints_px: Array
    score: Array
    joints_m: Array | None = None
    sigma_m: Array | None = None
    root_m: Array | None = None
    root_cov: Array | None = None
    root_noise_cov: Array | None = None
    states: Rows | None = None
    size: Array | None = None
    size_variance: Array | None = None


class Tracked(NamedTuple):
    """One person to publish.

    joint_state: [24] of JointState. joints_m [24,3] metres in the camera frame, joints_cov [24,3,3] (the root's
    uncertainty included) and joints_m_s [24,3] m/s are None as long as there is no 3D measurement. row: which row of
    the measurement, -1 when the person was not seen in this frame.
    """

    id: int
    row: int
    age_s: float
    box: Array
    joints_px: Array
    score: Array
    joint_state: NDArray[np.uint8]
    joints_m: Array | None
    joints_cov: Array | None
    joints_m_s: Array | None


class PointFilter:
    """Constant-velocity Kalman filters of K points, driven by white acceleration noise.

    mean [K,2,3]: position and velocity. cov [K,2,2,D,D]: blocks of their covariance; D is 3, or 1 where all noise is
    the same along all axes, so that one number stands for a block.
    """

    _MAX_SPEED_SD = 3.0  # m/s, of a point at its first measurement
    _COASTING_TIME_S = 0.15  # nobody swings an arm for longer than this unseen
    _GATE = 3.0  # a residual beyond so many sigma is taken with a larger variance
    _NOT_MEASURED = 1e12  # m², variance

    def __init__(self, position: Array, noise: Array) -> None:
        """Points at a first measurement [K,3] with noise [K,D,D]."""
        count, self._one = len(position), np.eye(noise.shape[-1])
        self.mean = np.zeros((count, 2, 3))
        self.mean[:, 0] = position
        self.cov = np.zeros((count, 2, 2, *self._one.shape))
        self.cov[:, 0, 0] = noise
        self.cov[:, 1, 1] = self._MAX_SPEED_SD**2 * self._one

    @property
    def position(self) -> Array:
        """[K,3] metres."""
        return self.mean[:, 0].copy()

    @property
    def position_cov(self) -> Array:
        """[K,D,D] metres²."""
        return self.cov[:, 0, 0].copy()

    def predict(self, dt: float, acceleration: float, coasting: bool = False) -> None:
        """Move on by ``dt`` seconds; when ``coasting`` without measurements, the motion dies out.

        acceleration: m/s², one axis, standard deviation of the process noise.
        """
        if dt <= 0:
            return
        if coasting:
            self.mean[:, 1] *= np.exp(-dt / self._COASTING_TIME_S)
        self.mean[:, 0] += dt * self.mean[:, 1]
        self.cov[:, 0] += dt * self.cov[:, 1]  # F P Fᵀ with F = [1 dt; 0 1]: its rows, then its columns
        self.cov[:, :, 0] += dt * self.cov[:, :, 1]
        noise = acceleration**2 * np.array([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]])
        self.cov += noise[:, :, None, None] * self._one

    def correct(self, position: Array, noise: Array) -> None:
        """Take measurements [K,3] with covariances [K,D,D]; points whose measurement is not finite stay as predicted.

        A residual far outside its covariance enlarges the noise in proportion, so that one bad frame moves a joint
        little while a real change comes through within some frames.
        """
        good = np.asarray(np.isfinite(position).all(-1) & np.isfinite(noise).all((-1, -2)))
        noise = np.where(good[:, None, None], noise, self._NOT_MEASURED * self._one)
        residual = np.where(good[:, None], position - self.mean[:, 0], 0.0).reshape(len(noise), len(self._one), -1)
        inverse = np.linalg.inv(self.cov[:, 0, 0] + noise)
        distance = np.sqrt((residual * (inverse @ residual)).sum((-1, -2)) / 3)
        excess = np.maximum(distance / self._GATE, 1.0) ** 2
        wild = excess > 1
        if wild.any():
            inverse[wild] = np.linalg.inv(self.cov[wild, 0, 0] + noise[wild] * excess[wild, None, None])
        gain = self.cov[:, :, 0] @ inverse[:, None]  # [K,2,D,D]
        self.mean += (gain @ residual[:, None]).reshape(self.mean.shape)
        self.cov = self.cov - gain[:, :, None] @ self.cov[:, None, 0]


@dataclass(eq=False)
class Track:
    """One person over time. Its fields are the tracker's business; callers pass it back."""

    id: int
    born_ns: int
    seen_ns: int
    box: Array
    joints_px: Array
    score: Array
    state: ArrayLike | None = None
    """The lifter's, see engines.engine.Rows."""
    hits: int = 0
    row: int = -1
    coasting: bool = False
    """Was not seen in the last image, and moves on by itself."""
    is_placed: bool = False
    """Its root was measured in the last image that showed it."""
    looks: Array = field(default_factory=lambda: np.full((2, 3), np.nan))
    """See stages.appearance."""
    velocity_px: Array = field(default_factory=lambda: np.zeros(2))
    belief: Belief | None = None
    root: PointFilter | None = None
    joints: PointFilter | None = None
    size: float = 1.0
    size_variance: float = SIZE_SD**2
    slow_root_cov: Array = field(default_factory=lambda: np.zeros((3, 3)))
    slow_joint_variance: Array = field(default_factory=lambda: np.zeros(NUM_JOINTS))


def pose_distance(a_px: Array, a_score: Array, b_px: Array, b_score: Array, size_px: Array) -> Array:
    """Mean distance [n,m] of the joints of poses [n,24,2] and [m,24,2], weighted by both scores, over ``size_px`` [m].

    1 where the two share no joint.
    """
    weight = a_score[:, None] * b_score[None]
    distance = np.linalg.norm(a_px[:, None] - b_px[None], axis=-1)
    total = weight.sum(-1)
    mean = np.where(weight > 0, weight * distance, 0.0).sum(-1) / np.maximum(total, 1e-9)
    return np.where(total > 1e-3, mean / np.maximum(size_px, 1e-6)[None], 1.0)


def distinct(
    boxes: ArrayLike, joints_px: ArrayLike, score: ArrayLike, radius: float = 0.1, share: float = 0.4
) -> NDArray[np.bool_]:
    """Which of n detections [n] to keep: of two that are the same person, the better scored.

    They are when a `share` of their joints (weighted by both scores) lies within ``radius`` person sizes, however far
    apart a limb that one of them mistook may be, or when their boxes [n,4] are nearly the same.
    """
    box, joints, weight = (np.asarray(a, np.float64) for a in (boxes, joints_px, score))
    keep = np.ones(len(box), bool)
    if len(box) < 2:
        return keep
    both = weight[:, None] * weight[None]
    near = np.linalg.norm(joints[:, None] - joints[None], axis=-1) < radius * np.sqrt(areas(box))[:, None, None]
    same = (both * near).sum(-1) > share * np.maximum(both.sum(-1), 1e-3)
    same |= iou(box, box) > _SAME_BOX_IOU
    for i in np.argsort(-weight.sum(-1), kind="stable"):
        if keep[i]:
            others = same[i] | same[:, i]
            others[i] = False
            keep &= ~others
    return keep


def within(boxes: Array, width: int, height: int) -> NDArray[np.bool_]:
    """[...] whether boxes [..., 4] are seen in a picture of this size: strips at its left and right edge show nobody,
    though whoever has left is easily made up there."""
    strip = np.array([_EDGE * width, 0])
    return np.asarray(((boxes[..., 2:] > strip) & (boxes[..., :2] < [width, height] - strip)).all(-1))


def _looks_cost(unlike: Array) -> Array:
    """What looks add to the cost of a match [...]: less than nothing where they are the same, nothing where unknown."""
    ours = (np.clip(unlike, _ALIKE, _UNLIKE) - _ALIKE) / (_UNLIKE - _ALIKE) - _SHARE_ALIKE
    return np.where(np.isfinite(ours), _LOOKS_WEIGHT * ours, 0.0)


class Tracker:
    """Holds the tracks."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self._tracks: list[Track] = []
        self._lost: list[Track] = []
        self._next_id = 1
        self._now_ns: int | None = None

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The living tracks, oldest first."""
        return tuple(self._tracks)

    def reset(self) -> None:
        """Forget everything; ids begin at 1 again."""
        self._tracks = []
        self._lost = []
        self._next_id = 1
        self._now_ns = None

    def predict(self, stamp_ns: int) -> None:
        """Move all tracks to an image's time. A stamp before the last one resets the tracker."""
        if self._now_ns is not None and stamp_ns < self._now_ns:
            self.reset()
        dt = 0.0 if self._now_ns is None else (stamp_ns - self._now_ns) * _NS
        self._now_ns = stamp_ns
        before, self._tracks = self._tracks, [track for track in self._tracks if self._goes_on(track, stamp_ns)]
        lost = [t for t in before if t not in self._tracks and t.hits >= self.config.confirm_hits]
        self._lost = [t for t in [*self._lost, *lost] if stamp_ns - t.seen_ns <= _REMEMBERED_S / _NS]
        for track in self._tracks:
            track.coasting = track.hits > 0 and track.row < 0
            track.row = -1
            self._move(track, dt)

    def _goes_on(self, track: Track, stamp_ns: int) -> bool:
        """May somebody who was seen, or not, in the last image be seen in one at this time?"""
        if track.row >= 0 and stamp_ns - track.seen_ns <= _LONGEST_GAP_S / _NS:
            return True
        return self._is_carried_on(track, stamp_ns)

    def _is_carried_on(self, track: Track, stamp_ns: int) -> bool:
        return stamp_ns - track.seen_ns <= self.config.timeout_s / _NS and track.hits >= self.config.confirm_hits

    def end_outside(self, width: int, height: int) -> None:
        """Ends the tracks whose people have walked out of a picture of this size. Call after `predict`.

        Most of who is close lies below the picture, legs that it does not show included: people who were just seen have
        left when they are not `within` it, the others when the middle of their box has passed the left or right edge.
        """

        def is_inside(track: Track) -> bool:
            x0, y0, x1, y1 = track.box
            if track.coasting:
                return bool(0 < (x0 + x1) / 2 < width and y1 > 0 and y0 < height)
            return bool(within(track.box, width, height))

        self._tracks = [track for track in self._tracks if is_inside(track)]

    def predicted_boxes(self) -> Array:
        """Boxes [m,4] in pixels where the tracks' people should now be, with a margin: the crops of this frame."""
        if not self._tracks:
            return np.zeros((0, 4))
        boxes = np.stack([track.box for track in self._tracks])
        margin = self.config.box_margin * (boxes[:, 2:] - boxes[:, :2])
        return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)

    def assign(
        self, boxes: ArrayLike, joints_px: ArrayLike, score: ArrayLike, looks: ArrayLike | None = None
    ) -> list[Track]:
        """A track for each of n detections; new tracks begin for those that fit none. Call `predict` before.

        looks: [n,2,3] what they look like (`stages.appearance`), where that is known.
        """
        if self._now_ns is None:
            raise RuntimeError("call predict(stamp_ns) before assign")
        box, joints, weight = (np.asarray(a, np.float64) for a in (boxes, joints_px, score))
        look = np.full((len(box), 2, 3), np.nan) if looks is None else np.asarray(looks, np.float64)
        chosen: list[Track | None] = [None] * len(box)
        if len(box) and self._tracks:
            old = np.stack([t.box for t in self._tracks])
            distance = pose_distance(
                joints,
                weight,
                np.stack([t.joints_px for t in self._tracks]),
                np.stack([t.score for t in self._tracks]),
                np.sqrt(areas(old)),
            )
            cost = 0.5 * np.minimum(distance / 0.5, 1.0) + 0.5 * (1 - iou(box, old))
            cost += _looks_cost(unlikeness(look, np.stack([t.looks for t in self._tracks])))
            for i, k in zip(*linear_sum_assignment(cost), strict=True):
                if cost[i, k] <= self.config.max_cost:
                    chosen[i] = self._tracks[k]
        overlap = iou(box, box)
        np.fill_diagonal(overlap, 0)
        alone = overlap.max(1, initial=0) < _BESIDE_IOU
        tracks = []
        for i, known in enumerate(chosen):
            track = known or self._begin(box[i], joints[i], weight[i], self._known_again(box[i], look[i]))
            track.row = i
            if alone[i]:
                track.looks = remembered(track.looks, look[i], _NEW_LOOK)
            tracks.append(track)
        return tracks

    def believe(self, tracks: Sequence[Track], boxes: ArrayLike, places_px: ArrayLike, score: ArrayLike) -> Array:
        """How likely [n,24,k] each of the k candidates [n,24,k,2] is the joint, for the tracks that `assign` gave.

        score [n,24,k]: what this frame alone says; boxes [n,4] pixels. Call it once a frame.
        """
        box, places, scores = (np.asarray(a, np.float64) for a in (boxes, places_px, score))
        size = np.maximum((box[:, 2:] - box[:, :2]).max(1, initial=0), 1.0)
        for i, track in enumerate(tracks):
            dt = self._since_seen_s(track)
            track.belief = believe(places[i], scores[i], float(size[i]), track.belief, dt)
        return np.stack([t.belief.probability for t in tracks if t.belief is not None]) if tracks else scores

    def states(self, tracks: Sequence[Track]) -> Rows:
        """The lifter's state of each track; None where it has not been lifted yet, or not lately."""
        return [track.state if self._since_seen_s(track) <= _LONGEST_MEMORY_S else None for track in tracks]

    def forget_metres(self) -> None:
        """What was measured with another calibration is no measure any more; people keep their ids."""
        for track in [*self._tracks, *self._lost]:
            track.root = track.joints = track.state = None
            track.size, track.size_variance = 1.0, SIZE_SD**2

    def sizes(self, tracks: Sequence[Track]) -> tuple[Array, Array]:
        """What is known of the size [n] of the tracks' people, relative to the usual, and its variance [n]."""
        return np.array([track.size for track in tracks]), np.array([track.size_variance for track in tracks])

    def update(self, tracks: Sequence[Track], seen: Measurement) -> list[Tracked]:
        """Take the measurements of the tracks that `assign` gave, in its order; returns all people to publish, by id.

        People who were not seen come along as predicted until their timeout.
        """
        for i, track in enumerate(tracks):
            self._correct(track, seen, i)
        assert self._now_ns is not None  # since `predict`
        shown = [t for t in self._tracks if t.row >= 0 or self._is_carried_on(t, self._now_ns)]
        return [self._output(t) for t in shown if t.hits >= self.config.min_hits]

    def ahead(self, people: Sequence[Tracked], dt: float) -> list[Tracked]:
        """The people that `update` returned, ``dt`` seconds later if they go on as they do; no track is changed.

        All joints are predicted, and their covariances have grown.
        """
        ids = {person.id for person in people}
        moved = [deepcopy(track) for track in self._tracks if track.id in ids]
        for track in moved:
            track.coasting = track.row < 0
            self._move(track, dt)
            track.row = -1
        return [self._output(track) for track in moved]

    def _move(self, track: Track, dt: float) -> None:
        shift = track.velocity_px * dt
        track.joints_px = track.joints_px + shift
        track.box = track.box + np.concatenate([shift, shift])
        if track.belief is not None:
            track.belief = track.belief._replace(places_px=track.belief.places_px + shift)
        if track.root is not None:
            track.root.predict(dt, self.config.root_acceleration, track.coasting or not track.is_placed)
        if track.joints is not None:
            track.joints.predict(dt, self.config.joint_acceleration, track.coasting)

    def _since_seen_s(self, track: Track) -> float:
        assert self._now_ns is not None  # since `predict`
        return (self._now_ns - track.seen_ns) * _NS

    def _begin(self, box: Array, joints_px: Array, score: Array, before: Track | None) -> Track:
        """A new track; `before` is the one of the same person, whom nobody has seen since."""
        assert self._now_ns is not None
        if before is None:
            track = Track(self._next_id, self._now_ns, self._now_ns, box, joints_px, score)
            self._next_id += 1
        else:
            self._lost.remove(before)
            track = Track(before.id, before.born_ns, self._now_ns, box, joints_px, score, looks=before.looks)
            track.size, track.size_variance = before.size, before.size_variance
        self._tracks.append(track)
        return track

    def _known_again(self, box: Array, look: Array) -> Track | None:
        """Who was lost not far from there lately, and looks most like this."""
        best, least = None, _SAME_LOOK
        for track in self._lost:
            side = (track.box[2:] - track.box[:2]).max()
            moved = np.linalg.norm((box - track.box).reshape(2, 2).mean(0))
            may_be = moved <= (_NEAR_BY + _SPEED * self._since_seen_s(track)) * side
            same_size = abs(np.log((box[2:] - box[:2]).max() / max(side, 1e-6))) <= _SAME_SIZE
            unlike = float(unlikeness(look[None], track.looks[None])[0, 0])
            if may_be and same_size and unlike <= least:
                best, least = track, unlike
        return best

    def _correct(self, track: Track, seen: Measurement, i: int) -> None:
        assert self._now_ns is not None
        dt = self._since_seen_s(track)
        joints, box = np.asarray(seen.joints_px[i], np.float64), np.asarray(seen.boxes[i], np.float64)
        if track.hits and dt > 0:
            # track.joints_px is the prediction: what it missed by is the error of the velocity.
            weight = np.minimum(track.score, seen.score[i])
            total = weight.sum()
            if total > 1e-3:
                miss = weight @ (joints - track.joints_px) / total
                # Of stamps that nearly coincide a pixel would make thousands a second.
                gain = max(1 - np.exp(-dt / _STEADY_S), 1 / track.hits) * min(weight.mean() / _SURE, 1)
                track.velocity_px = track.velocity_px + gain * miss / max(dt, _SHORTEST_S)
        track.joints_px, track.box, track.score = joints, box, np.asarray(seen.score[i], np.float64)
        track.hits += 1
        track.seen_ns = self._now_ns
        if seen.states is not None:
            track.state = seen.states[i]
        if seen.size is not None and seen.size_variance is not None and np.isfinite(seen.size[i]):
            track.size = float(seen.size[i])
            track.size_variance = max(float(seen.size_variance[i]), _LEAST_SIZE_SD**2)
        if seen.joints_m is None:  # the calibration is gone: metres of before must not pass for seen
            track.root = track.joints = None
        elif seen.sigma_m is not None:
            self._correct_joints(track, np.asarray(seen.joints_m[i], np.float64), np.asarray(seen.sigma_m[i]))
        track.is_placed = seen.root_m is not None and bool(np.isfinite(seen.root_m[i]).all())
        if track.is_placed and seen.root_m is not None and seen.root_cov is not None:
            noise = seen.root_cov if seen.root_noise_cov is None else seen.root_noise_cov
            self._correct_root(track, seen.root_m[i], seen.root_cov[i], noise[i])

    def _correct_joints(self, track: Track, joints_m: Array, sigma_m: Array) -> None:
        variance = np.asarray(sigma_m, np.float64) ** 2
        white = self.config.white_fraction * variance[:, None, None]
        if track.joints is None:
            track.joints = PointFilter(joints_m, white)
        else:
            track.joints.correct(joints_m, white)
        track.slow_joint_variance = (1 - self.config.white_fraction) * variance

    def _correct_root(self, track: Track, root_m: Array, cov: Array, noise_cov: Array) -> None:
        white = self.config.white_fraction * noise_cov
        if track.root is None:
            track.root = PointFilter(root_m[None], white[None])
        else:
            track.root.correct(root_m[None], white[None])
        track.slow_root_cov = cov - white

    def _output(self, track: Track) -> Tracked:
        assert self._now_ns is not None
        if track.row < 0:
            state = np.full(NUM_JOINTS, _PREDICTED)
        else:
            state = np.where(track.score >= self.config.visible_score, _VISIBLE, _INFERRED)
        joints_m = joints_cov = joints_m_s = None
        if track.root is not None and track.joints is not None:
            motion = track.root.mean[0] + (track.joints.mean - track.joints.mean[ROOT])
            joints_m, joints_m_s = motion[:, 0], motion[:, 1]
            own = (track.joints.position_cov + track.slow_joint_variance[:, None, None]) * np.eye(3)
            own[ROOT] = 0.0
            joints_cov = own + track.root.position_cov[0] + track.slow_root_cov
        age_s = (self._now_ns - track.born_ns) * _NS
        place = (joints_m, joints_cov, joints_m_s)
        return Tracked(track.id, track.row, age_s, track.box, track.joints_px, track.score, state, *place)
