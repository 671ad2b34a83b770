"""A stand-in for libcudart: memory, streams and graphs as CUDA has them, kept in this process and watched closely.

Its functions are C functions to ctypes, with CUDA's own signatures. Addresses on the "GPU" lie where nothing is:
whoever follows one on the CPU crashes. Work in a stream is only done when somebody waits for it: whoever looks too
early sees old values. What CUDA would not allow, or would punish by being slow, is an error here.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
ATTRIBUTES = {16: 8, 18: 1, 75: 8, 76: 7}  # 8 multiprocessors, integrated, sm_87
NAME = b"Stand-in Orin"
FREE_BYTES = 4 << 30
ERRORS = {
    1: b"cudaErrorInvalidValue",
    2: b"cudaErrorMemoryAllocation",
    35: b"cudaErrorInsufficientDriver",
    100: b"cudaErrorNoDevice",
    400: b"cudaErrorInvalidResourceHandle",
    700: b"cudaErrorIllegalAddress",
    901: b"cudaErrorStreamCaptureInvalidated",
}
# What still works when the GPU is lost to the process.
DESCRIBING = {"cudaGetDeviceCount", "cudaGetDeviceProperties", "cudaDeviceGetAttribute"}


class CallError(Exception):
    """A call that returns an error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Stream:
    """Work that waits, and the recording that takes its place during a capture."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.spoiled = False

    def put(self, work: Callable[[], None]) -> None:
        (self.waiting if self.recording is None else self.recording).append(work)


class Machine:
    """The GPU's state, and what has been complained about."""

    def __init__(self) -> None:
        self.device: dict[int, np.ndarray] = {}
        self.pinned: dict[int, ctypes.Array] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.executables: dict[int, list[Callable[[], None]]] = {}
        self.launches = 0
        self.copied = Counter[int]()
        self.pending = 0
        """The last failure that nobody has asked for."""
        self._next = 0x7EAD_0000_0000

    def last_error(self) -> int:
        """The pending failure, which is forgotten."""
        code, self.pending = self.pending, 0
        return code

    def handle(self, size: int = 1) -> int:
        """An address that nothing else has, with a gap after it."""
        made = self._next
        self._next += -(-(size + 256) // 256) * 256
        return made

    def device_bytes(self, address: int, size: int) -> np.ndarray:
        """The GPU's memory at an address. Fails on anything else, a pointer of the CPU's for example."""
        for start, memory in self.device.items():
            if start <= address and address + size <= start + len(memory):
                return memory[address - start : address - start + size]
        raise CallError(700, f"{address:#x} ({size} bytes) is not on the GPU")

    def pinned_bytes(self, address: int, size: int) -> np.ndarray:
        """Pinned memory of the CPU's."""
        for start, memory in self.pinned.items():
            if start <= address and address + size <= start + len(memory):
                return np.frombuffer(memory, np.uint8)[address - start : address - start + size]
        raise CallError(1, f"{address:#x} ({size} bytes) is not pinned")

    def stream(self, handle: int | None) -> Stream:
        if not handle or handle not in self.streams:
            raise CallError(400, f"there is no stream {handle}: the default one blocks all others")
        return self.streams[handle]


machine = Machine()


def fault(name: str) -> bool:
    """Is this fault wished for, in the environment?"""
    return name in os.environ.get("GPU_STAND_IN_FAULTS", "").split(",")


def _count(count: ctypes._Pointer) -> None:
    if fault("no driver"):
        raise CallError(35, "no driver")
    count[0] = 0 if fault("no gpu") else 1
    if fault("no gpu"):
        raise CallError(100, "no GPU")


def _properties(properties: int, device: int) -> None:
    ctypes.memmove(properties, NAME + bytes(4096 - len(NAME)), 4096)


def _attribute(value: ctypes._Pointer, attribute: int, device: int) -> None:
    value[0] = ATTRIBUTES[attribute]


def _memory_info(free: ctypes._Pointer, total: ctypes._Pointer) -> None:
    free[0], total[0] = FREE_BYTES, 2 * FREE_BYTES


def _malloc(address: ctypes._Pointer, size: int) -> None:
    if fault("gpu full"):
        raise CallError(2, "full")
    made = machine.handle(size)
    machine.device[made] = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    address[0] = made


def _free(address: int) -> None:
    if address not in machine.device:
        raise CallError(1, f"cudaFree of {address:#x}, which is not allocated")
    del machine.device[address]


def _malloc_host(address: ctypes._Pointer, size: int) -> None:
    memory = (ctypes.c_uint8 * size)(*b"\xff" * size)
    made = ctypes.addressof(memory)
    machine.pinned[made] = memory
    address[0] = made


def _free_host(address: int) -> None:
    if address not in machine.pinned:
        raise CallError(1, "cudaFreeHost of what is not allocated")
    del machine.pinned[address]


def _copy(target: int, source: int, size: int, kind: int, stream: int) -> None:
    if kind == HOST_TO_DEVICE:
        to, of = machine.device_bytes(target, size), machine.pinned_bytes(source, size)
    elif kind == DEVICE_TO_HOST:
        to, of = machine.pinned_bytes(target, size), machine.device_bytes(source, size)
    elif kind == DEVICE_TO_DEVICE:
        to, of = machine.device_bytes(target, size), machine.device_bytes(source, size)
    else:
        raise CallError(1, f"kind {kind}")

    def copy() -> None:
        np.copyto(to, of)
        machine.copied[kind] += size

    machine.stream(stream).put(copy)


def _make_stream(stream: ctypes._Pointer, flags: int) -> None:
    if flags != 1:
        raise CallError(1, "a stream that waits for the default one")
    made = machine.handle()
    machine.streams[made] = Stream()
    stream[0] = made


def _destroy_stream(stream: int) -> None:
    machine.stream(stream)
    del machine.streams[stream]


def _synchronize(stream: int) -> None:
    waited = machine.stream(stream)
    if waited.recording is not None:
        waited.spoiled = True
        raise CallError(901, "waiting is not possible during a capture")
    work, waited.waiting = waited.waiting, []
    for step in work:
        step()


def _begin(stream: int, mode: int) -> None:
    captured = machine.stream(stream)
    if mode != 1 or captured.recording is not None:
        raise CallError(1, "capture mode is not thread-local, or a capture is under way")
    captured.recording, captured.spoiled = [], fault("no capture")


def _end(stream: int, graph: ctypes._Pointer) -> None:
    captured = machine.stream(stream)
    if captured.recording is None:
        raise CallError(1, "no capture is under way")
    work, captured.recording = captured.recording, None
    if captured.spoiled:
        raise CallError(901, "the capture is spoiled")
    made = machine.handle()
    machine.graphs[made] = work
    graph[0] = made


def _instantiate(executable: ctypes._Pointer, graph: int, flags: int) -> None:
    if fault("no graph"):
        raise CallError(1, "this cannot be instantiated")
    made = machine.handle()
    machine.executables[made] = machine.graphs[graph]
    executable[0] = made


def _launch(executable: int, stream: int) -> None:
    machine.launches += 1
    for step in machine.executables[executable]:
        machine.stream(stream).put(step)


def _destroy_graph(graph: int) -> None:
    del machine.graphs[graph]


def _destroy_executable(executable: int) -> None:
    del machine.executables[executable]


_pointer, _size, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_FUNCTIONS: dict[str, tuple[Callable[..., None], tuple[type, ...]]] = {
    "cudaGetDeviceCount": (_count, (ctypes.POINTER(_int),)),
    "cudaGetDeviceProperties": (_properties, (_pointer, _int)),
    "cudaDeviceGetAttribute": (_attribute, (ctypes.POINTER(_int), _int, _int)),
    "cudaMemGetInfo": (_memory_info, (ctypes.POINTER(_size), ctypes.POINTER(_size))),
    "cudaMalloc": (_malloc, (ctypes.POINTER(_pointer), _size)),
    "cudaFree": (_free, (_pointer,)),
    "cudaMallocHost": (_malloc_host, (ctypes.POINTER(_pointer), _size)),
    "cudaFreeHost": (_free_host, (_pointer,)),
    "cudaMemcpyAsync": (_copy, (_pointer, _pointer, _size, _int, _pointer)),
    "cudaStreamCreateWithFlags": (_make_stream, (ctypes.POINTER(_pointer), ctypes.c_uint)),
    "cudaStreamDestroy": (_destroy_stream, (_pointer,)),
    "cudaStreamSynchronize": (_synchronize, (_pointer,)),
    "cudaStreamBeginCapture": (_begin, (_pointer, _int)),
    "cudaStreamEndCapture": (_end, (_pointer, ctypes.POINTER(_pointer))),
    "cudaGraphInstantiateWithFlags": (_instantiate, (ctypes.POINTER(_pointer), _pointer, ctypes.c_ulonglong)),
    "cudaGraphLaunch": (_launch, (_pointer, _pointer)),
    "cudaGraphDestroy": (_destroy_graph, (_pointer,)),
    "cudaGraphExecDestroy": (_destroy_executable, (_pointer,)),
    "cudaDeviceSynchronize": (lambda: None, ()),
}


def _as_c(name: str, function: Callable[..., None], arguments: tuple[type, ...]) -> Callable[..., int]:
    """The function as C's, with CUDA's way to fail."""

    def call(*values: object) -> int:
        try:
            if fault("lost gpu") and name not in DESCRIBING:
                raise CallError(700, "the GPU is lost to this process")
            function(*values)
        except CallError as failure:
            print(f"stand-in: {name}: {failure}", file=sys.stderr)
            machine.pending = failure.code
            return failure.code
        except Exception as error:  # an exception cannot cross C
            print(f"stand-in: {name}: {error!r}", file=sys.stderr)
            machine.pending = 1
            return 1
        return 0

    return ctypes.CFUNCTYPE(_int, *arguments)(call)


class Library:
    """What ctypes.CDLL gives for libcudart."""

    def __init__(self) -> None:
        for name, (function, arguments) in _FUNCTIONS.items():
            setattr(self, name, _as_c(name, function, arguments))
        self.cudaGetLastError = ctypes.CFUNCTYPE(_int)(machine.last_error)
        self._names = {code: ctypes.create_string_buffer(text) for code, text in ERRORS.items()}
        names = self._names
        self.cudaGetErrorName = ctypes.CFUNCTYPE(ctypes.c_void_p, _int)(
            lambda code: ctypes.addressof(names[code]) if code in names else None
        )


_library = Library()
_real_cdll = ctypes.CDLL


def install() -> None:
    """From here on, whoever loads libcudart gets the stand-in."""

    def load(name: str | None, *arguments: object, **options: object) -> object:
        return _library if name and "libcudart" in str(name) else _real_cdll(name, *arguments, **options)

    ctypes.CDLL = load  # type: ignore[assignment, misc]
