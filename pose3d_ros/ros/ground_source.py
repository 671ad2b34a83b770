"""Where the ground is, seen from the camera: as parameters say, or TF."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pose3d_ros.person import Ground
from pose3d_ros.ros.frame_tree import TF_TOLERANCE_S, FrameTree, TransformError
from pose3d_ros.ros.parameter_declaration import Values


class GroundSource:
    """Tells the ground for each image. frames: TF, where `ground_frame` is set.

    problem: why the last image's ground was not known, empty if it was, or if nobody asked for it.
    """

    def __init__(self, frames: FrameTree | None, values: Callable[[], Values]) -> None:
        self._values = values
        self._frames = frames
        self.ground: Ground | None = None
        self.problem = ""

    @property
    def is_wanted(self) -> bool:
        """Whether parameters ask for the ground."""
        values = self._values()
        return bool(values["ground_frame"]) or values["camera_height_m"] > 0

    def ground_of(self, camera_frame: str, stamp_ns: int, values: Values) -> Ground | None:
        """The ground at an image's moment, by the parameters that hold for it; None if it is not known."""
        self.ground, self.problem = None, ""
        if values["ground_frame"]:
            try:
                self.ground = self._from_tf(values["ground_frame"], camera_frame, stamp_ns)
            except TransformError as error:
                self.problem = f"{error}: correct TF, or set ground_frame to a frame on the ground"
        elif values["camera_height_m"] > 0:
            self.ground = Ground.of_tilted_camera(values["camera_pitch_deg"], values["camera_height_m"])
        return self.ground

    def _from_tf(self, ground_frame: str, camera_frame: str, stamp_ns: int) -> Ground:
        """Raises TransformError where TF does not connect the two, or puts the camera into the ground."""
        assert self._frames is not None
        camera = self._frames.motion(ground_frame, camera_frame, stamp_ns, TF_TOLERANCE_S)
        if camera.shift[2] <= 0:
            raise TransformError(f"by TF, the camera is {-camera.shift[2]:.2f} m below {ground_frame}")
        if not np.isfinite(camera.shift).all():
            raise TransformError(f"by TF, the camera is infinitely far from {ground_frame}")
        return Ground(camera.turn.inv().apply(np.array([0.0, 0.0, 1.0])), float(camera.shift[2]))
