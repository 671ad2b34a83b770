"""An outside detector's boxes to regions in which to look for people."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from pose3d_ros.person import Regions

if TYPE_CHECKING:
    from vision_msgs.msg import Detection2D, Detection2DArray

_MIN_SIDE_PX = 2.0


def detections_to_regions(message: Detection2DArray, classes: Collection[str], width: int, height: int) -> Regions:
    """The people among a vision_msgs/Detection2DArray's detections, in an image of width x height pixels.

    classes: the `class_id`s that stand for a person. Boxes are cut at the image's border; those outside, without a
    size, or with numbers that are none are left out. Of a box that is turned, the upright box round it is taken.
    """
    people = [
        (*_box(detection, width, height), score)
        for detection in message.detections
        if (score := _score(detection, classes)) > 0
    ]
    values = np.array(people, np.float64).reshape(-1, 5)
    sides = values[:, 2:4] - values[:, :2]
    good = np.isfinite(values).all(1) & np.greater_equal(sides, _MIN_SIDE_PX).all(1)
    return Regions(values[good, :4], values[good, 4])


def _score(detection: Detection2D, classes: Collection[str]) -> float:
    """That the detection is a person, at most 1; 0 if it is none."""
    hypotheses = (result.hypothesis for result in detection.results)
    return min(max((h.score for h in hypotheses if h.class_id in classes), default=0.0), 1.0)


def _box(detection: Detection2D, width: int, height: int) -> tuple[float, float, float, float]:
    centre, box = detection.bbox.center, detection.bbox
    with np.errstate(invalid="ignore", over="ignore"):
        cos, sin = np.abs(np.cos(centre.theta)), np.abs(np.sin(centre.theta))
        half = np.array([cos * box.size_x + sin * box.size_y, sin * box.size_x + cos * box.size_y]) / 2
        middle, last = np.array([centre.position.x, centre.position.y]), np.array([width - 1, height - 1])
        (x0, y0), (x1, y1) = np.clip(middle - half, 0, last), np.clip(middle + half, 0, last)
    return float(x0), float(y0), float(x1), float(y1)
