from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the tests make small networks with onnx")
import onnx
import small_networks

from pose3d_ros.engines.engine import EngineError
from pose3d_ros.engines.onnx_runtime import CPU, CUDA, OnnxRuntimeEngine, providers_present


def write_doubler(path: Path, kind: int = 1) -> Path:
    """A network that doubles x [n, 3]."""
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", kind, ["n", 3])
    y = helper.make_tensor_value_info("y", kind, ["n", 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubler", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def doubler(tmp_path: Path) -> Path:
    return write_doubler(tmp_path / "doubler.onnx")


def test_runs_a_network_and_tells_its_shapes(doubler: Path) -> None:
    engine = OnnxRuntimeEngine(doubler, threads=1)
    assert engine.inputs[0].name == "x"
    assert engine.inputs[0].shape == (None, 3)
    assert engine.outputs[0].dtype == np.float32
    assert "CPU" in engine.device
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(engine.run({"x": x})["y"], 2 * x)
    engine.close()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no network at .*gone\.onnx"):
        OnnxRuntimeEngine(tmp_path / "gone.onnx")


@pytest.mark.parametrize("keep", [0, 40, -20])
def test_a_truncated_file_is_named(doubler: Path, keep: int) -> None:
    doubler.write_bytes(doubler.read_bytes()[:keep])
    with pytest.raises(EngineError, match=r"doubler\.onnx is not a readable ONNX network"):
        OnnxRuntimeEngine(doubler)


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(EngineError, match="not a readable ONNX network"):
        OnnxRuntimeEngine(path)


def test_a_network_that_finds_no_memory_is_not_called_unreadable(doubler: Path, monkeypatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", Mock(side_effect=RuntimeError("out of memory")))
    with pytest.raises(EngineError, match=r"doubler\.onnx cannot be loaded \(out of memory\)$"):
        OnnxRuntimeEngine(doubler)


def test_a_state_that_is_missing_is_named(tmp_path: Path) -> None:
    engine = OnnxRuntimeEngine(small_networks.write_memory(tmp_path / "memory.onnx"), threads=1)
    with pytest.raises(EngineError, match=r"memory\.onnx: .*[Mm]issing.*state|memory\.onnx: .*state.*missing"):
        engine.run({"levels": np.zeros((1, 2), np.float32)})


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((2, 4), np.float32)},
        {"x": np.zeros((2, 3), np.float64)},
        {"z": np.zeros((2, 3), np.float32)},
        {},
    ],
    ids=["shape", "type", "name", "nothing"],
)
def test_arrays_that_do_not_fit(doubler: Path, arrays: dict) -> None:
    engine = OnnxRuntimeEngine(doubler)
    with pytest.raises(EngineError, match=r"doubler\.onnx"):
        engine.run(arrays)
    assert engine.run({"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[2, 2, 2]]


def test_a_network_of_unknown_element_type_is_refused(tmp_path: Path) -> None:
    path = write_doubler(tmp_path / "half.onnx", kind=10)
    with pytest.raises(EngineError, match="which no stage uses"):
        OnnxRuntimeEngine(path)


def test_a_provider_that_does_not_load_is_told(doubler: Path) -> None:
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        engine = OnnxRuntimeEngine(doubler, threads=1, providers=(CUDA, CPU))
    assert engine.device.startswith("CPU, 1 threads (CUDA did not load), ONNX Runtime")
    assert OnnxRuntimeEngine(doubler, threads=1).device.startswith("CPU, 1 threads, ONNX Runtime")


def test_a_provider_that_fails_in_a_run_is_an_error_and_not_replaced(doubler: Path, monkeypatch, capfd) -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    engine = OnnxRuntimeEngine(doubler, threads=1)
    failing = Mock(wraps=engine._session._sess)
    failing.run.side_effect = state.EPFail("CUDA failure 700")
    monkeypatch.setattr(engine._session, "_sess", failing)
    with pytest.raises(EngineError, match=r"doubler\.onnx: CUDA failure 700"):
        engine.run({"x": np.ones((1, 3), np.float32)})
    assert capfd.readouterr().out == ""


def test_the_best_provider_that_is_there_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    for present, wanted in (
        (["TensorrtExecutionProvider", CUDA, CPU], [CUDA, CPU]),
        (["AzureExecutionProvider", CPU], [CPU]),
    ):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda present=present: present)
        assert providers_present() == wanted
