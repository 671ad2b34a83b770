"""What flows through the house: a Frame in, People out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.camera import Camera

Array = NDArray[np.float64]


class JointState(IntEnum):
    """How a joint's position came about."""

    VISIBLE = 0
    """Measured in this frame's image."""
    INFERRED = 1
    """Hidden in the image; known from the rest of the body."""
    PREDICTED = 2
    """No measurement of the person in this frame; carried on from earlier ones."""


@dataclass(frozen=True, eq=False)
class Ground:
    """The ground, seen from the camera.

    up: [3] unit vector against gravity in the camera's optical frame. camera_height_m: of the camera over the ground;
    None when unknown. Raises ValueError if up is no direction, or the height no number.
    """

    up: Array
    camera_height_m: float | None = None

    def __post_init__(self) -> None:
        up = np.asarray(self.up, np.float64)
        length = float(np.linalg.norm(up)) if up.shape == (3,) else 0.0
        if not 0 < length < np.inf:
            raise ValueError(f"up is {self.up}: it must be a direction in the camera's frame, three numbers")
        if self.camera_height_m is not None and not np.isfinite(self.camera_height_m):
            raise ValueError(f"the camera's height is {self.camera_height_m}: it must be metres, or None")
        object.__setattr__(self, "up", up / length)

    @classmethod
    def of_tilted_camera(cls, pitch_deg: float, height_m: float | None = None) -> Ground:
        """As a camera sees it that looks down by `pitch_deg`, without roll."""
        pitch = np.radians(pitch_deg)
        return cls(np.array([0.0, -np.cos(pitch), -np.sin(pitch)]), height_m)


class Regions(NamedTuple):
    """Where somebody else's detector sees people: boxes [m, 4], x0, y0, x1, y1 in pixels, and scores [m], 0...1."""

    boxes: Array
    scores: Array


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image, and what else is known of its moment.

    image: [height, width, 3] uint8, BGR.
    stamp_ns: time of exposure, nanoseconds; the only clock that the pipeline knows.
    camera: its calibration, for this image's size; None when unknown (then no metres come out, only pixels).
    depth_m: [height, width] z of every pixel in metres; 0, NaN and infinity are holes. None: there is none.
    regions: where people are, to be taken instead of the own finder's. None: let it look.
    ground: None when unknown.
    """

    image: NDArray[np.uint8]
    stamp_ns: int
    camera: Camera | None = None
    depth_m: NDArray[np.float32] | None = None
    regions: Regions | None = None
    ground: Ground | None = None

    def __post_init__(self) -> None:
        shape = self.image.shape
        if len(shape) != 3 or shape[2] != 3 or self.image.dtype != np.uint8 or 0 in shape:
            raise ValueError(f"an image must be [height, width, 3] uint8 BGR, not {shape} {self.image.dtype}")
        if self.camera is not None and (self.camera.width, self.camera.height) != (shape[1], shape[0]):
            raise ValueError(
                f"the calibration is for {self.camera.width}x{self.camera.height} pixels, the image has "
                f"{shape[1]}x{shape[0]}: publish the camera_info that belongs to the image, or resize the Camera"
            )
        if self.depth_m is not None and self.depth_m.shape != shape[:2]:
            raise ValueError(
                f"the depth image has the shape {self.depth_m.shape}, the image {shape[:2]}: depth must be registered "
                "to the image, pixel for pixel"
            )


@dataclass(frozen=True, eq=False)
class Person:
    """One person in one frame. All joints are in skeleton.JOINTS' order.

    id: stable over time, from 1.
    box: x0, y0, x1, y1 in pixels of the image.
    score: confidence that this is a person, 0...1.
    joints_px: [24, 2] pixels.
    joints_px_cov: [24, 2, 2] pixels².
    joint_score: [24] probability that the joint is where it is said to be, 0...1.
    joint_state: [24] of JointState.
    joints_m: [24, 3] metres in the camera's optical frame; None without a calibrated camera.
    joints_m_cov: [24, 3, 3] metres², the root's own uncertainty included; None likewise.
    joints_m_s: [24, 3] velocities in metres per second, relative to the camera; None where nobody measured them.
    """

    id: int
    box: Array
    score: float
    joints_px: Array
    joints_px_cov: Array
    joint_score: Array
    joint_state: NDArray[np.uint8]
    joints_m: Array | None = None
    joints_m_cov: Array | None = None
    joints_m_s: Array | None = None
