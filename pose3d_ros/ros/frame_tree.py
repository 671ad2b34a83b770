"""Where frames are to each other, from TF messages, without tf2_ros (which no wheel brings). Knows no rclpy."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.stamps import LATE_NS

if TYPE_CHECKING:
    from tf2_msgs.msg import TFMessage

Array = NDArray[np.float64]

_MOST_MOVING = 50_000  # transforms in all: what comes at any rate, and names that come and go, must not fill the memory
TF_TOLERANCE_S = 0.5
"""How far a moving transform may lie from the time that is asked for, where the nearest one will do."""


class TransformError(ValueError):
    """There is no transform between two frames at that time; the message says where the chain ends, and why."""


class Motion(NamedTuple):
    """From one frame to another: x' = turn x + shift, metres."""

    turn: Rotation
    shift: Array

    def after(self, first: Motion) -> Motion:
        """The first, then this one."""
        return Motion(self.turn * first.turn, self.turn.apply(first.shift) + self.shift)

    def apply(self, points_m: Array) -> Array:
        """Points [..., 3], metres, in the other frame."""
        return np.asarray(points_m @ self.turn.as_matrix().T + self.shift)

    def inverse(self) -> Motion:
        """The way back."""
        back = self.turn.inv()
        return Motion(back, -back.apply(self.shift))


AT_HOME = Motion(Rotation.identity(), np.zeros(3))


class _Edge(NamedTuple):
    """From a frame's coordinates to its parent's. Plain numbers: most edges are never asked for."""

    parent: str
    quaternion_xyzw: tuple[float, ...]
    translation_m: tuple[float, ...]
    stamp_ns: int

    @property
    def motion(self) -> Motion:
        return Motion(Rotation.from_quat(self.quaternion_xyzw), np.array(self.translation_m))


class FrameTree:
    """Keeps the transforms of every frame over time. Thread-safe: one thread may wait for what another one takes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._static: dict[str, _Edge] = {}
        self._moving: dict[str, deque[_Edge]] = {}  # by child, ordered by stamp
        self._order: deque[str] = deque()  # the children of the moving ones, as they came
        self._cleared: Counter[str] = Counter()  # of those, by child: how many stand for transforms that are gone

    def take(self, message: TFMessage, static: bool) -> None:
        """Takes all transforms of a message of /tf, or of /tf_static."""
        for transform in message.transforms:
            turn, shift = transform.transform.rotation, transform.transform.translation
            stamp_ns = None if static else stamp_to_ns(transform.header.stamp)
            parent, child = transform.header.frame_id, transform.child_frame_id
            self.put(parent, child, (turn.x, turn.y, turn.z, turn.w), stamp_ns, (shift.x, shift.y, shift.z))

    def put(
        self,
        parent: str,
        child: str,
        quaternion_xyzw: tuple[float, ...],
        stamp_ns: int | None,
        translation_m: tuple[float, ...] = (0.0, 0.0, 0.0),
    ) -> None:
        """Takes a transform. stamp_ns: None if it is static. One without a rotation (all zeros, NaN) is left out.

        A frame is static or moves, as its last transform says. A slash before a name counts for nothing, as in tf2.
        """
        if not (1e-6 < np.linalg.norm(quaternion_xyzw) < np.inf and np.isfinite(translation_m).all()):
            return
        child = child.removeprefix("/")
        edge = _Edge(parent.removeprefix("/"), quaternion_xyzw, translation_m, stamp_ns or 0)
        with self._changed:
            if stamp_ns is None:
                self._static[child] = edge
            else:
                self._static.pop(child, None)
                self._put_moving(child, edge)
            self._changed.notify_all()

    def rotation(self, target: str, source: str, stamp_ns: int, max_age_s: float) -> Rotation:
        """Turns vectors in `source`'s axes into `target`'s; raises TransformError as `motion` does."""
        return self.motion(target, source, stamp_ns, max_age_s).turn

    def motion(self, target: str, source: str, stamp_ns: int, tolerance_s: float = 0.0) -> Motion:
        """From coordinates in `source` to those in `target` at a time, interpolated between the transforms around it.

        Raises TransformError if the frames are not connected, or only through a transform that has none before, or
        none after that time; where the nearest one is within the tolerance, that is taken instead.
        """
        with self._changed:
            of_target, of_source = (
                self._to_ancestors(name.removeprefix("/"), stamp_ns, tolerance_s) for name in (target, source)
            )
        shared = next((name for name in of_source.motions if name in of_target.motions), None)
        if shared is None:
            raise TransformError(of_source.obstacle or of_target.obstacle or _not_connected(of_target, of_source))
        return of_target.motions[shared].inverse().after(of_source.motions[shared])

    def wait_for_motion(self, target: str, source: str, stamp_ns: int, timeout_s: float) -> Motion:
        """The `motion` as soon as it is known; raises TransformError if it is not within timeout_s of real time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                try:
                    return self.motion(target, source, stamp_ns)
                except TransformError:
                    if not self._changed.wait(deadline - time.monotonic()):
                        raise

    def _put_moving(self, child: str, edge: _Edge) -> None:
        edges = self._moving.setdefault(child, deque())
        if edges and (edges[-1].parent != edge.parent or edge.stamp_ns < edges[-1].stamp_ns - LATE_NS):
            self._cleared[child] += len(edges)
            edges.clear()
        place = len(edges)
        while place and edges[place - 1].stamp_ns > edge.stamp_ns:
            place -= 1
        edges.insert(place, edge)
        self._order.append(child)
        if len(self._order) > _MOST_MOVING:
            self._forget_one(self._order.popleft())

    def _forget_one(self, child: str) -> None:
        # A child's cleared ones are older than all it has now.
        if self._cleared[child]:
            self._cleared[child] -= 1
            if not self._cleared[child]:
                del self._cleared[child]  # names come and go
            return
        edges = self._moving.get(child)
        if edges:
            edges.popleft()
        if not edges:
            self._moving.pop(child, None)

    def _to_ancestors(self, frame: str, stamp_ns: int, tolerance_s: float) -> _Ancestors:
        motions = {frame: AT_HOME}
        name = frame
        while True:
            try:
                found = self._to_parent(name, stamp_ns, tolerance_s)
            except TransformError as error:
                return _Ancestors(motions, str(error))
            if found is None or found[0] in motions:
                return _Ancestors(motions, "")
            parent, motion = found
            motions[parent] = motion.after(motions[name])
            name = parent

    def _to_parent(self, name: str, stamp_ns: int, tolerance_s: float) -> tuple[str, Motion] | None:
        """A frame's parent and the way to it; None if it has none."""
        if static := self._static.get(name):
            return static.parent, static.motion
        edges = self._moving.get(name)
        if not edges:
            return None
        parent = edges[-1].parent
        later = None
        for edge in reversed(edges):
            if edge.stamp_ns <= stamp_ns:
                break
            later = edge
        if edge.stamp_ns == stamp_ns:
            return parent, edge.motion
        if later is not None and later is not edge:
            return parent, _between(edge, later, stamp_ns)
        gap_s = 1e-9 * (edge.stamp_ns - stamp_ns)  # to the newest, if all are older; to the oldest, if all are newer
        if abs(gap_s) > tolerance_s:
            which = "oldest" if gap_s > 0 else "newest"
            raise TransformError(
                f"the TF from {name} to {parent} is not within {tolerance_s:g} s of the stamp: "
                f"the {which} is {abs(gap_s):.3f} s {'newer' if gap_s > 0 else 'older'}"
            )
        return parent, edge.motion


class _Ancestors(NamedTuple):
    """The ways from a frame to itself and each ancestor. obstacle: why there are no more; empty at the root."""

    motions: dict[str, Motion]
    obstacle: str


def _not_connected(of_target: _Ancestors, of_source: _Ancestors) -> str:
    target, source = list(of_target.motions), list(of_source.motions)
    return f"no TF between {source[0]} (which ends at {source[-1]}) and {target[0]} (at {target[-1]})"


def _between(earlier: _Edge, later: _Edge, stamp_ns: int) -> Motion:
    share = (stamp_ns - earlier.stamp_ns) / (later.stamp_ns - earlier.stamp_ns)
    begin, end = earlier.motion, later.motion
    turned: ArrayLike = share * (begin.turn.inv() * end.turn).as_rotvec()
    return Motion(begin.turn * Rotation.from_rotvec(turned), (1 - share) * begin.shift + share * end.shift)
