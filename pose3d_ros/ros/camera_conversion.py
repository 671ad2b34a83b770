"""CameraInfo messages to Camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pose3d_ros.camera import Camera, CameraError

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header

_NANOSECONDS = 1_000_000_000
_PLUMB_BOB_COEFFICIENTS = 5


def stamp_to_ns(stamp: Time) -> int:
    """A message's stamp as nanoseconds."""
    return stamp.sec * _NANOSECONDS + stamp.nanosec


def camera_from_info(info: CameraInfo, rectified: bool = False) -> Camera:
    """The Camera of a sensor_msgs/CameraInfo, for the image that the driver sends (after its ROI and binning).

    rectified: the image was undistorted by image_proc, so that P holds and there is no distortion.
    Raises CameraError for an uncalibrated (K of zeros) or impossible calibration.
    """
    K = np.array(info.p, float).reshape(3, 4)[:, :3] if rectified else np.array(info.k, float).reshape(3, 3)
    distortion = np.zeros(0) if rectified else np.array(info.d, float)
    # K belongs to the full sensor; the image is the region of interest of it, with pixels then binned together.
    roi = info.roi
    width, height = roi.width or info.width, roi.height or info.height
    K[:2, 2] -= roi.x_offset, roi.y_offset
    # Without distortion the model's name says nothing; drivers write all kinds of names then.
    model = info.distortion_model if distortion.any() else "plumb_bob"
    camera = Camera(width, height, K, distortion, model)
    columns, rows = max(info.binning_x, 1), max(info.binning_y, 1)
    if (columns, rows) == (1, 1):
        return camera
    if min(width // columns, height // rows) < 1:
        raise CameraError(f"binning {columns}x{rows} leaves nothing of {width}x{height} pixels: check CameraInfo")
    return camera.resized(width // columns, height // rows)


def camera_to_info(camera: Camera, header: Header) -> CameraInfo:
    """The sensor_msgs/CameraInfo of a Camera, for the whole image, unbinned; P is K (nothing is rectified)."""
    from sensor_msgs.msg import CameraInfo

    model = camera.model if camera.distortion.size else "plumb_bob"
    info = CameraInfo(header=header, width=camera.width, height=camera.height, distortion_model=model)
    info.d = (camera.distortion if camera.distortion.size else np.zeros(_PLUMB_BOB_COEFFICIENTS)).tolist()
    info.k = camera.K.ravel().tolist()
    info.r = np.eye(3).ravel().tolist()
    info.p = np.hstack([camera.K, np.zeros((3, 1))]).ravel().tolist()
    return info
