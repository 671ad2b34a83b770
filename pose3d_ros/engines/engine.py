"""What every engine offers, whatever runs the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

_NEW = "new_"

Rows: TypeAlias = Sequence[ArrayLike | None]
"""A recurrent state [n, H] row by row; None stands for the zeros of a beginning. What a row is, that comes out of an
engine, is the engine's business (one on a GPU leaves it there), but `np.asarray` reads it."""


class EngineError(RuntimeError):
    """A network that cannot be loaded or run; the message names the file, what is wrong and what to do."""


class OutOfMemoryError(EngineError):
    """A network that is not built, loaded or run because memory ran out, the GPU's or the computer's."""


class TensorSpec(NamedTuple):
    """Name, shape (None = free) and element type of a network's input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype


def recurrent_outputs(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    """The outputs that are inputs of the next frame ("new_state"), with those inputs' names ("state")."""
    names = {spec.name for spec in inputs}
    return {spec.name: old for spec in outputs if (old := spec.name.removeprefix(_NEW)) != spec.name and old in names}


class Engine(Protocol):
    """Runs one network on arrays. A recurrent state, input x with output new_x, is given and returned as Rows."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    @property
    def device(self) -> str:
        """Where the network runs, in words for a person."""

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The network's outputs by name. Raises EngineError when the arrays or rows do not fit."""

    def close(self) -> None:
        """Frees what the engine holds; it must not be run again."""
