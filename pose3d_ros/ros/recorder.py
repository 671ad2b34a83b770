"""Listens to pose3d_node's topics and keeps what it published for every image; for the demo."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2

from pose3d_ros.ros.camera_conversion import stamp_to_ns
from pose3d_ros.ros.image_conversion import image_to_bgr
from pose3d_ros.ros.people_conversion import cloud_to_joints

_MAX_HEIGHT = 1080
_JPEG_QUALITY = 92
_DEPTH = 10


class Shot(NamedTuple):
    """What the node published for one image: overlay as JPEG, joints [people, 24] as in the cloud."""

    stamp_ns: int
    overlay: NDArray[np.uint8]
    joints: NDArray[np.void]


class Recorder(Node):
    """Listens to the node's topics and keeps overlay and joints of every frame."""

    def __init__(self) -> None:
        super().__init__("pose3d_demo")
        self._overlays: dict[int, NDArray[np.uint8]] = {}
        self._joints: dict[int, NDArray[np.void]] = {}
        self.figures: dict[str, str] = {}
        self.messages: dict[str, str] = {}
        self.create_subscription(Image, "pose3d/overlay", self._on_overlay, QoSProfile(depth=_DEPTH))
        self.create_subscription(PointCloud2, "pose3d/joints", self._on_joints, QoSProfile(depth=_DEPTH))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=_DEPTH))

    @property
    def number_of_frames(self) -> int:
        """Overlays that arrived."""
        return len(self._overlays)

    @property
    def people_now(self) -> int:
        """People in the newest frame."""
        return len(self._joints[max(self._joints)]) if self._joints else 0

    def shots(self) -> list[Shot]:
        """All frames of which both overlay and joints arrived, in order."""
        stamps = sorted(self._overlays.keys() & self._joints.keys())
        return [Shot(stamp, self._overlays[stamp], self._joints[stamp]) for stamp in stamps]

    def _on_overlay(self, message: Image) -> None:
        picture = image_to_bgr(message)
        scale = _MAX_HEIGHT / picture.shape[0]
        if scale < 1:
            picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        self._overlays[stamp_to_ns(message.header.stamp)] = np.asarray(data, np.uint8)

    def _on_joints(self, message: PointCloud2) -> None:
        self._joints[stamp_to_ns(message.header.stamp)] = cloud_to_joints(message)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, part = status.name.partition(": ")
            if node == "pose3d":
                self.messages[part] = status.message
                if part == "images":
                    self.figures = {value.key: value.value for value in status.values}
