"""A stand-in for a camera driver: publishes a video, or a camera that OpenCV can open, with its camera_info."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.camera_file import camera_for_image, read_camera
from pose3d_ros.ros.camera_conversion import camera_to_info
from pose3d_ros.ros.image_conversion import Picture, bgr_to_compressed, bgr_to_image
from pose3d_ros.ros.pacer import Pacer
from pose3d_ros.ros.parameter_declaration import NodeParameters, ParameterError
from pose3d_ros.ros.parameters import ParameterSpec
from pose3d_ros.ros.run_node import run_node
from pose3d_ros.video import PACKAGE_CLIP, Source, VideoError, file_of, open_source

DEFAULT_VIDEO = PACKAGE_CLIP

VIDEO_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("video", "", "Video or image file, stream address, or /dev/videoN. Empty: the clip of the package."),
    ParameterSpec("camera", -1, "Number of a camera to open instead of a video. -1: none.", -1, 64),
    ParameterSpec(
        "camera_info",
        "",
        "Calibration file, JSON or camera_calibration's YAML. Empty: the .json beside the video, if there is one. "
        "Without calibration no camera_info is published.",
    ),
    ParameterSpec("frame_id", "camera_optical_frame", "Frame of the images and of camera_info."),
    ParameterSpec("loop", True, "Begin again at the video's end; otherwise exit there."),
    ParameterSpec("fps", 0.0, "Images per second. 0: as the video says.", 0.0, 240.0),
    ParameterSpec("width", 0, "Scale images to this width in pixels. 0: by height, or not at all.", 0, 16384),
    ParameterSpec("height", 0, "Scale images to this height in pixels. 0: by width, or not at all.", 0, 16384),
    ParameterSpec("compressed", False, "Publish JPEGs on image/compressed too."),
    ParameterSpec(
        "reliability",
        "reliable",
        "What the publishers of images offer: reliable or best_effort.",
        choices=("reliable", "best_effort"),
    ),
    ParameterSpec("wait_for_subscribers", 0, "Begin only when so many nodes subscribe to the images.", 0, 100),
)
_QUEUE_DEPTH = 5
_POLL_S = 0.05
_FAREWELL_S = 0.5


class VideoPublisher(Node):
    """Publishes `image`, `camera_info` and, if asked, `image/compressed`.

    Stamps are the node's clock at publication. Raises ParameterError, VideoError or CameraError, with a text for
    people, when it cannot.
    """

    def __init__(self) -> None:
        super().__init__("video_publisher")
        self._values = NodeParameters(self, VIDEO_PARAMETERS, lock=lambda: "a video is running, start it anew").values
        self._source_name = _source_name(self._values)
        source = open_source(self._source_name)
        self._period_s = 1 / (self._values["fps"] or source.fps)
        self._camera = self._read_camera()
        qos = QoSProfile(depth=_QUEUE_DEPTH, reliability=ReliabilityPolicy[self._values["reliability"].upper()])
        topic = self.resolve_topic_name("image")
        self._images = self.create_publisher(Image, "image", qos)
        self._compressed = (
            self.create_publisher(CompressedImage, topic + "/compressed", qos) if self._values["compressed"] else None
        )
        # Always reliable, which suits every subscriber: there is no second chance to send what is this small.
        self._infos = self.create_publisher(CameraInfo, "camera_info", _QUEUE_DEPTH) if self._camera else None
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._fails = self.create_guard_condition(self._raise_failure)
        self._thread = threading.Thread(target=self._publish_all, args=(source,), name="video", daemon=True)
        self._thread.start()
        calibration = "" if self._camera else ", no calibration"
        self.get_logger().info(f"{self._source_name} at {1 / self._period_s:.4g} Hz on {topic}{calibration}")

    def stop(self) -> None:
        """Ends the stream."""
        self._stop.set()
        self._thread.join(1.0)

    def _read_camera(self) -> Camera | None:
        if self._values["camera_info"]:
            return read_camera(Path(self._values["camera_info"]).expanduser())
        beside = file_of(self._source_name).with_suffix(".json")
        return read_camera(beside) if self._source_name and beside.is_file() else None

    def _publish_all(self, source: Source) -> None:
        try:
            self._wait_for_subscribers()
            pacer = Pacer(self._period_s)
            for picture in self._pictures(source):
                # A camera sets the pace itself.
                if not (source.is_live or pacer.wait(self._stop)):
                    return
                self._publish(picture)
            self._stop.wait(_FAREWELL_S)  # the last image is still on its way
        except Exception as error:
            if self.context.ok():  # else the node is being shut down under our feet
                self._failure = error
                self._fails.trigger()
        else:
            self.context.try_shutdown()

    def _raise_failure(self) -> None:
        """In the executor's thread, so that the program ends with it."""
        if self._failure is not None:
            raise self._failure

    def _wait_for_subscribers(self) -> None:
        while not self._stop.is_set() and self._subscribers() < self._values["wait_for_subscribers"]:
            self._stop.wait(_POLL_S)

    def _subscribers(self) -> int:
        compressed = self._compressed.get_subscription_count() if self._compressed else 0
        return int(self._images.get_subscription_count() + compressed)

    def _pictures(self, source: Source) -> Iterator[Picture]:
        """All pictures in order, scaled; again and again if asked."""
        while True:
            with source:
                for picture, _ in source:
                    if self._stop.is_set():
                        return
                    yield _scaled(picture, self._values["width"], self._values["height"])
            if not self._values["loop"]:
                return
            source = open_source(self._source_name)

    def _publish(self, picture: Picture) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._values["frame_id"])
        # First the small one, so that it is there when the image is worked on.
        if self._infos is not None and self._camera is not None:
            height, width = picture.shape[:2]
            self._infos.publish(camera_to_info(camera_for_image(self._camera, width, height), header))
        self._images.publish(bgr_to_image(picture, header))
        if self._compressed is not None and self._compressed.get_subscription_count():
            self._compressed.publish(bgr_to_compressed(picture, header))


def _source_name(values: Mapping[str, Any]) -> str:
    if values["camera"] >= 0:
        if values["video"]:
            raise ParameterError("both video and camera are given: leave one of them out")
        return str(values["camera"])
    return str(values["video"] or DEFAULT_VIDEO)


def _scaled(picture: Picture, width: int, height: int) -> Picture:
    """The picture at the given size; a size of 0 follows from the other and the aspect ratio."""
    if not (width or height):
        return picture
    width = width or round(height * picture.shape[1] / picture.shape[0])
    height = height or round(width * picture.shape[0] / picture.shape[1])
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = width < picture.shape[1]
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(scaled, np.uint8)


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    errors = (ParameterError, VideoError, CameraError)
    return run_node("video_publisher", VideoPublisher, VideoPublisher.stop, errors, args)


if __name__ == "__main__":
    sys.exit(main())
