"""Hands a network's inputs to ONNX Runtime's quantisation, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader


class SamplesReader(CalibrationDataReader):
    """Samples: arrays by the name of the input."""

    def __init__(self, samples: Iterable[Mapping[str, NDArray]]) -> None:
        self._rest = iter(samples)

    def get_next(self) -> dict[str, NDArray] | None:
        """The next sample, or None after the last."""
        sample = next(self._rest, None)
        return None if sample is None else dict(sample)
