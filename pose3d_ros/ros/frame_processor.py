"""Image message in, a frame for the pipeline out: decoding and calibration for one camera. Knows no rclpy."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from pose3d_ros.follower import Follower
from pose3d_ros.person import Frame
from pose3d_ros.pipeline import View
from pose3d_ros.ros.beside import Beside, BesideReader
from pose3d_ros.ros.calibration import CalibrationKeeper
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.image_conversion import BadImageError, compressed_to_bgr, image_to_bgr
from pose3d_ros.ros.stamps import Stamp, kind_of

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

_NOTHING = Beside()


class CalibrationOptions(NamedTuple):
    """How to find the camera of an image; see CalibrationKeeper.camera_for."""

    rectified: bool
    assumed_fov_deg: float
    timeout_s: float


class Prepared(NamedTuple):
    """What the pipeline is to work on. time_jumped: its stamp lies before the last one's, so that all was forgotten."""

    view: View
    time_jumped: bool


class FrameProcessor:
    """Prepares one camera's images in the order of their coming; not thread-safe but for `calibration.update`.

    follower: of this camera's people.
    """

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.calibration = CalibrationKeeper()
        self.beside = BesideReader()
        self._last_stamp_ns: int | None = None

    def prepare(
        self,
        message: Image | CompressedImage,
        options: CalibrationOptions,
        beside: Beside = _NOTHING,
        person_classes: Collection[str] = (),
    ) -> Prepared:
        """An image's frame. Raises BadImageError.

        beside: what belongs to the image; person_classes: which of a detector's classes are people.
        """
        stamp_ns = stamp_to_ns(message.header.stamp)
        kind = kind_of(stamp_ns, self._last_stamp_ns)
        if not kind.usable:
            raise BadImageError(kind.value)
        picture = compressed_to_bgr(message) if hasattr(message, "format") else image_to_bgr(message)
        if kind is Stamp.JUMP_BACK:
            self.restart()
        self._last_stamp_ns = stamp_ns
        height, width = picture.shape[:2]
        camera = self.calibration.camera_for(width, height, stamp_ns, **options._asdict())
        depth_m = self.beside.depth_m(beside, message.header.frame_id, (height, width), camera, options.rectified)
        regions = self.beside.regions(beside, person_classes, (height, width))
        frame = Frame(picture, stamp_ns, camera, depth_m, regions, beside.ground)
        return Prepared(View(self.follower, frame), kind is Stamp.JUMP_BACK)

    def restart(self) -> None:
        """Forgets everybody and the time; the newest camera_info stays."""
        self.follower.reset()
        self.calibration.restart_waiting()
        self._last_stamp_ns = None
