"""Looks closely at the places where the finder suspects people it has not seen before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.loaded_networks import Locate, Steps
from pose3d_ros.stages.agree import agreed, best_look
from pose3d_ros.stages.pose2d import Pose2D
from pose3d_ros.stages.presence import presence
from pose3d_ros.stages.rows import split

Array = NDArray[np.float64]

LEAST_FOUND = 0.12
"""Score of the finder from which on a place is looked at."""
_LEAST_PRESENCE = 0.005
"""From which on it is looked at again; most things that are no people stay below at first sight."""
_ZOOMS = (0.8, 0.64)
"""Of the finder's boxes, which are rather large than small."""


class Suspects(NamedTuple):
    """What may be people: boxes [n, 4] and scores [n] of the finder, and the joints there."""

    boxes: Array
    found_score: Array
    pose: Pose2D


def look_closely(image: NDArray[np.uint8], suspects: Suspects) -> Steps[Suspects]:
    """Those who may be people after a first look, with what several looks say together."""
    likely = np.flatnonzero(presence(suspects.found_score, suspects.pose) >= _LEAST_PRESENCE)
    boxes, found_score, first = suspects.boxes[likely], suspects.found_score[likely], suspects.pose.people(likely)
    if not len(likely):
        return Suspects(boxes, found_score, first)
    zoomed: Pose2D = yield Locate(image, _zoomed(boxes))
    looks = [first, *(Pose2D(*parts) for parts in split(zoomed, [len(likely)] * len(_ZOOMS)))]
    # Once more in a crop round the joints themselves.
    looks.append((yield Locate(image, best_look(looks).boxes(boxes))))
    return Suspects(boxes, found_score, agreed(looks, best_look(looks).boxes(boxes)))


def _zoomed(boxes: Array) -> Array:
    """The boxes [n, 4] shrunk round their centres, [zooms n, 4]: all by the first of the zooms, all by the next, ..."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    halves = np.array(_ZOOMS)[:, None, None] * half
    return np.concatenate([middle - halves, middle + halves], -1).reshape(-1, 4)
