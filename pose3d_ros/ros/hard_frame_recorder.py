"""Keeps a camera's hard frames, if the parameters ask for it, in a thread of its own: the disk holds up no frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pose3d_ros.hard_frames import HardFrame, HardFrameFolder, HardFramePicker
from pose3d_ros.person import Frame, Person
from pose3d_ros.ros.worker import Worker

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from pose3d_ros.ros.parameter_declaration import Values

_LOG_THROTTLE_S = 30.0


class Recording(NamedTuple):
    """What became of the hard frames. problem: why the last one could not be written; empty if it could."""

    written: int
    lost: int
    problem: str


class HardFrameRecorder:
    """Works from `start` to `stop`. camera: its name, or empty. state: what it did so far."""

    def __init__(self, camera: str, logger: RcutilsLogger) -> None:
        self._camera = camera
        self._logger = logger
        self.state = Recording(0, 0, "")

    def start(self) -> None:
        """Begins anew."""
        self._picker = HardFramePicker()
        self._is_on = False
        self._worker: Worker[tuple[HardFrameFolder, HardFrame]] = Worker(self._write, "pose3d_hard_frames")

    def offer(
        self, values: Values, frame: Frame, people: Sequence[Person], drift: Sequence[str], networks: str
    ) -> None:
        """Keeps a frame, if it is hard and hard ones are wanted. networks: which ones found the people."""
        was_on, self._is_on = self._is_on, values["record_hard_frames"]
        if not self._is_on:
            return
        folder = HardFrameFolder(folder_of(values["hard_frames_dir"]), values["hard_frames_max_mb"])
        if not was_on:
            self._logger.warning(
                f"record_hard_frames is on: pictures of people are written to {folder.path}. They are personal data: "
                "tell the people, keep others from the folder, delete what is not needed (docs/privacy.md)"
            )
        if reasons := self._picker.reasons(frame.stamp_ns, people, drift):
            self._worker.put(frame.stamp_ns, (folder, HardFrame(frame, self._camera, people, reasons, networks)))

    def stop(self) -> None:
        """Takes no more frames."""
        self._worker.close()

    def join(self, timeout_s: float) -> bool:
        """Waits, after `stop`, for the frame in hand; False if that took longer."""
        return self._worker.join(timeout_s)

    def _write(self, items: list[tuple[HardFrameFolder, HardFrame]]) -> None:
        for folder, hard in items:
            written, lost, _ = self.state
            try:
                folder.write(hard)
                self.state = Recording(written + 1, lost, "")
            except Exception as error:  # whatever it is, the thread and the node live on
                self.state = Recording(written, lost + 1, f"hard frames cannot be written to {folder.path}: {error}")
                self._logger.warning(
                    f"{self.state.problem}; make room or set hard_frames_dir", throttle_duration_sec=_LOG_THROTTLE_S
                )


def folder_of(parameter: str) -> Path:
    """The folder that hard_frames_dir names."""
    if parameter:
        return Path(parameter).expanduser()
    return Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser() / "pose3d_hard_frames"
