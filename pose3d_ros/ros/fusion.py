"""The people of all cameras in one frame: those whom several see are one, with joints by all of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rclpy.time import Time
from std_msgs.msg import Header

from pose3d_ros.follower import Follower
from pose3d_ros.person import Person
from pose3d_ros.ros.diagnosis import fusion_finding
from pose3d_ros.ros.frame_tree import FrameTree, TransformError
from pose3d_ros.ros.health import Finding
from pose3d_ros.ros.managed_node import ManagedNode
from pose3d_ros.ros.outputs import OutputOptions, PeopleOutputs
from pose3d_ros.ros.parameter_declaration import Values
from pose3d_ros.ros.people_conversion import people_with_metres
from pose3d_ros.ros.stamps import Stamp, kind_of
from pose3d_ros.stages.fuse import Fuser, in_frame

if TYPE_CHECKING:  # hri_msgs is not everywhere
    from pose3d_ros.ros.hri_outputs import HriOutputs

FUSED = "fused"
_UP = np.array([0.0, 0.0, 1.0])  # REP-103: of every frame but a camera's
_LOG_THROTTLE_S = 5.0
_TF_TOLERANCE_S = 0.5
"""How far a moving transform may lie from the image's stamp."""


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


class Fusion:
    """Publishes, after each batch of images, the people of all cameras at the time of its newest one.

    frame: in which they are fused. frames: how the cameras' frames lie in it. hri: publishes them as bodies too, where
    that is wanted.
    """

    def __init__(self, node: ManagedNode, frame: str, frames: FrameTree, hri: HriOutputs | None) -> None:
        self._node, self._frame, self._frames, self._hri = node, frame, frames, hri
        self._outputs = PeopleOutputs(node, FUSED)
        self._left_out: dict[str, str] = {}
        self._figures = (0, 0)
        self.restart()

    def restart(self) -> None:
        """Forgets everybody."""
        self._fuser = Fuser()
        self._last_ns: int | None = None
        self._last_of: dict[str, int] = {}

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

    def _update(self, stamp_ns: int, seen: Mapping[str, Seen | None], values: Values) -> None:
        stamps = {name: last.stamp_ns for name, last in seen.items() if last is not None}
        jumped = any(own_ns < self._last_of.get(name, own_ns) for name, own_ns in stamps.items())
        kind = kind_of(stamp_ns, self._last_ns)
        begins_anew = kind is Stamp.JUMP_BACK and jumped
        if begins_anew:
            self.restart()
        self._last_of |= stamps
        if not (begins_anew or kind is Stamp.NEW):  # another camera is ahead, and has spoken for this one
            return
        self._last_ns = stamp_ns
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
        way = self._frames.motion(self._frame, last.frame_id, last.stamp_ns, _TF_TOLERANCE_S)
        return [in_frame(person, way.turn.as_matrix(), way.shift) for person in last.at(stamp_ns)]


def _options(values: Values) -> OutputOptions:
    return OutputOptions(values["publish_markers"], values["publish_tf"], f"{FUSED}_{values['tf_prefix']}")
