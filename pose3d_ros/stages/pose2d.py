"""Stage 1 on the robot: people's boxes -> their joints in the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import apply, crop_transform, inverse, square_of_box, warp
from pose3d_ros.engines.engine import Engine, EngineError
from pose3d_ros.skeleton import NUM_JOINTS

Array = NDArray[np.float64]

_BEST_JOINTS = 6


class Pose2D(NamedTuple):
    """The joints of n people in the image.

    joints_px: [n, 24, 2] pixels. cov_px: [n, 24, 2, 2] pixels².
    score: [n, 24] probability that the joint is within a fifth of the torso's length of its place.
    visible: [n, 24] probability that the joint is to be seen. person_score: [n] that there is a person at all.
    """

    joints_px: Array
    cov_px: Array
    score: Array
    visible: Array
    person_score: Array


class PoseEstimator:
    """Runs the exported stage 1 on square crops, all people in one batch.

    Raises EngineError when the engine's network is not a stage 1.
    """

    def __init__(self, engine: Engine) -> None:
        shapes = {spec.name: spec.shape for spec in engine.inputs}
        outputs = {spec.name for spec in engine.outputs}
        shape = shapes.get("crops", ())
        if len(shape) != 4 or shape[3] != 3 or not {"joints", "covariance", "score", "visible"} <= outputs:
            raise EngineError(
                f"this is not a stage-1 network: its inputs are {shapes}, its outputs {sorted(outputs)}; "
                "export one with `pose3d export pose2d`"
            )
        if not shape[1] or shape[1] != shape[2]:
            raise EngineError(f"stage 1 must have a fixed square input, not {shape}")
        self._engine, self._size = engine, shape[1]

    def estimate(self, image: NDArray[np.uint8], boxes: Array) -> Pose2D:
        """The joints of the people in `boxes` [n, 4] (x0, y0, x1, y1 pixels) of a BGR image [h, w, 3]."""
        n = len(boxes)
        if n == 0:
            one, two = np.zeros((0, NUM_JOINTS)), np.zeros((0, NUM_JOINTS, 2))
            return Pose2D(two, np.zeros((0, NUM_JOINTS, 2, 2)), one, one, np.zeros(0))
        transforms = [crop_transform(*square_of_box(box), self._size) for box in boxes]
        crops = np.stack([warp(image, transform, self._size) for transform in transforms])
        out = self._engine.run({"crops": crops})
        back = [inverse(transform) for transform in transforms]
        joints = np.stack([apply(b, own) for b, own in zip(back, out["joints"], strict=True)])
        zoom = np.array([abs(np.linalg.det(b[:, :2])) for b in back])
        visible = out["visible"].astype(float)
        # A person may be half outside, so that only the joints seen best speak for or against one.
        person_score = np.sort(visible, 1)[:, -_BEST_JOINTS:].mean(1)
        return Pose2D(
            joints, out["covariance"] * zoom[:, None, None, None], out["score"].astype(float), visible, person_score
        )
