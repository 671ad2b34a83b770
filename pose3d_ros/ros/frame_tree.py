"""Where frames are and how they are turned, from TF messages, without tf2_ros (which no wheel brings) and rclpy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pose3d_ros.ros.camera_conversion import stamp_to_ns

if TYPE_CHECKING:
    from tf2_msgs.msg import TFMessage

Array = NDArray[np.float64]

_MOST_MOVING = 5000  # frames; names that come and go must not fill the memory


class TransformError(ValueError):
    """Two frames are not connected; the message says where the chain ends."""


class Transform(NamedTuple):
    """From one frame's coordinates to another's: x' = turn x + offset_m."""

    turn: Rotation
    offset_m: Array

    def after(self, first: Transform) -> Transform:
        """Both, `first` first."""
        return Transform(self.turn * first.turn, self.turn.apply(first.offset_m) + self.offset_m)

    def inverse(self) -> Transform:
        """The way back."""
        back = self.turn.inv()
        return Transform(back, -back.apply(self.offset_m))


class _Edge(NamedTuple):
    parent: str
    to_parent: Transform
    stamp_ns: int | None  # None: static


class FrameTree:
    """Keeps the newest transform of every frame. May be asked in another thread than is told."""

    def __init__(self) -> None:
        self._static: dict[str, _Edge] = {}
        self._moving: dict[str, _Edge] = {}
        self._lock = threading.Lock()

    def take(self, message: TFMessage, static: bool) -> None:
        """Takes all transforms of a message of /tf, or of /tf_static."""
        for transform in message.transforms:
            turn, offset = transform.transform.rotation, transform.transform.translation
            stamp_ns = None if static else stamp_to_ns(transform.header.stamp)
            parent, child = transform.header.frame_id, transform.child_frame_id
            quaternion = (turn.x, turn.y, turn.z, turn.w)
            self.put(parent, child, quaternion, stamp_ns, (offset.x, offset.y, offset.z))

    def put(
        self,
        parent: str,
        child: str,
        quaternion_xyzw: tuple[float, ...],
        stamp_ns: int | None,
        offset_m: tuple[float, ...] = (0.0, 0.0, 0.0),
    ) -> None:
        """Takes a transform. stamp_ns: None if it is static. One without a rotation (all zeros, NaN) is left out."""
        quaternion, offset = np.asarray(quaternion_xyzw, float), np.asarray(offset_m, float)
        if not (1e-6 < np.linalg.norm(quaternion) < np.inf and np.isfinite(offset).all()):
            return
        edge = _Edge(parent, Transform(Rotation.from_quat(quaternion), offset), stamp_ns)
        with self._lock:
            if stamp_ns is None:
                self._static[child] = edge
                return
            self._moving.pop(child, None)
            self._moving[child] = edge  # as the last of all
            if len(self._moving) > _MOST_MOVING:
                del self._moving[next(iter(self._moving))]

    def rotation(self, target: str, source: str, stamp_ns: int, max_age_s: float) -> Rotation:
        """Turns vectors in `source`'s axes into `target`'s; see `transform`."""
        return self.transform(target, source, stamp_ns, max_age_s).turn

    def transform(self, target: str, source: str, stamp_ns: int, max_age_s: float) -> Transform:
        """From `source`'s coordinates to `target`'s.

        Raises TransformError if the frames are not connected, or only through a transform that is not within
        max_age_s of the stamp.
        """
        with self._lock:
            of_target, of_source = (self._to_ancestors(name, stamp_ns, max_age_s) for name in (target, source))
        shared = next((name for name in of_source if name in of_target), None)
        if shared is None:
            raise TransformError(
                f"no TF between {source} (which ends at {list(of_source)[-1]}) and {target} (at {list(of_target)[-1]})"
            )
        return of_target[shared].inverse().after(of_source[shared])

    def _to_ancestors(self, frame: str, stamp_ns: int, max_age_s: float) -> dict[str, Transform]:
        """From the frame's coordinates to those of itself and of each ancestor."""
        ways = {frame: Transform(Rotation.identity(), np.zeros(3))}
        name = frame
        while (edge := self._static.get(name) or self._moving.get(name)) and edge.parent not in ways:
            if edge.stamp_ns is not None and abs(stamp_ns - edge.stamp_ns) > max_age_s * 1e9:
                raise TransformError(f"the TF from {name} to {edge.parent} is not within {max_age_s:g} s of the stamp")
            ways[edge.parent] = edge.to_parent.after(ways[name])
            name = edge.parent
        return ways
