"""Stage 1 on the robot: people's boxes -> their joints in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import box_of_joints, crop_transform, square_of_box, warp
from pose3d_ros.engines.engine import Engine, EngineError
from pose3d_ros.skeleton import NUM_JOINTS
from pose3d_ros.stages.rows import split

Array = NDArray[np.float64]

_SUREST_JOINTS = 6
"""Of a person: one may be half outside, so that only the surest joints speak for or against one."""

_BOX_SCORE = 0.2
"""Joints below this score do not shape the person's box."""
_LEAST_BOX_JOINTS = 4


class Pose2D(NamedTuple):
    """The joints of n people in the image; k places where each of them may be, the chosen one first.

    candidates_px: [n, 24, k, 2] pixels. candidates_cov: [n, 24, k, 2, 2] pixels².
    candidates_score: [n, 24, k] probability that the joint is within a fifth of the torso's length of the place.
    visible: [n, 24] probability that the joint is to be seen. person_score: [n] mean score of the surest joints.
    """

    candidates_px: Array
    candidates_cov: Array
    candidates_score: Array
    visible: Array
    person_score: Array

    @property
    def joints_px(self) -> Array:
        """[n, 24, 2] the chosen places."""
        return self.candidates_px[:, :, 0]

    @property
    def cov_px(self) -> Array:
        """[n, 24, 2, 2] their covariances."""
        return self.candidates_cov[:, :, 0]

    @property
    def score(self) -> Array:
        """[n, 24] their scores."""
        return self.candidates_score[:, :, 0]

    def people(self, rows: NDArray[np.intp]) -> Pose2D:
        """Some of the people, by row."""
        return Pose2D(*(values[rows] for values in self))

    def boxes(self, otherwise: Array) -> Array:
        """Boxes [n, 4] round the joints that are likely right; `otherwise` [n, 4] where those are too few."""
        good = self.score >= _BOX_SCORE
        boxes = otherwise.copy()
        for i in np.flatnonzero(good.sum(1) >= _LEAST_BOX_JOINTS):
            boxes[i] = box_of_joints(self.joints_px[i][good[i]])
        return boxes


def joined(one: Pose2D, other: Pose2D) -> Pose2D:
    """The people of both."""
    return Pose2D(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))


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
        (joints,) = (spec.shape for spec in engine.outputs if spec.name == "joints")
        if len(joints) != 4 or not joints[2]:
            raise EngineError(f"stage 1 must give several places per joint, not joints {joints}: export it again")
        self._engine, self._size, self._candidates = engine, shape[1], joints[2]

    def estimate(self, image: NDArray[np.uint8], boxes: Array) -> Pose2D:
        """The joints of the people in `boxes` [n, 4] (x0, y0, x1, y1 pixels) of a BGR image [h, w, 3]."""
        return self.estimate_all([(image, boxes)])[0]

    def estimate_all(self, pictures: Sequence[tuple[NDArray[np.uint8], Array]]) -> list[Pose2D]:
        """The same for several images with boxes of their own; all crops go through the network in one batch."""
        images = [image for image, boxes in pictures for _ in boxes]
        pose = self._in_boxes(images, [box for _, boxes in pictures for box in boxes])
        return [Pose2D(*parts) for parts in split(pose, [len(boxes) for _, boxes in pictures])]

    def _in_boxes(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Array]) -> Pose2D:
        """The joints of one person per image and box."""
        if not boxes:
            places = np.zeros((0, NUM_JOINTS, self._candidates))
            two = np.zeros((*places.shape, 2))
            return Pose2D(two, np.zeros((*two.shape, 2)), places, places[..., 0], np.zeros(0))
        squares = [square_of_box(box) for box in boxes]
        crops = [
            warp(image, crop_transform(centre, side, self._size), self._size)
            for image, (centre, side) in zip(images, squares, strict=True)
        ]
        out = self._engine.run({"crops": np.stack(crops)})
        zoom = np.array([side for _, side in squares])[:, None, None, None] / self._size
        middle = np.stack([centre for centre, _ in squares])[:, None, None]
        joints = middle + zoom * (out["joints"] - (self._size - 1) / 2)
        covariance = out["covariance"] * zoom[..., None] ** 2
        score = out["score"].astype(float)
        person_score = np.sort(score[:, :, 0], 1)[:, -_SUREST_JOINTS:].mean(1)
        return Pose2D(joints, covariance, score, out["visible"].astype(float), person_score)
