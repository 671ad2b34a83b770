"""Finds people in the whole picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.crop import areas, iou, shared_areas
from pose3d_ros.engines.engine import Engine, EngineError

Array = NDArray[np.float64]

_MOST_OVERLAP = 0.55
_PART_INSIDE, _PART_SIZE, _PART_SCORE = 0.9, 0.1, 0.6
"""A part of a person: so much of its box in theirs, at most so large and so sure, as shares of theirs."""
_GREY = 118


def letterbox(image: NDArray[np.uint8], width: int, height: int) -> tuple[NDArray[np.uint8], float, Array]:
    """The picture [h, w, 3] shrunk or grown to fit `width` x `height`, centred on grey.

    Returns it with the scale and the offset [2]: letterbox pixel + 0.5 = scale * (pixel + 0.5) + offset.
    """
    h, w = image.shape[:2]
    scale = min(width / w, height / h)
    inner_w, inner_h = max(round(w * scale), 1), max(round(h * scale), 1)
    shrunk = cv2.resize(image, (inner_w, inner_h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    x, y = (width - inner_w) // 2, (height - inner_h) // 2
    canvas = np.full((height, width, 3), _GREY, np.uint8)
    canvas[y : y + inner_h, x : x + inner_w] = shrunk
    return canvas, scale, np.array([x, y], float)


def without_overlaps(boxes: Array, scores: Array, most_overlap: float = _MOST_OVERLAP) -> NDArray[np.intp]:
    """Indices of the boxes [n, 4] that stay, best score [n] first, when those that overlap a better one go."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if not kept or iou(boxes[i : i + 1], boxes[kept]).max() < most_overlap:
            kept.append(int(i))
    return np.array(kept, np.intp)


def without_parts(boxes: Array, scores: Array) -> NDArray[np.bool_]:
    """Which of the boxes [n, 4] stay when faces and hands go that look like small people: boxes within another one, a
    tenth of its size and far less sure [n]."""
    size = areas(boxes)
    part = (shared_areas(boxes, boxes) > _PART_INSIDE * size[:, None]) & (size[:, None] < _PART_SIZE * size)
    part &= scores[:, None] < _PART_SCORE * scores
    return np.asarray(~part.any(1))


class Finder:
    """Runs the exported finder. Raises EngineError when the engine's network is not a finder."""

    def __init__(self, engine: Engine) -> None:
        shapes = {spec.name: spec.shape for spec in engine.inputs}
        shape = shapes.get("image", ())
        if len(shape) != 4 or shape[3] != 3 or not shape[1] or not shape[2]:
            raise EngineError(f"this is not a finder: its inputs are {shapes}; export one with `pose3d export finder`")
        if not {"boxes", "scores"} <= {spec.name for spec in engine.outputs}:
            raise EngineError("this is not a finder: it has no outputs 'boxes' and 'scores'")
        self._engine, self._height, self._width = engine, shape[1], shape[2]

    def find(self, image: NDArray[np.uint8], score_threshold: float) -> tuple[Array, Array]:
        """People in a BGR image [h, w, 3]: boxes [n, 4] (x0, y0, x1, y1 pixels) and scores [n], best first."""
        canvas, scale, offset = letterbox(image, self._width, self._height)
        out = self._engine.run({"image": canvas[None]})
        scores = out["scores"][0].astype(float)
        good = scores >= score_threshold
        boxes, scores = out["boxes"][0][good].astype(float), scores[good]
        whole = without_parts(boxes, scores)
        boxes, scores = boxes[whole], scores[whole]
        kept = without_overlaps(boxes, scores)
        return (boxes[kept] + 0.5 - np.tile(offset, 2)) / scale - 0.5, scores[kept]
