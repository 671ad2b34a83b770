"""What every engine offers, whatever runs the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class EngineError(RuntimeError):
    """A network that cannot be loaded or run; the message names the file, what is wrong and what to do."""


class OutOfMemoryError(EngineError):
    """A network that is not built, loaded or run because memory ran out, the GPU's or the computer's."""


class TensorSpec(NamedTuple):
    """Name, shape (None = free) and element type of a network's input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype


class Engine(Protocol):
    """Runs one network on arrays."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    @property
    def device(self) -> str:
        """Where the network runs, in words for a person."""

    def run(self, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """The network's outputs by name. Raises EngineError when the arrays do not fit."""

    def close(self) -> None:
        """Frees what the engine holds; it must not be run again."""
