"""Depth images to metres (REP-118)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.ros.image_conversion import BadImageError, rows_of

if TYPE_CHECKING:
    from sensor_msgs.msg import Image

_TYPES: dict[str, tuple[str, float]] = {"16uc1": ("u2", 1e-3), "mono16": ("u2", 1e-3), "32fc1": ("f4", 1.0)}
"""By encoding: the number in each pixel, and metres per unit."""


def depth_to_metres(message: Image) -> NDArray[np.float32]:
    """The depth image [height, width] in metres; what the camera did not see is 0, NaN or infinite, as it came.

    Raises BadImageError for encodings other than 16UC1 (and mono16; millimetres) and 32FC1 (metres), and for images
    whose data do not fill them.
    """
    if message.encoding.lower() not in _TYPES:
        raise BadImageError(
            f"depth has the encoding '{message.encoding}': it must be 16UC1 (millimetres) or 32FC1 (metres), not "
            "compressed"
        )
    kind, unit_m = _TYPES[message.encoding.lower()]
    number = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    rows = rows_of(message, number.itemsize)
    return np.multiply(np.ascontiguousarray(rows).view(number), np.float32(unit_m), dtype=np.float32)
