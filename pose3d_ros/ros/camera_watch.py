"""Watches one camera: are its pictures well, and do the networks do well on them?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pose3d_ros.image_health import ImageMonitor
from pose3d_ros.model_health import ModelMonitor
from pose3d_ros.person import Frame, Person
from pose3d_ros.ros.hard_frame_recorder import HardFrameRecorder
from pose3d_ros.ros.health import Finding, Level

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from pose3d_ros.prepared_networks import PreparedNetworks
    from pose3d_ros.ros.parameter_declaration import Values


class CameraWatch:
    """Takes frames in the worker's thread, from `start` to `stop`; `findings` and `stats` may be called in any.

    camera: its name, or empty. networks: that work on its frames.
    """

    def __init__(self, camera: str, networks: PreparedNetworks, logger: RcutilsLogger) -> None:
        self._networks = networks
        self._pictures = ImageMonitor()
        self._people = ModelMonitor()
        self._recorder = HardFrameRecorder(camera, logger)

    def start(self) -> None:
        """Begins anew."""
        self._pictures.reset()
        self._people.reset()
        self._recorder.start()

    def look_at(self, frame: Frame, time_jumped: bool) -> None:
        """Takes a frame before it is worked on. time_jumped: what was seen before counts no more."""
        if time_jumped:
            self._pictures.reset()
            self._people.reset()
        self._pictures.note(frame.image, frame.stamp_ns)

    def note(self, frame: Frame, people: Sequence[Person], values: Values) -> None:
        """Takes what came of a frame. values: the node's parameters."""
        self._people.note(frame.stamp_ns, people, frame.camera, self._networks.reference)
        self._recorder.offer(values, frame, people, self._people.drift, self._networks.description)

    def stop(self) -> None:
        """Ends the recording of hard frames."""
        self._recorder.stop()

    def join(self, timeout_s: float) -> bool:
        """Waits, after `stop`, for the hard frame in hand; False if that took longer."""
        return self._recorder.join(timeout_s)

    def findings(self) -> list[Finding]:
        """The state of the pictures, `picture`, and of the networks on this camera's people, `people`."""
        return [self._picture_finding(), self._people_finding()]

    def stats(self) -> dict[str, Any]:
        """All figures, by the names that docs/ros_api.md gives."""
        look, figures = self._pictures.look, self._people.figures
        return {
            "picture": {
                **(look._asdict() if look else {}),
                "troubles": [trouble.name.lower() for trouble in self._pictures.troubles],
            },
            "people": {**figures._asdict(), "drift": list(self._people.drift)},
            "hard_frames": self._recorder.state._asdict(),
        }

    def _picture_finding(self) -> Finding:
        look, troubles = self._pictures.look, self._pictures.troubles
        values = {} if look is None else {name: f"{value:.3g}" for name, value in look._asdict().items()}
        values["troubles"] = " ".join(trouble.name.lower() for trouble in troubles)
        if troubles:
            return Finding("picture", Level.WARN, "; ".join(trouble.value for trouble in troubles), values)
        return Finding("picture", Level.OK, "nothing looked at yet" if look is None else "well", values)

    def _people_finding(self) -> Finding:
        figures, drift, recording = self._people.figures, self._people.drift, self._recorder.state
        values = {name: f"{value:.3g}" for name, value in figures._asdict().items()}
        values |= {f"hard_frames_{name}": str(value) for name, value in recording._asdict().items()}
        warnings = [*drift, *filter(None, [recording.problem])]
        if warnings:
            return Finding("people", Level.WARN, "; ".join(warnings), values)
        if not self._networks.reference:
            return Finding("people", Level.OK, "these networks have no reference: pose3d evaluate health", values)
        unknown = math.isnan(figures.mean_score)
        return Finding("people", Level.OK, "too few people to tell" if unknown else "as measured", values)
