"""ONNX networks through ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.engines.engine import EngineError, TensorSpec

_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


class OnnxRuntimeEngine:
    """An ONNX file on the CPU.

    path: the .onnx file. threads: CPU threads of one run.
    Raises EngineError when ONNX Runtime is not installed or the file is missing, broken or of an unknown kind.
    """

    def __init__(self, path: Path | str, threads: int = 2) -> None:
        path = Path(path)
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise EngineError("ONNX Runtime is not installed: pip install onnxruntime") from error
        if not path.is_file():
            raise EngineError(f"no network at {path}: check the models folder, or re-install the package")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that wait by spinning save a sixth of a run, but between frames they would burn the robot's CPU.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(f"{path} is not a readable ONNX network ({error}): copy the file again") from error
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self.device = f"CPU, ONNX Runtime {ort.__version__}, {threads} threads"
        self._name = path.name

    def run(self, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """The network's outputs by name. Raises EngineError when the arrays do not fit the network."""
        try:
            values = self._session.run(None, dict(arrays))
        except Exception as error:  # as above
            raise EngineError(f"{self._name}: {error}") from error
        return {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Frees the session; the engine must not be run again."""
        del self._session


def _spec(node: object) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)  # type: ignore[attr-defined]
    kind = node.type  # type: ignore[attr-defined]
    if kind not in _DTYPES:
        raise EngineError(f"tensor {node.name} is a {kind}, which no stage uses")  # type: ignore[attr-defined]
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[kind]))  # type: ignore[attr-defined]
