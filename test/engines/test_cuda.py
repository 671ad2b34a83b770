from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from pose3d_ros.engines import cuda as module
from pose3d_ros.engines.cuda import Cuda, CudaError
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError


def test_the_gpu_is_described(gpu_machine) -> None:
    gpu_machine()
    gpu = module.cuda().gpu()
    assert gpu == ("Stand-in Orin", (8, 7), 8, True)
    assert str(gpu) == "Stand-in Orin (sm_87)"


def test_free_memory_is_the_computers_where_the_gpu_shares_it(gpu_machine, tmp_path: Path, monkeypatch) -> None:
    machine = gpu_machine()
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       7800000 kB\nMemFree:          90000 kB\nMemAvailable:    3000000 kB\n")
    monkeypatch.setattr(module, "_MEMINFO", meminfo)
    assert module.cuda().free_memory() == 3_000_000 * 1024
    monkeypatch.setitem(machine.cudart.ATTRIBUTES, 18, 0)
    assert module.cuda().free_memory() == 4 << 30


def test_bytes_go_to_the_gpu_and_come_back_when_one_waits(gpu_machine) -> None:
    machine = gpu_machine().cudart.machine
    cuda = module.cuda()
    stream, there = cuda.make_stream(), cuda.allocate(100)
    here = cuda.allocate_pinned(100)
    assert not here.any()
    here[:] = np.arange(100)
    cuda.upload(there, here, stream)
    back = cuda.allocate_pinned(50)
    cuda.download(back, there + 50, stream)
    assert not back.any()
    cuda.synchronize(stream)
    assert np.array_equal(back, np.arange(50, 100))
    cuda.free(there)
    for memory in (here, back):
        cuda.free_pinned(memory)
    cuda.destroy_stream(stream)
    assert not machine.device
    assert not machine.pinned
    assert not machine.streams


def recorded_and_launched(cuda: Cuda, stream: int, there: int, here: np.ndarray, back: np.ndarray) -> int:
    """A graph that copies there and back, after it has done so twice; still to be destroyed."""
    cuda.begin_capture(stream)
    cuda.upload(there, here, stream)
    cuda.download(back, there, stream)
    graph = cuda.end_capture(stream)
    for value in (3, 7):
        here[:] = value
        cuda.launch(graph, stream)
        cuda.synchronize(stream)
        assert np.array_equal(back, np.full_like(back, value))
    return graph


def test_a_graph_does_again_what_was_recorded(gpu_machine) -> None:
    machine = gpu_machine().cudart.machine
    cuda = module.cuda()
    stream, there = cuda.make_stream(), cuda.allocate(4)
    here, back = cuda.allocate_pinned(4), cuda.allocate_pinned(4)
    graph = recorded_and_launched(cuda, stream, there, here, back)
    cuda.destroy_graph(graph)
    assert not machine.graphs
    assert not machine.executables


def test_memory_that_is_not_pinned_and_addresses_that_are_not_the_gpus_are_refused(gpu_machine) -> None:
    gpu_machine()
    cuda = module.cuda()
    stream, there, here = cuda.make_stream(), cuda.allocate(8), cuda.allocate_pinned(8)
    with pytest.raises(CudaError, match="cudaErrorInvalidValue"):
        cuda.upload(there, np.zeros(8, np.uint8), stream)
    with pytest.raises(CudaError, match="cudaErrorIllegalAddress"):
        cuda.upload(here.ctypes.data, here, stream)
    with pytest.raises(CudaError, match="cudaErrorIllegalAddress"):
        cuda.download(here, there + 1, stream)


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [("no driver", 35, "cudaErrorInsufficientDriver.*install one"), ("no gpu", 100, "cudaErrorNoDevice.*--gpus all")],
)
def test_a_machine_without_driver_or_gpu_is_told_what_to_do(gpu_machine, fault: str, code: int, text: str) -> None:
    gpu_machine(faults=fault)
    with pytest.raises(CudaError, match=text) as error:
        module.cuda()
    assert error.value.code == code


def test_a_full_gpu_is_named(gpu_machine) -> None:
    gpu_machine(faults="gpu full")
    text = r"cudaMalloc failed with cudaErrorMemoryAllocation \(2\): .*memory is full"
    with pytest.raises(OutOfMemoryError, match=text) as error:
        module.cuda().allocate(10)
    assert isinstance(error.value, CudaError)


def test_a_failure_is_told_once(gpu_machine) -> None:
    """And not again to TensorRT, which would take it for its own."""
    machine = gpu_machine(faults="gpu full").cudart.machine
    with pytest.raises(CudaError):
        module.cuda().allocate(10)
    assert not machine.pending


def test_a_gpu_that_is_lost_is_told_from_one_that_is_full(gpu_machine, monkeypatch) -> None:
    gpu_machine(faults="gpu full")
    with pytest.raises(CudaError) as full:
        module.cuda().allocate(10)
    module.cuda().check()
    monkeypatch.setenv("GPU_STAND_IN_FAULTS", "lost gpu")
    with pytest.raises(CudaError, match=r"cudaErrorIllegalAddress \(700\): .*restart the node") as lost:
        module.cuda().check()
    assert (full.value.is_lasting, lost.value.is_lasting) == (False, True)


@pytest.mark.parametrize("working", ["libcudart.so.12", ""])
def test_a_library_that_does_not_work_here_gives_way_to_the_next(gpu_machine, working: str, monkeypatch) -> None:
    """As that of CUDA 13 does with a driver for CUDA 12."""
    cudart = gpu_machine().cudart

    def refuse(code: int):
        def count(_: object) -> None:
            raise cudart.CallError(code, "no driver for this")

        return cudart._as_c("cudaGetDeviceCount", count, (ctypes.POINTER(ctypes.c_int),))

    def load(name: str) -> object:
        library = cudart.Library()
        if name != working:
            library.cudaGetDeviceCount = refuse(35 if name == "libcudart.so.13" else 100)
        return library

    monkeypatch.setattr(module, "_places", lambda: iter(["libcudart.so.13", "libcudart.so.12"]))
    module.cuda.cache_clear()
    with monkeypatch.context() as libraries:
        libraries.setattr(ctypes, "CDLL", load)
        if working:
            assert module.cuda().gpu().name == "Stand-in Orin"
        else:
            with pytest.raises(CudaError, match=r"cudaErrorInsufficientDriver \(35\)"):
                module.cuda()


def test_a_machine_without_cuda_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_places", lambda: iter(["/nowhere/libcudart.so.12"]))
    module.cuda.cache_clear()
    with pytest.raises(EngineError, match=r"no libcudart\.so.*LD_LIBRARY_PATH"):
        module.cuda()


def test_the_library_is_looked_for_where_pip_and_nvidia_put_it(tmp_path: Path, monkeypatch) -> None:
    for folder, name in (("cu13", "libcudart.so.13"), ("cuda_runtime", "libcudart.so.12")):
        (tmp_path / "nvidia" / folder / "lib").mkdir(parents=True)
        (tmp_path / "nvidia" / folder / "lib" / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    places = list(module._places())
    assert places.index("libcudart.so.13") < places.index(str(tmp_path / "nvidia/cu13/lib/libcudart.so.13"))
    assert str(tmp_path / "nvidia/cuda_runtime/lib/libcudart.so.12") in places


def test_an_old_library_is_refused() -> None:
    with pytest.raises(EngineError, match=r"too old.*CUDA 11\.4"):
        Cuda(ctypes.CDLL(None))


def test_a_real_gpu_where_one_is_at_hand() -> None:
    """Copies, pinned memory, a stream and a graph, on the machine's own driver."""
    module.cuda.cache_clear()
    try:
        cuda = module.cuda()
    except EngineError as error:
        pytest.skip(str(error))
    assert cuda.gpu().name
    assert cuda.free_memory() > 0
    size = 1 << 20
    stream, there = cuda.make_stream(), cuda.allocate(size)
    here, back = cuda.allocate_pinned(size), cuda.allocate_pinned(size)
    values = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    here[:] = values
    cuda.upload(there, here, stream)
    cuda.download(back, there, stream)
    cuda.synchronize(stream)
    assert np.array_equal(back, values)
    graph = recorded_and_launched(cuda, stream, there, here, back)
    with pytest.raises(OutOfMemoryError):
        cuda.allocate(1 << 60)
    cuda.destroy_graph(graph)
    cuda.free(there)
    for memory in (here, back):
        cuda.free_pinned(memory)
    cuda.destroy_stream(stream)
