"""Pictures that show nobody."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def pictures_without_people(data: Path) -> list[NDArray[np.uint8]]:
    """The photographs and textures of the data folder that show nobody, BGR."""
    paths = sorted((data / "scenes/backgrounds").glob("*.jpg")) + sorted((data / "scenes/textures").glob("*.jpg"))
    return [np.asarray(cv2.imread(str(path)), np.uint8) for path in paths]
