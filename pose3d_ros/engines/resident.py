"""Rows of a recurrent state that stay on the GPU from one frame to the next.

A row is an immutable value with a place in the GPU's memory: a frame that fails has not changed anybody's, and two
frames may go on from one. Its place is free again when nobody holds the row any more.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.engines.cuda import Cuda

_ROWS_AT_ONCE = 32
"""How many more rows memory is taken for, when all are in use: two frames of sixteen people."""


class DeviceRow:
    """One row [H] on the GPU; `np.asarray` copies it from there."""

    def __init__(self, rows: DeviceRows, address: int) -> None:
        self.rows, self.address = rows, address

    @property
    def shape(self) -> tuple[int]:
        """(H,)"""
        return (self.rows.row_bytes // self.rows.dtype.itemsize,)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray:
        return self.rows.read(self).astype(self.rows.dtype if dtype is None else dtype)

    def __deepcopy__(self, _: object) -> DeviceRow:
        return self

    def __del__(self) -> None:
        self.rows.give_back(self.address)


class DeviceRows:
    """The places of one state's rows. Not thread-safe, but for rows that end.

    staging: pinned memory as large as a row, which nobody else uses between two runs. dtype: of the row's values.
    """

    def __init__(self, cuda: Cuda, stream: int, staging: NDArray[np.uint8], dtype: np.dtype) -> None:
        self._cuda, self._stream, self._staging = cuda, stream, staging
        self.dtype, self.row_bytes = dtype, staging.nbytes
        self._blocks: list[int] = []
        self._free: deque[int] = deque()  # rows end in any thread
        self._grow()

    def new(self) -> DeviceRow:
        """A row with a place, whose content is still to be put there."""
        if not self._free:
            self._grow()
        return DeviceRow(self, self._free.popleft())

    def read(self, row: DeviceRow) -> NDArray:
        """A row's content [H], as an array of the caller's own; after `close`, the zeros of a beginning."""
        if not self._blocks:
            return np.zeros(row.shape, self.dtype)
        self._cuda.download(self._staging, row.address, self._stream)
        self._cuda.synchronize(self._stream)
        return self._staging.view(self.dtype).copy()

    def give_back(self, address: int) -> None:
        """Whoever held the row at the address is gone."""
        self._free.append(address)

    def close(self) -> None:
        """Frees the memory, and the rows' content with it."""
        del self._staging
        blocks, self._blocks = self._blocks, []
        for block in blocks:
            self._cuda.free(block)

    def _grow(self) -> None:
        block = self._cuda.allocate(_ROWS_AT_ONCE * self.row_bytes)
        self._blocks.append(block)
        self._free.extend(block + i * self.row_bytes for i in range(_ROWS_AT_ONCE))
