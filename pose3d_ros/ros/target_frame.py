"""The frame in which people are published: the camera's, or another that TF knows at the image's time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from std_msgs.msg import Header

from pose3d_ros.person import Person
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.frame_tree import AT_HOME, TF_TOLERANCE_S, Array, FrameTree, Motion, TransformError
from pose3d_ros.ros.health import Finding, Level
from pose3d_ros.stages.fuse import in_frame

_FAILURES_UNTIL_IMPATIENT = 3
_WAIT_PERIOD_S = 1.0
_DRIFT_S = 0.1
"""Over so long a camera's own motion is measured."""
_UP_IN_THE_CAMERA = np.array([0.0, -1.0, 0.0])


class Place(NamedTuple):
    """A frame, the way from the camera's to it at an image's time, and the way there was `_DRIFT_S` before."""

    frame_id: str
    motion: Motion
    before: Motion

    def header(self, header: Header) -> Header:
        """A header of the camera's frame, for this one."""
        return Header(stamp=header.stamp, frame_id=self.frame_id)

    def people(self, people: Sequence[Person], ahead_s: float = 0.0) -> Sequence[Person]:
        """People of the camera's frame, in this one. ahead_s: by how much they are carried on from the image's time."""
        if self.motion is AT_HOME:
            return people
        return [p if p.joints_m is None else self._moved(p, p.joints_m, ahead_s) for p in people]

    @property
    def up(self) -> Array:
        """[3] where the top of the picture is."""
        return np.asarray(self.motion.turn.apply(_UP_IN_THE_CAMERA))

    def _moved(self, person: Person, joints_m: Array, ahead_s: float) -> Person:
        """Who stands still before a moving camera moves in its frame, and so far only in that."""
        there = in_frame(person, self.motion.turn.as_matrix(), self.motion.shift)
        if there.joints_m is None or there.joints_m_s is None:
            return there
        drift_m_s = (there.joints_m - self.before.apply(joints_m)) / _DRIFT_S
        return replace(there, joints_m=there.joints_m + ahead_s * drift_m_s, joints_m_s=there.joints_m_s + drift_m_s)


def place_at(frames: FrameTree, frame_id: str, camera: str, stamp_ns: int, motion: Motion) -> Place:
    """The place of an image of a camera's frame in another one, given the way there at its time."""
    try:
        before = frames.motion(frame_id, camera, stamp_ns - round(1e9 * _DRIFT_S), TF_TOLERANCE_S)
    except TransformError:  # TF has only just begun
        before = motion
    return Place(frame_id, motion, before)


class TargetFrame:
    """Finds the place of each image; counts the images of which there is none.

    name: of the target frame; empty: the camera's own. frames: what TF knows; not used for the camera's own.
    """

    def __init__(self, name: str, frames: FrameTree | None) -> None:
        self._name = name
        self._frames = frames
        self._placed = self._withheld = self._told = 0
        self._reason = ""
        self._failures = 0  # one after the other
        self._wait_again_s = 0.0  # of time.monotonic()

    def place(self, header: Header, timeout_s: float) -> Place | None:
        """The target frame at an image's time; None if TF does not know it after timeout_s of real time.

        After some failures only one image in a second is waited for: other cameras wait as long.
        """
        if self._frames is None or header.frame_id == self._name:
            self._placed += 1
            return Place(header.frame_id, AT_HOME, AT_HOME)
        try:
            place = self._place(self._frames, header, timeout_s if self._may_wait() else 0.0)
        except TransformError as error:
            self._withheld += 1
            self._failures += 1
            self._reason = str(error)
            return None
        self._placed += 1
        self._failures = 0
        return place

    def findings(self) -> list[Finding]:
        """What there is to say since the last call; nothing of the camera's own frame."""
        if self._frames is None:
            return []
        withheld, self._told = self._withheld - self._told, self._withheld
        values = {
            "target_frame": self._name,
            "placed": str(self._placed),
            "withheld": str(self._withheld),
            "last_reason": self._reason,
        }
        if withheld:
            text = f"joints and markers of {withheld} images were withheld, for want of {self._name}: {self._reason}"
            return [Finding("target_frame", Level.WARN, text, values)]
        return [Finding("target_frame", Level.OK, f"joints and markers are in {self._name}", values)]

    def _may_wait(self) -> bool:
        if self._failures < _FAILURES_UNTIL_IMPATIENT:
            return True
        now = time.monotonic()
        if now < self._wait_again_s:
            return False
        self._wait_again_s = now + _WAIT_PERIOD_S
        return True

    def _place(self, frames: FrameTree, header: Header, timeout_s: float) -> Place:
        if not header.frame_id:
            raise TransformError("the images have no frame_id: set the driver's frame_id")
        stamp_ns = stamp_to_ns(header.stamp)
        motion = frames.wait_for_motion(self._name, header.frame_id, stamp_ns, timeout_s)
        return place_at(frames, self._name, header.frame_id, stamp_ns, motion)
