"""CUDA memory, streams and graphs: the few calls of libcudart that an engine needs, through ctypes.

Works with CUDA 11.4 to 13. Addresses, streams and graphs are plain integers, as TensorRT takes them.
Source: CUDA Runtime API reference, https://docs.nvidia.com/cuda/cuda-runtime-api.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.engines.engine import EngineError, OutOfMemoryError

_HOST_TO_DEVICE, _DEVICE_TO_HOST, _DEVICE_TO_DEVICE = 1, 2, 3
_NON_BLOCKING = 1
_THREAD_LOCAL = 1
_PROCESSORS, _INTEGRATED, _MAJOR, _MINOR = 16, 18, 75, 76  # of enum cudaDeviceAttr
# cudaDeviceProp begins with the name; the rest has another layout in every version, and is smaller than this.
_NAME_BYTES, _PROPERTIES_BYTES = 256, 8192

_handle, _size = ctypes.c_void_p, ctypes.c_size_t
_to_handle, _to_size, _to_int = (ctypes.POINTER(kind) for kind in (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int))
_ARGUMENTS: dict[str, tuple[type, ...]] = {
    "cudaGetDeviceCount": (_to_int,),
    "cudaGetDeviceProperties": (_handle, ctypes.c_int),
    "cudaDeviceGetAttribute": (_to_int, ctypes.c_int, ctypes.c_int),
    "cudaMemGetInfo": (_to_size, _to_size),
    "cudaMalloc": (_to_handle, _size),
    "cudaFree": (_handle,),
    "cudaMallocHost": (_to_handle, _size),
    "cudaFreeHost": (_handle,),
    "cudaMemcpyAsync": (_handle, _handle, _size, ctypes.c_int, _handle),
    "cudaStreamCreateWithFlags": (_to_handle, ctypes.c_uint),
    "cudaStreamDestroy": (_handle,),
    "cudaStreamSynchronize": (_handle,),
    "cudaStreamBeginCapture": (_handle, ctypes.c_int),
    "cudaStreamEndCapture": (_handle, _to_handle),
    # The plain cudaGraphInstantiate takes other arguments from CUDA 12 on.
    "cudaGraphInstantiateWithFlags": (_to_handle, _handle, ctypes.c_ulonglong),
    "cudaGraphLaunch": (_handle, _handle),
    "cudaGraphDestroy": (_handle,),
    "cudaGraphExecDestroy": (_handle,),
    "cudaDeviceSynchronize": (),
    "cudaGetLastError": (),
}
_NO_MEMORY = 2  # cudaErrorMemoryAllocation
# After these, every call of the process fails: illegal address, timeout, all that a kernel can do wrong, unknown.
_LASTING = frozenset({700, 702, 710, *range(714, 720), 999})
_MEMINFO = Path("/proc/meminfo")
_ADVICE = {
    _NO_MEMORY: "the GPU's memory is full: end other programs that use it",
    35: "there is no NVIDIA driver, or it is too old: install one; start containers with --gpus all, on a Jetson with "
    "--runtime nvidia",
    100: "no GPU is visible: check CUDA_VISIBLE_DEVICES, and that containers are started with --gpus all",
    **dict.fromkeys(_LASTING, "the GPU has failed for this process: restart the node"),
}


class CudaError(EngineError):
    """A CUDA call that failed. code: its cudaError_t. is_lasting: all later calls of the process fail too."""

    def __init__(self, call: str, code: int, name: str) -> None:
        advice = _ADVICE.get(code)
        super().__init__(f"{call} failed with {name} ({code})" + (f": {advice}" if advice else ""))
        self.code = code
        self.is_lasting = code in _LASTING


class CudaMemoryError(CudaError, OutOfMemoryError):
    """A CUDA call for which the GPU's memory does not suffice."""


class Gpu(NamedTuple):
    """The GPU: its name, compute capability, number of multiprocessors, and whether it shares the CPU's memory."""

    name: str
    capability: tuple[int, int]
    processors: int
    integrated: bool

    def __str__(self) -> str:
        return f"{self.name} (sm_{self.capability[0]}{self.capability[1]})"


class Cuda:
    """The first GPU, through a libcudart. Raises EngineError where the library is unusable, CudaError without a GPU."""

    def __init__(self, library: ctypes.CDLL) -> None:
        try:
            self._calls = {name: getattr(library, name) for name in _ARGUMENTS}
            self._error_name = library.cudaGetErrorName
        except AttributeError as error:
            raise EngineError(f"this libcudart is too old ({error}): CUDA 11.4 or newer is needed") from error
        for name, arguments in _ARGUMENTS.items():
            self._calls[name].argtypes, self._calls[name].restype = arguments, ctypes.c_int
        self._error_name.argtypes, self._error_name.restype = (ctypes.c_int,), ctypes.c_char_p
        count = ctypes.c_int()
        self._call("cudaGetDeviceCount", ctypes.byref(count))

    def gpu(self) -> Gpu:
        """What the GPU is."""
        properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        self._call("cudaGetDeviceProperties", properties, 0)
        name = properties.raw[:_NAME_BYTES].split(b"\0")[0].decode(errors="replace")
        capability = self._attribute(_MAJOR), self._attribute(_MINOR)
        return Gpu(name, capability, self._attribute(_PROCESSORS), bool(self._attribute(_INTEGRATED)))

    def free_memory(self) -> int:
        """Bytes that can be had: of the GPU's memory, or of the computer's where they share it, as on a Jetson."""
        if self._attribute(_INTEGRATED):
            # CUDA would leave out what the kernel gives back on demand: after some days, nearly all of it.
            available = re.search(r"^MemAvailable: +(\d+) kB$", _MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
            if available:
                return int(available[1]) * 1024
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def check(self) -> None:
        """Waits until the GPU has done all that it was given. Raises CudaError where it has failed."""
        self._call("cudaDeviceSynchronize")

    def allocate(self, size: int) -> int:
        """The address of so many bytes on the GPU."""
        return self._made("cudaMalloc", size)

    def free(self, address: int) -> None:
        """Frees what `allocate` gave."""
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """So many bytes [size] of the CPU's memory that the GPU reads and writes without a detour, zeroed."""
        address = self._made("cudaMallocHost", size)
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        memory[:] = 0
        return memory

    def free_pinned(self, memory: NDArray[np.uint8]) -> None:
        """Frees what `allocate_pinned` gave; nothing may look at it any more."""
        self._call("cudaFreeHost", memory.ctypes.data)

    def make_stream(self) -> int:
        """A stream that does not wait for the default one."""
        return self._made("cudaStreamCreateWithFlags", _NON_BLOCKING)

    def destroy_stream(self, stream: int) -> None:
        """Ends a stream."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        """Waits until the stream's work is done. Raises CudaError where any of it failed."""
        self._call("cudaStreamSynchronize", stream)

    def upload(self, address: int, memory: NDArray[np.uint8], stream: int) -> None:
        """Copies pinned memory to the GPU, in its turn in the stream."""
        self._call("cudaMemcpyAsync", address, memory.ctypes.data, memory.nbytes, _HOST_TO_DEVICE, stream)

    def download(self, memory: NDArray[np.uint8], address: int, stream: int) -> None:
        """Copies from the GPU to pinned memory, in its turn in the stream."""
        self._call("cudaMemcpyAsync", memory.ctypes.data, address, memory.nbytes, _DEVICE_TO_HOST, stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Copies so many bytes from one place on the GPU to another, in its turn in the stream."""
        self._call("cudaMemcpyAsync", target, source, size, _DEVICE_TO_DEVICE, stream)

    def begin_capture(self, stream: int) -> None:
        """From here on, what this thread puts into the stream is recorded instead of done."""
        self._call("cudaStreamBeginCapture", stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """A graph of what was recorded, ready to be launched. Raises CudaError where something cannot be recorded."""
        graph = self._made_of("cudaStreamEndCapture", stream)
        try:
            return self._made("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        """Does what was recorded, in its turn in the stream."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Frees what `end_capture` gave."""
        self._call("cudaGraphExecDestroy", graph)

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value

    def _made(self, call: str, *arguments: int) -> int:
        """What a call writes where its first argument points."""
        made = ctypes.c_void_p()
        self._call(call, ctypes.byref(made), *arguments)
        return made.value or 0

    def _made_of(self, call: str, argument: int) -> int:
        """What a call writes where its last argument points."""
        made = ctypes.c_void_p()
        self._call(call, argument, ctypes.byref(made))
        return made.value or 0

    def _call(self, name: str, *arguments: object) -> None:
        code = self._calls[name](*arguments)
        if code:
            self._calls["cudaGetLastError"]()  # else TensorRT, which asks for it, would take the failure for its own
            kind = CudaMemoryError if code == _NO_MEMORY else CudaError
            raise kind(name, code, (self._error_name(code) or b"an unknown error").decode())


@cache
def cuda() -> Cuda:
    """The machine's CUDA: the first libcudart that works. Raises EngineError, with the first's reason, if none does."""
    # Modules are loaded when they are first used: less memory and a faster start. Read once, by the first call.
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    failures: list[EngineError] = []
    for place in _places():
        try:
            return Cuda(ctypes.CDLL(place))
        except OSError:
            continue  # it is not there
        except EngineError as error:
            failures.append(error)  # too new for the driver, for example, while the next is not
    if failures:
        raise failures[0]
    raise EngineError(
        "there is no libcudart.so.11.0, .12 or .13: install CUDA's runtime (on a Jetson: apt install nvidia-jetpack), "
        "or put its folder into LD_LIBRARY_PATH"
    )


def _places() -> Iterator[str]:
    """Where libcudart may be: first the one that TensorRT has loaded already."""
    maps = Path("/proc/self/maps")
    loaded = re.search(r"/\S*libcudart\.so\S*", maps.read_text(errors="replace")) if maps.is_file() else None
    if loaded:
        yield loaded[0]
    yield from (f"libcudart.so.{version}" for version in ("13", "12", "11.0"))
    folders = [Path("/usr/local/cuda/lib64")]
    for entry in sys.path:
        folders += [Path(entry) / "nvidia" / package / "lib" for package in ("cu13", "cuda_runtime")]
    for folder in folders:
        yield from (str(path) for path in sorted(folder.glob("libcudart.so.*"), reverse=True))
