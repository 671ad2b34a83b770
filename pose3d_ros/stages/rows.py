"""The people of several cameras go through a network together: rows of one batch, and apart again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any


def split(arrays: Iterable[Any], counts: Sequence[int]) -> list[tuple[Any, ...]]:
    """Arrays [n, …], or lists, taken apart: the first so many rows of each, the next so many, …; views of arrays."""
    ends = list(accumulate(counts))
    parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    return list(zip(*([array[part] for part in parts] for array in arrays), strict=True))
