"""Image message in, people out: decoding, calibration and the pipeline for one camera. Knows no rclpy."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pose3d_ros.person import Frame, Person
from pose3d_ros.ros.beside import Beside, BesideReader
from pose3d_ros.ros.calibration import CalibrationKeeper
from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.image_conversion import BadImageError, Picture, compressed_to_bgr, image_to_bgr
from pose3d_ros.ros.stamps import Stamp, kind_of

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

_NOTHING = Beside()


class PeopleFinder(Protocol):
    """What the processor needs of pose3d_ros.pipeline.Pipeline."""

    def process(self, frame: Frame) -> list[Person]:
        """The people in a frame."""

    def reset(self) -> None:
        """Forgets everybody."""

    def ahead(self, stamp_ns: int) -> list[Person]:
        """The people of the last frame as they will be at a later time."""


class CalibrationOptions(NamedTuple):
    """How to find the camera of an image; see CalibrationKeeper.camera_for."""

    rectified: bool
    assumed_fov_deg: float
    timeout_s: float


class Result(NamedTuple):
    """What came out of one image. time_jumped: its stamp lies before the last one's, so that all was forgotten."""

    picture: Picture
    people: list[Person]
    time_jumped: bool


class FrameProcessor:
    """Processes one camera's images in the order of their coming; not thread-safe but for `calibration.update`."""

    def __init__(self, pipeline: PeopleFinder) -> None:
        self._pipeline = pipeline
        self._last_stamp_ns: int | None = None
        self.calibration = CalibrationKeeper()
        self.beside = BesideReader()

    def process(
        self,
        message: Image | CompressedImage,
        options: CalibrationOptions,
        beside: Beside = _NOTHING,
        person_classes: Collection[str] = (),
    ) -> Result:
        """The people in an image. Raises BadImageError, or EngineError where a network fails on it.

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
        return Result(picture, self._pipeline.process(frame), kind is Stamp.JUMP_BACK)

    def ahead(self, stamp_ns: int) -> list[Person]:
        """The people of the last image as they will be at a later time."""
        return self._pipeline.ahead(stamp_ns)

    def restart(self) -> None:
        """Forgets everybody and the time; the newest camera_info stays."""
        self._pipeline.reset()
        self.calibration.restart_waiting()
        self._last_stamp_ns = None
