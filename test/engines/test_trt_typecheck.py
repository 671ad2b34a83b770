"""Our calls of TensorRT against the real bindings' signatures, where these can be had."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="types are checked with mypy")

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("trt_typecheck", ROOT / "tools" / "trt_typecheck.py")
tool = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)

# A name that is wrong, one that went with TensorRT 10, one that went with 11, and one that came with 10.
CALLS = """\
import tensorrt as trt


def use(builder: trt.Builder, config: trt.IBuilderConfig) -> None:
    builder.create_newtork(0)
    config.max_workspace_size = 1
    config.set_flag(trt.BuilderFlag.FP16)
    print(trt.IProgressMonitor)
"""


# What our modules do at once or without a GPU: their classes, the names that they look up, and how a build fails.
USE = """\
import sys
from pathlib import Path

import tensorrt as trt

from pose3d_ros.engines import tensorrt, tensorrt_builder
from pose3d_ros.engines.engine import EngineError

told = []
if tensorrt_builder.tensorrt_version() >= (10,):
    monitor = tensorrt_builder._monitor(lambda *news: told.append(news), lambda: False)
    assert isinstance(monitor, trt.IProgressMonitor)
    monitor.phase_start("a", None, 2)
    assert monitor.step_complete("a", 0)
    monitor.phase_finish("a")
    assert told == [(0.5, "a"), (1.0, "a")]
tensorrt.tensorrt_log().log(trt.ILogger.Severity.ERROR, "a reason")
assert tensorrt.tensorrt_log().text == "a reason"
names = tensorrt_builder._WEIGHTED | tensorrt_builder._PASSING
assert names - {"FULLY_CONNECTED"} <= set(trt.LayerType.__members__)
assert str(trt.LayerType.CONVOLUTION).rpartition(".")[2] == "CONVOLUTION"
try:
    job = tensorrt_builder.Job(Path("none.onnx"), "fp16", tensorrt_builder.Budget(1, 1))
    tensorrt_builder.build(job, lambda *_: None, lambda: False)
except EngineError as error:
    print(trt.__version__, error)
"""


def had(version: str) -> Path:
    """The version's bindings."""
    try:
        return tool.bindings(version)
    except tool.UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("version", tool.VERSIONS)
def test_our_calls_exist_in_every_version(version: str) -> None:
    had(version)
    assert not tool.errors(version, tool.files_with_tensorrt())


@pytest.mark.parametrize("version", tool.VERSIONS)
def test_our_modules_work_with_the_real_bindings(version: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(had(version)), *sys.path])}
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{version.partition('==')[2]} TensorRT's builder does not start")


@pytest.mark.parametrize(
    ("version", "wrong"),
    [("tensorrt_bindings==8.6.1", {5, 8}), ("tensorrt_cu12_bindings==11.4.0.106", {5, 6, 7})],
)
def test_calls_that_a_version_does_not_have_are_found(tmp_path: Path, version: str, wrong: set[int]) -> None:
    path = tmp_path / "calls.py"
    path.write_text(CALLS)
    had(version)
    assert {int(line.split(":")[1]) for line in tool.errors(version, [path])} == wrong


def test_what_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "CACHE", tmp_path)
    monkeypatch.setattr(tool, "_PIP", (tool.sys.executable, "-c", "raise SystemExit('no such wheel')"))
    with pytest.raises(tool.UnavailableError, match=r"no wheel of tensorrt==1: no such wheel|Linux on x86-64"):
        tool.errors("tensorrt==1", [])


def test_all_modules_that_use_tensorrt_are_checked() -> None:
    names = {path.name for path in tool.files_with_tensorrt()}
    assert names == {"engine_worker.py", "store.py", "tensorrt.py", "tensorrt_builder.py"}
