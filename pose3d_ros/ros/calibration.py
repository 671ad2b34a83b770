"""Which camera an image was taken with: from camera_info, from an assumed field of view, or unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.camera_check import implausibility
from pose3d_ros.camera_file import camera_for_image
from pose3d_ros.ros.camera_conversion import camera_from_info
from pose3d_ros.ros.health import Level

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

_NO_METRES = "only the 2D overlay is published, no metres"
_ADVICE = "set assumed_horizontal_fov_deg to go without"


class CalibrationState(NamedTuple):
    """Where the camera of the last image came from, in words."""

    level: Level
    text: str


class CalibrationKeeper:
    """Keeps the newest camera_info and finds the Camera for each image.

    `update` may be called from another thread than `camera_for`.
    """

    def __init__(self) -> None:
        self._info: CameraInfo | None = None
        self._converted: tuple[object, ...] | None = None
        self._camera: Camera | None = None
        self._problem = self._doubt = ""
        self._waiting_since_ns: int | None = None
        self.state = CalibrationState(Level.OK, "waiting for the first image")

    def update(self, info: CameraInfo) -> None:
        """Takes a camera_info message; the newest is the truth, also when it is worse than the one before."""
        self._info = info

    def restart_waiting(self) -> None:
        """Begins the time-out for camera_info anew, after time jumped."""
        self._waiting_since_ns = None

    def camera_for(
        self,
        width: int,
        height: int,
        stamp_ns: int,
        *,
        rectified: bool = False,
        assumed_fov_deg: float = 0.0,
        timeout_s: float = 2.0,
    ) -> Camera | None:
        """The camera of an image of width x height pixels taken at stamp_ns; None: nobody knows. Sets `state`.

        assumed_fov_deg: the horizontal field of view to go by where there is no usable camera_info; 0: none.
        timeout_s: how long, on the images' stamps, to wait for the first camera_info before going by it.
        """
        info = self._info
        if info is None:
            if self._waiting_since_ns is None:
                self._waiting_since_ns = stamp_ns
            waited_s = (stamp_ns - self._waiting_since_ns) * 1e-9
            if waited_s < timeout_s:
                self.state = CalibrationState(Level.OK, "waiting for camera_info")
                return None
            return self._assumed(width, height, assumed_fov_deg, f"no camera_info came for {timeout_s:g} s of images")
        try:
            camera = camera_for_image(self._convert(info, rectified), width, height)
        except CameraError as error:
            return self._assumed(width, height, assumed_fov_deg, f"camera_info cannot be used: {error}")
        scaled = "" if (camera.width, camera.height) == (info.width, info.height) else ", fitted to the image's size"
        text = f"calibrated, {camera.model} {width}x{height}{scaled}"
        if self._doubt:
            self.state = CalibrationState(Level.WARN, f"{text}, but implausible: {self._doubt}")
        else:
            self.state = CalibrationState(Level.OK, text)
        return camera

    def _convert(self, info: CameraInfo, rectified: bool) -> Camera:
        """The message's camera, converted again only when the message says something new."""
        content = (rectified, _content(info))
        if content != self._converted:
            self._camera, self._problem, self._doubt, self._converted = None, "", "", content
            try:
                self._camera = camera_from_info(info, rectified)
                self._doubt = implausibility(self._camera)
            except CameraError as error:
                self._problem = str(error)
        if self._camera is None:
            raise CameraError(self._problem)
        return self._camera

    def _assumed(self, width: int, height: int, fov_deg: float, why: str) -> Camera | None:
        if fov_deg <= 0:
            self.state = CalibrationState(Level.WARN, f"{why}; {_NO_METRES}; {_ADVICE}")
            return None
        self.state = CalibrationState(
            Level.WARN, f"{why}; a horizontal field of view of {fov_deg:g} degrees is assumed, so metres are rough"
        )
        return Camera.from_horizontal_fov(width, height, fov_deg)


def _content(info: CameraInfo) -> tuple[object, ...]:
    """All that the camera depends on, comparable bit for bit (NaN included)."""
    roi = info.roi
    numbers = np.concatenate([np.asarray(values, float).ravel() for values in (info.k, info.d, info.p)])
    region = (roi.x_offset, roi.y_offset, roi.width, roi.height)
    size = (info.width, info.height, info.binning_x, info.binning_y)
    return size, region, info.distortion_model, numbers.tobytes()
