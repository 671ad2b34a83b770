"""ONNX networks through ONNX Runtime: on the CPU, or on a GPU where the installed package has a provider for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.engines.engine import EngineError, Rows, TensorSpec, recurrent_outputs

_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
_OF_THE_FILE = {"InvalidProtobuf", "InvalidGraph", "InvalidArgument"}
"""ONNX Runtime's errors that another copy of a network may mend."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# Otherwise CUDA tries every algorithm out when a batch of a new size comes: a second in which frames are lost.
_OPTIONS: dict[str, dict[str, str]] = {CUDA: {"cudnn_conv_algo_search": "HEURISTIC"}}


def providers_present() -> list[str]:
    """The providers to use, best first: CUDA where the package has it, and the CPU.

    The TensorRT provider is not among them: it builds its engines unseen while the first frames wait. Ours are built
    beforehand (`engines.tensorrt`). Raises EngineError when ONNX Runtime is not installed.
    """
    present = _onnxruntime().get_available_providers()
    return [name for name in (CUDA, CPU) if name in present]


class OnnxRuntimeEngine:
    """An ONNX file in ONNX Runtime.

    path: the .onnx file. threads: CPU threads of one run. providers: of ONNX Runtime, best first. What does not load
    there is left out by ONNX Runtime; `device` says what is really used.
    Raises EngineError when ONNX Runtime is not installed or the file is missing, broken or of an unknown kind.
    """

    def __init__(self, path: Path | str, threads: int = 2, providers: Sequence[str] = (CPU,)) -> None:
        path = Path(path)
        ort = _onnxruntime()
        if not path.is_file():
            raise EngineError(f"no network at {path}: check the models folder, or re-install the package")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that wait by spinning save a sixth of a run, but between frames they would burn the robot's CPU.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            wanted = [(name, _OPTIONS.get(name, {})) for name in providers]
            self._session = ort.InferenceSession(str(path), options, providers=wanted)
            # Else a run that fails on the GPU, and all later ones, would be done on the CPU with no more than a print.
            self._session.disable_fallback()
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if type(error).__name__ in _OF_THE_FILE:
                raise EngineError(f"{path} is not a readable ONNX network ({error}): copy the file again") from error
            raise EngineError(f"{path} cannot be loaded ({error})") from error
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self.device = f"{_described(self._session.get_providers(), providers, threads)}, ONNX Runtime {ort.__version__}"
        self._name = path.name
        recurrent = set(recurrent_outputs(self.inputs, self.outputs).values())
        self._begins = {
            spec.name: np.zeros([extent or 0 for extent in spec.shape[1:]], spec.dtype)
            for spec in self.inputs
            if spec.name in recurrent
        }

    def run(self, arrays: Mapping[str, Any]) -> dict[str, NDArray]:
        """The network's outputs by name. Raises EngineError when the arrays do not fit the network, or a GPU fails."""
        try:
            states = {name: _stacked(arrays[name], begin) for name, begin in self._begins.items() if name in arrays}
            values = self._session.run(None, {**arrays, **states})
        except Exception as error:  # as above
            raise EngineError(f"{self._name}: {error}") from error
        return {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Frees the session; the engine must not be run again."""
        del self._session


def _stacked(rows: Rows, begin: NDArray) -> NDArray:
    """A recurrent state's rows [n, H] as one array."""
    return np.stack([begin if row is None else np.asarray(row, begin.dtype) for row in rows])


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError("ONNX Runtime is not installed: pip install onnxruntime") from error
    return onnxruntime


def _described(used: Sequence[str], wanted: Sequence[str], threads: int) -> str:
    """Where a session runs, in words; and what was wanted in vain."""
    place = f"CPU, {threads} threads" if used[0] == CPU else used[0].removesuffix("ExecutionProvider")
    missing = [name.removesuffix("ExecutionProvider") for name in wanted if name not in used]
    return f"{place} ({', '.join(missing)} did not load)" if missing else place


def _spec(node: object) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)  # type: ignore[attr-defined]
    kind = node.type  # type: ignore[attr-defined]
    if kind not in _DTYPES:
        raise EngineError(f"tensor {node.name} is a {kind}, which no stage uses")  # type: ignore[attr-defined]
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[kind]))  # type: ignore[attr-defined]
