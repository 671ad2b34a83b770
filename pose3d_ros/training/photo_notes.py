"""What networks note of the photos that are learned from, kept in a file beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.data.lspet import Photos

Notes = TypeVar("Notes", bound="PhotoNotes")


@dataclass(frozen=True, eq=False)
class PhotoNotes:
    """Arrays about photos. names: the photos' files. made_by: the command that makes them."""

    made_by: ClassVar[str]

    names: NDArray[np.str_]

    def write(self, file: Path) -> None:
        """As an .npz file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, **vars(self))

    @classmethod
    def read(cls: type[Notes], file: Path, photos: Photos) -> Notes:
        """The notes of these very photos. Raises ValueError when the file has those of others."""
        with np.load(file) as arrays:
            notes = cls(**arrays)
        if notes.names.tolist() != photos.names:
            raise ValueError(f"{file} is of other photos: make it anew with `pose3d {cls.made_by}`")
        return notes
