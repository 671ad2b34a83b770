"""Networks as TensorRT engines on an NVIDIA GPU: TensorRT 8.5 to 11, through the calls that all of them have.

A batch is padded to the next size that the engine was built for (1, 2, 4, 8), a larger one is cut. Every size has an
execution context, and a CUDA graph where one can be made: upload, network and download start with one call. Inputs and
outputs travel in one piece each, through pinned memory that is allocated once.

A recurrent state stays on the GPU: its tensors lie between those that are uploaded and those that are downloaded, and
each person's row is copied there from where it was kept, and from there to a new place, beside the graph.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import tensorrt as trt
from numpy.typing import NDArray

from pose3d_ros.engines.cache import StalePlanError
from pose3d_ros.engines.cuda import Cuda, CudaError
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError, Rows, TensorSpec, recurrent_outputs
from pose3d_ros.engines.resident import DeviceRow, DeviceRows

if not hasattr(trt.DataType, "UINT8"):  # which came with the calls that we use
    raise ImportError(f"TensorRT {trt.__version__} is too old: 8.5 or newer is needed")

_ALIGNMENT = 256
_WARM_UP_RUNS = 3
_KEPT_LINES = 50
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|insufficient memory|could not be allocated|cuda runtime \(2\)", re.I)
_DTYPES = {
    trt.DataType.FLOAT: np.float32,
    trt.DataType.UINT8: np.uint8,
    trt.DataType.INT32: np.int32,
    trt.DataType.BOOL: np.bool_,
}

Bytes = NDArray[np.uint8]


class TensorRTLog(trt.ILogger):
    """Keeps TensorRT's last warnings and errors: they are the only reason that it gives."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """TensorRT's callback, from any thread."""
        serious = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR, trt.ILogger.Severity.WARNING)
        if severity in serious:
            self._lines.append(msg)

    def forget(self) -> None:
        """Begins anew, before a call whose failure will be explained."""
        self._lines.clear()

    @property
    def text(self) -> str:
        """What was logged since `forget`, in one line."""
        return " | ".join(self._lines) or "TensorRT gave no reason"

    @property
    def tells_of_memory(self) -> bool:
        """Is that the lack of memory?"""
        return bool(_OUT_OF_MEMORY.search(self.text))


@cache
def tensorrt_log() -> TensorRTLog:
    """The process' log: TensorRT takes only one in earnest, the first that it is given."""
    return TensorRTLog()


class _Slot(NamedTuple):
    """A tensor's place in the buffers: first byte and shape."""

    start: int
    shape: tuple[int, ...]


class _Lane:
    """One batch size: its execution context, the places of its tensors, and its CUDA graph if there is one."""

    def __init__(self, network: _Network, profile: int, size: int, stream: int) -> None:
        self.size = size
        self.graph = 0
        self._context = network.engine.create_execution_context()
        if self._context is None:
            raise OutOfMemoryError(
                f"no memory for an execution context ({tensorrt_log().text}): free some of the GPU's"
            )
        if network.is_profiled and not self._context.set_optimization_profile_async(profile, stream):
            raise EngineError(f"cannot select profile {profile}: {tensorrt_log().text}")
        for spec in network.inputs:
            shape = (size, *(extent or 0 for extent in spec.shape[1:])) if network.is_profiled else _whole(spec)
            if not self._context.set_input_shape(spec.name, shape):
                raise EngineError(f"{spec.name} cannot be {shape}: {tensorrt_log().text}")
        missing = self._context.infer_shapes()
        if missing:
            raise EngineError(f"the shapes of {missing} are open: export the network again")
        self.slots: dict[str, _Slot] = {}
        self.views: dict[str, NDArray] = {}
        self.bytes = end = 0
        for spec in network.layout:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            if -1 in shape:
                raise EngineError(
                    f"{spec.name} is {shape}, which depends on what is computed: export the network again"
                )
            self.slots[spec.name] = _Slot(end, shape)
            self.bytes = end + int(np.prod(shape)) * spec.dtype.itemsize
            end = -(-self.bytes // _ALIGNMENT) * _ALIGNMENT
        inputs, resident = len(network.inputs), len(recurrent_outputs(network.inputs, network.outputs))
        self.upload_end = self.slots[network.layout[inputs - resident].name].start
        self.download_start = self.slots[network.layout[inputs + resident].name].start

    def bind(self, network: _Network, memory: Bytes, address: int) -> None:
        """Gives the tensors their memory: `memory` on the CPU, pinned, and at `address` on the GPU."""
        for spec in (*network.inputs, *network.outputs):
            start, shape = self.slots[spec.name]
            raw = memory[start : start + int(np.prod(shape)) * spec.dtype.itemsize]
            self.views[spec.name] = raw.view(spec.dtype).reshape(shape)
            if not self._context.set_tensor_address(spec.name, address + start):
                raise EngineError(f"{spec.name} cannot have its address: {tensorrt_log().text}")

    def enqueue(self, stream: int) -> None:
        """Starts the network."""
        if not self._context.execute_async_v3(stream):
            raise EngineError(f"TensorRT could not run the network: {tensorrt_log().text}")


class _Network(NamedTuple):
    """A deserialised engine and its tensors. is_profiled: its batch is one of several sizes, else it is fixed.

    layout: all tensors, inputs first; those that stay on the GPU are in the middle.
    """

    engine: trt.ICudaEngine
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def layout(self) -> tuple[TensorSpec, ...]:
        resident = recurrent_outputs(self.inputs, self.outputs)
        inputs = sorted(self.inputs, key=lambda spec: spec.name in resident.values())
        outputs = sorted(self.outputs, key=lambda spec: spec.name not in resident)
        return (*inputs, *outputs)

    @property
    def is_profiled(self) -> bool:
        return any(None in spec.shape for spec in self.inputs)


class _State(NamedTuple):
    """A recurrent state: the output that gives it, and the places of its rows."""

    new: str
    rows: DeviceRows


class TensorRTEngine:
    """A network from a plan. It warms up when it is made, and is then as fast as it will be.

    plan: what the builder wrote, from a place that only the user can write to. cuda: the GPU. about: in words, what
    precision it has. Not thread-safe; may be made in one thread and run in another.
    Raises StalePlanError when this TensorRT or GPU does not take the plan, OutOfMemoryError when there is no memory for
    it, CudaError when the GPU has failed, and EngineError when it cannot be run.
    """

    def __init__(self, plan: bytes, cuda: Cuda, about: str) -> None:
        self._cuda = cuda
        tensorrt_log().forget()
        try:
            self._runtime = trt.Runtime(tensorrt_log())
        except TypeError as error:  # pybind's way to say that it got nothing
            raise EngineError(f"TensorRT's runtime does not start ({error}): {tensorrt_log().text}") from error
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None and tensorrt_log().tells_of_memory:  # the plan may be as good as ever
            raise OutOfMemoryError(f"no memory for an engine ({tensorrt_log().text}): free some of the GPU's")
        if engine is None:
            cuda.check()  # if the GPU has failed, the plan may be as good as ever, too
            raise StalePlanError(f"TensorRT {trt.__version__} does not take the engine: {tensorrt_log().text}")
        network = _Network(engine, *_specs(engine))
        self.inputs, self.outputs = network.inputs, network.outputs
        self._is_batched = network.is_profiled
        with ExitStack() as held:  # what was taken is freed if the rest fails
            self._stream = cuda.make_stream()
            held.callback(cuda.destroy_stream, self._stream)
            self._lanes = [_Lane(network, i, size, self._stream) for i, size in enumerate(_batches(network))]
            cuda.synchronize(self._stream)  # selecting a profile takes its turn in the stream
            size = max(lane.bytes for lane in self._lanes)
            self._memory = cuda.allocate_pinned(size)
            held.callback(cuda.free_pinned, self._memory)
            self._address = cuda.allocate(size)
            held.callback(cuda.free, self._address)
            held.callback(self._end_lanes)
            for lane in self._lanes:
                lane.bind(network, self._memory, self._address)
            cuda.upload(self._address, self._memory, self._stream)  # zeros, also where nothing is uploaded later
            recurrent = recurrent_outputs(self.inputs, self.outputs)
            self._states = {old: self._make_state(old, new, held) for new, old in recurrent.items()}
            without_graph = [reason for lane in self._lanes if (reason := self._warm_up(lane))]
            self._held = held.pop_all()
        graphs = f"no CUDA graphs ({without_graph[0]})" if without_graph else "CUDA graphs"
        self.device = f"{cuda.gpu()}, TensorRT {trt.__version__}, {about}, {graphs}"

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The network's outputs by name, as arrays of the caller's own, and a recurrent state as rows that stay on the
        GPU. Raises EngineError when the arrays do not fit, or the GPU fails."""
        rows = self._checked_rows(arrays)
        most = self._lanes[-1].size
        parts = [self._run_part(arrays, slice(at, min(at + most, rows))) for at in range(0, rows, most)]
        if len(parts) == 1:
            return parts[0]
        return {spec.name: _joined([part[spec.name] for part in parts]) for spec in self.outputs}

    def close(self) -> None:
        """Frees the GPU's memory; the engine must not be run again. A GPU that fails at it is only told to the log."""
        try:
            self._held.close()
        except CudaError as error:
            logging.getLogger(__name__).warning("memory of the GPU's was not freed: %s", error)
        # The contexts have gone with their lanes, and the engine with them: now the runtime may.
        del self._runtime, self._memory

    def _make_state(self, old: str, new: str, held: ExitStack) -> _State:
        """A recurrent state with places for its rows, which end with what is held."""
        row = self._lanes[0].views[old][0]
        rows = DeviceRows(self._cuda, self._stream, self._memory[: row.nbytes], row.dtype)
        held.callback(rows.close)
        return _State(new, rows)

    def _end_lanes(self) -> None:
        try:
            for lane in self._lanes:
                if lane.graph:
                    self._cuda.destroy_graph(lane.graph)
        finally:
            self._lanes.clear()

    def _run_part(self, arrays: Mapping[str, Any], rows: slice) -> dict[str, Any]:
        count = rows.stop - rows.start
        lane = next(lane for lane in self._lanes if lane.size >= count)
        for name, state in self._states.items():
            self._put_rows(lane, name, state.rows, arrays[name][rows])
        for spec in self.inputs:
            if spec.name not in self._states:
                lane.views[spec.name][:count] = arrays[spec.name][rows]
        if lane.graph:
            self._cuda.launch(lane.graph, self._stream)
        else:
            self._start(lane)
        kept = {state.new: self._keep_rows(lane, state, count) for state in self._states.values()}
        self._cuda.synchronize(self._stream)
        return kept | {
            spec.name: lane.views[spec.name][:count].copy() for spec in self.outputs if spec.name not in kept
        }

    def _put_rows(self, lane: _Lane, name: str, places: DeviceRows, rows: Rows) -> None:
        """Copies a state's rows to where the network reads them: on the GPU, if they are there already."""
        start, size = lane.slots[name].start, places.row_bytes
        for i, row in enumerate(rows):
            at = start + i * size
            if isinstance(row, DeviceRow) and row.rows is places:
                self._cuda.copy(self._address + at, row.address, size, self._stream)
            else:
                lane.views[name][i] = 0 if row is None else np.asarray(row)
                self._cuda.upload(self._address + at, self._memory[at : at + size], self._stream)

    def _keep_rows(self, lane: _Lane, state: _State, count: int) -> list[DeviceRow]:
        """Copies a new state's rows from where the network wrote them to places of their own."""
        start, size = self._address + lane.slots[state.new].start, state.rows.row_bytes
        kept = [state.rows.new() for _ in range(count)]
        for i, row in enumerate(kept):
            self._cuda.copy(row.address, start + i * size, size, self._stream)
        return kept

    def _start(self, lane: _Lane) -> None:
        """Upload, network, download, one after the other."""
        self._cuda.upload(self._address, self._memory[: lane.upload_end], self._stream)
        lane.enqueue(self._stream)
        outputs = self._memory[lane.download_start : lane.bytes]
        self._cuda.download(outputs, self._address + lane.download_start, self._stream)

    def _warm_up(self, lane: _Lane) -> str:
        """Runs a lane until it is fast, on zeros, and makes its graph; says why where none can be made."""
        for _ in range(_WARM_UP_RUNS):
            self._start(lane)
        self._cuda.synchronize(self._stream)
        reason = self._record(lane)
        if lane.graph:
            self._cuda.launch(lane.graph, self._stream)
            self._cuda.synchronize(self._stream)
        return reason

    def _record(self, lane: _Lane) -> str:
        """Makes a lane's graph, or returns the reason why it has none: it is a matter of speed only."""
        try:
            lane.graph = self._recorded(lane)
        except EngineError as error:
            logging.getLogger(__name__).warning("no CUDA graph for batches of %d: %s", lane.size, error)
            return str(error)
        return ""

    def _recorded(self, lane: _Lane) -> int:
        self._cuda.begin_capture(self._stream)
        try:
            self._start(lane)
        except EngineError:
            with suppress(CudaError):  # the stream must leave the recording, whatever came of it
                self._cuda.destroy_graph(self._cuda.end_capture(self._stream))
            raise
        return self._cuda.end_capture(self._stream)

    def _checked_rows(self, arrays: Mapping[str, Any]) -> int:
        """How many rows the arrays have. Raises EngineError unless all fit the inputs."""
        for spec in self.inputs:
            array = arrays.get(spec.name)
            if array is None:
                raise EngineError(f"input {spec.name} is missing: there are {sorted(arrays)}")
            if spec.name in self._states:
                wrong = [np.shape(row) for row in array if row is not None and np.shape(row) != spec.shape[1:]]
                if wrong:
                    raise EngineError(f"{spec.name} has rows of {wrong[0]}: they must be {spec.shape[1:]}, or None")
            elif array.dtype != spec.dtype or array.shape[1:] != spec.shape[1:]:
                raise EngineError(
                    f"{spec.name} is {array.dtype} {array.shape}: it must be {spec.dtype} {spec.shape} (None: free)"
                )
        counts = {len(arrays[spec.name]) for spec in self.inputs}
        unknown = sorted(set(arrays) - {spec.name for spec in self.inputs})
        if unknown:
            raise EngineError(f"the network has no input {unknown[0]}")
        if len(counts) != 1 or 0 in counts or not (self._is_batched or counts == {self._lanes[0].size}):
            raise EngineError(f"the inputs have {sorted(counts)} rows: they must have the same number, 1 or more")
        return counts.pop()


def _joined(parts: list[Any]) -> Any:
    """An output of several runs as that of one: arrays, or lists of rows."""
    return list(chain(*parts)) if isinstance(parts[0], list) else np.concatenate(parts)


def _specs(engine: trt.ICudaEngine) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The engine's inputs and outputs. Raises EngineError where one has a type that no stage uses."""
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        kind = engine.get_tensor_dtype(name)
        if kind not in _DTYPES:
            raise EngineError(f"tensor {name} is a {kind}, which no stage uses")
        shape = tuple(extent if extent >= 0 else None for extent in engine.get_tensor_shape(name))
        side = inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs
        side.append(TensorSpec(name, shape, np.dtype(_DTYPES[kind])))
    return tuple(inputs), tuple(outputs)


def _batches(network: _Network) -> list[int]:
    """The batch sizes that the engine was built for, by profile."""
    if not network.is_profiled:
        return [_whole(network.inputs[0])[0]]
    name = network.inputs[0].name
    engine = network.engine
    return [int(engine.get_tensor_profile_shape(name, i)[2][0]) for i in range(engine.num_optimization_profiles)]


def _whole(spec: TensorSpec) -> tuple[int, ...]:
    """A shape that has nothing free."""
    return tuple(extent or 0 for extent in spec.shape)
