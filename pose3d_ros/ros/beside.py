"""What comes beside an image, depth and an outside detector's boxes, made fit for a Frame. Knows no rclpy."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.camera_file import camera_for_image
from pose3d_ros.person import Ground, Regions
from pose3d_ros.ros.camera_conversion import camera_from_info
from pose3d_ros.ros.depth_conversion import depth_to_metres
from pose3d_ros.ros.detections_conversion import detections_to_regions
from pose3d_ros.ros.image_conversion import BadImageError

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo, Image
    from vision_msgs.msg import Detection2DArray

_SAME_FOCAL = 0.02
_SAME_CENTRE = 0.02  # of the image's width
_ADVICE = (
    "publish the depth that is registered to the colour image (RealSense: align_depth.enable, aligned_depth_to_color)"
)


class Beside(NamedTuple):
    """The messages that belong to an image, None where there is none, and the ground at its moment."""

    depth: Image | None = None
    depth_info: CameraInfo | None = None
    detections: Detection2DArray | None = None
    ground: Ground | None = None


class Use(NamedTuple):
    """How many images had something beside them, and how many had not or it could not be used; why, the last time."""

    used: int = 0
    unused: int = 0
    problem: str = ""

    def with_one(self, problem: str | None) -> Use:
        """After one more image; None: it was used."""
        if problem is None:
            return self._replace(used=self.used + 1)
        return self._replace(unused=self.unused + 1, problem=problem)


class BesideReader:
    """Turns messages into what a Frame carries, and counts. What cannot be used is left out, never an error."""

    def __init__(self) -> None:
        self.depth_use = Use()
        self.detections_use = Use()

    def depth_m(
        self,
        beside: Beside,
        image_frame_id: str,
        shape: tuple[int, int],
        camera: Camera | None,
        rectified: bool = False,
    ) -> NDArray[np.float32] | None:
        """The depth image in metres, if there is one that fits the image [height, width] pixel for pixel.

        camera: the image's; rectified: image and depth were undistorted, so that P of the depth's camera_info holds.
        """
        if beside.depth is None:
            self.depth_use = self.depth_use.with_one("no depth came in time (sync_tolerance_s)")
            return None
        try:
            _check_registered(beside.depth, image_frame_id, shape)
            if beside.depth_info is not None and camera is not None:
                _check_intrinsics(beside.depth_info, camera, rectified)
            depth_m = depth_to_metres(beside.depth)
        except BadImageError as error:
            self.depth_use = self.depth_use.with_one(str(error))
            return None
        self.depth_use = self.depth_use.with_one(None)
        return depth_m

    def regions(self, beside: Beside, classes: Collection[str], shape: tuple[int, int]) -> Regions | None:
        """Where people are in the image [height, width], if a detector says."""
        if beside.detections is None:
            self.detections_use = self.detections_use.with_one("no detections came in time (detections_tolerance_s)")
            return None
        self.detections_use = self.detections_use.with_one(None)
        return detections_to_regions(beside.detections, classes, shape[1], shape[0])


def _check_registered(depth: Image, image_frame_id: str, shape: tuple[int, int]) -> None:
    """Raises BadImageError unless the depth image has the image's size and frame."""
    height, width = shape
    if (depth.width, depth.height) != (width, height):
        raise BadImageError(f"depth has {depth.width}x{depth.height} pixels, the image {width}x{height}: {_ADVICE}")
    if depth.header.frame_id != image_frame_id:
        raise BadImageError(
            f"depth is in the frame '{depth.header.frame_id}', the image in '{image_frame_id}': {_ADVICE}"
        )


def _check_intrinsics(info: CameraInfo, camera: Camera, rectified: bool) -> None:
    """Raises BadImageError unless the depth image was taken, or is registered, with the image's camera."""
    try:
        own = camera_for_image(camera_from_info(info, rectified), camera.width, camera.height)
    except CameraError as error:
        raise BadImageError(f"the depth's camera_info cannot be used: {error}") from error
    focal = np.abs(np.diag(own.K)[:2] / np.diag(camera.K)[:2] - 1).max()
    centre = np.abs(own.K[:2, 2] - camera.K[:2, 2]).max() / camera.width
    if focal > _SAME_FOCAL or centre > _SAME_CENTRE:
        raise BadImageError(
            f"depth has the focal length {own.K[0, 0]:.0f} and the centre ({own.K[0, 2]:.0f}, {own.K[1, 2]:.0f}), the "
            f"image {camera.K[0, 0]:.0f} and ({camera.K[0, 2]:.0f}, {camera.K[1, 2]:.0f}): {_ADVICE}"
        )
