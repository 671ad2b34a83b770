"""The people of all cameras in one frame: those whom several see are one, with joints by all of them."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rclpy.time import Time
from std_msgs.msg import Header

from pose3d_ros.follower import Follower
from pose3d_ros.person import Person
from pose3d_ros.ros.diagnosis import fusion_finding
from pose3d_ros.ros.frame_tree import TF_TOLERANCE_S, FrameTree, TransformError
from pose3d_ros.ros.health import Finding
from pose3d_ros.ros.managed_node import ManagedNode
from pose3d_ros.ros.outputs import OutputOptions, PeopleOutputs
from pose3d_ros.ros.parameter_declaration import Values
from pose3d_ros.ros.people_conversion import people_with_metres
from pose3d_ros.ros.stamps import Stamp, kind_of
from pose3d_ros.ros.target_frame import place_at
from pose3d_ros.stages.fuse import Fuser

if TYPE_CHECKING:  # hri_msgs is not everywhere
    from pose3d_ros.ros.hri_outputs import HriOutputs

FUSED = "fused"
_UP = np.array([0.0, 0.0, 1.0])  # REP-103: of every frame but a camera's
_LOG_THROTTLE_S = 5.0
_TOGETHER_NS = 5_000_000
"""Images no farther apart are of the same time: a trigger's, or a simulator's."""
_SILENT_S = 1.0
"""A camera that brings nothing for so long does not say any more what time it is."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a camera saw last. since_ns: the time from which on it has counted ids."""

    follower: Follower
    frame_id: str
    since_ns: int
    stamp_ns: int
    people: list[Person]

    def at(self, stamp_ns: int) -> list[Person]:
        """Its people with metres, carried on to a time; how visible they are stays as it was in the image."""
        if stamp_ns <= self.stamp_ns:
            return people_with_metres(self.people)
        states = {person.id: person.joint_state for person in self.people}
        moved = people_with_metres(self.follower.ahead(stamp_ns))
        return [replace(person, joint_state=states[person.id]) for person in moved]


@dataclass(frozen=True)
class _Clock:
    """A camera's last stamp, the one before that (None: there was none), and when the last came, in real time."""

    stamp_ns: int
    before_ns: int | None
    came_s: float


class Fusion:
    """Publishes the people of all cameras at the time of the newest image; of images taken together once all are there.

    frame: in which they are fused. frames: how the cameras' frames lie in it. hri: publishes them as bodies too, where
    that is wanted.
    """

    def __init__(self, node: ManagedNode, frame: str, frames: FrameTree, hri: HriOutputs | None) -> None:
        self._node, self._frame, self._frames, self._hri = node, frame, frames, hri
        self._outputs = PeopleOutputs(node, FUSED)
        self.restart()

    def restart(self) -> None:
        """Forgets everybody, and the cameras' times."""
        self._clocks: dict[str, _Clock] = {}
        self._begin_anew()

    def wanted(self, values: Values) -> bool:
        """Whether anybody listens to what comes out."""
        return self._outputs.wanted(_options(values))

    def update(self, stamp_ns: int, seen: Mapping[str, Seen | None], values: Values) -> None:
        """Publishes what comes of what each camera, by name, saw last, at the newest image's time. Never raises."""
        try:
            self._update(stamp_ns, seen, values)
        except Exception as error:
            if self._node.context.ok():  # else the node is being shut down under our feet
                self._node.get_logger().error(f"fusion failed: {error!r}", throttle_duration_sec=_LOG_THROTTLE_S)

    def finding(self) -> Finding:
        """How it went last time."""
        return fusion_finding(self._frame, *self._figures, self._left_out)

    def clear(self) -> None:
        """Takes what was shown out of RViz."""
        self._outputs.clear(Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame))

    def destroy(self) -> None:
        """Ends the publishers."""
        self._outputs.destroy()

    def _begin_anew(self) -> None:
        self._fuser = Fuser()
        self._left_out: dict[str, str] = {}
        self._figures = (0, 0)
        self._jumped = False  # a camera's time has jumped back, since the last of all
        self._last_ns: int | None = None  # the newest image's
        self._is_due = False  # of that nothing has been published yet

    def _update(self, stamp_ns: int, seen: Mapping[str, Seen | None], values: Values) -> None:
        self._note({name: last.stamp_ns for name, last in seen.items() if last is not None})
        kind = kind_of(stamp_ns, self._last_ns)
        if kind is Stamp.JUMP_BACK and (self._jumped or self._leader_is_silent()):
            self._begin_anew()
            kind = Stamp.NEW
        if kind is Stamp.NEW:
            self._last_ns, self._is_due = stamp_ns, True
        # Else another camera is ahead, and has spoken for this one, or waits for it.
        if self._last_ns is None or not self._is_due or self._more_comes():
            return
        self._is_due = False
        self._publish(self._last_ns, seen, values)

    def _note(self, stamps: Mapping[str, int]) -> None:
        now_s = time.monotonic()
        for name, stamp_ns in stamps.items():
            known = self._clocks.get(name)
            if known is None or stamp_ns < known.stamp_ns:
                self._jumped |= known is not None
                self._clocks[name] = _Clock(stamp_ns, None, now_s)
            elif stamp_ns > known.stamp_ns:
                self._clocks[name] = _Clock(stamp_ns, known.stamp_ns, now_s)

    def _leader_is_silent(self) -> bool:
        """Has the camera of the newest image gone? If its clock was ahead, the others would wait for that to pass."""
        return time.monotonic() - max((clock.came_s for clock in self._leaders()), default=0.0) > _SILENT_S

    def _more_comes(self) -> bool:
        """Is there a camera whose last image was taken together with the one before the newest?"""
        before = [clock.before_ns for clock in self._leaders() if clock.before_ns is not None]
        return any(abs(clock.stamp_ns - ns) <= _TOGETHER_NS for ns in before for clock in self._clocks.values())

    def _leaders(self) -> list[_Clock]:
        return [clock for clock in self._clocks.values() if clock.stamp_ns == self._last_ns]

    def _publish(self, stamp_ns: int, seen: Mapping[str, Seen | None], values: Values) -> None:
        usable: dict[Hashable, list[Person]] = {}
        left_out: dict[str, str] = {}
        for name, last in seen.items():
            try:
                # Ids that were counted anew are those of other people.
                if last is not None:
                    usable[name, last.since_ns] = self._in_frame(last, stamp_ns, values["max_prediction_s"])
                else:
                    left_out[name] = "no image yet"
            except TransformError as error:
                left_out[name] = str(error)
        people = self._fuser.fuse(usable)
        self._left_out, self._figures = left_out, (len(people), len(usable))
        header = Header(stamp=Time(nanoseconds=stamp_ns).to_msg(), frame_id=self._frame)
        self._outputs.publish_transforms(header, people, _options(values))
        self._outputs.publish(header, people, _options(values), _UP)
        if self._hri is not None:
            self._hri.publish(header, people)

    def _in_frame(self, last: Seen, stamp_ns: int, longest_s: float) -> list[Person]:
        age_s = 1e-9 * (stamp_ns - last.stamp_ns)
        if abs(age_s) > longest_s:
            raise TransformError(f"its last image is {age_s:.2f} s from the newest, max_prediction_s is {longest_s:g}")
        motion = self._frames.motion(self._frame, last.frame_id, last.stamp_ns, TF_TOLERANCE_S)
        place = place_at(self._frames, self._frame, last.frame_id, last.stamp_ns, motion)
        return list(place.people(last.at(stamp_ns), max(age_s, 0.0)))


def _options(values: Values) -> OutputOptions:
    return OutputOptions(values["publish_markers"], values["publish_tf"], f"{FUSED}_{values['tf_prefix']}")
