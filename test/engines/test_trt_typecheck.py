"""Our calls of TensorRT against the real bindings' signatures, where these can be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

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


def errors(version: str, files: list[Path]) -> list[str]:
    pytest.importorskip("mypy", reason="types are checked with mypy")
    try:
        return tool.errors(version, files)
    except tool.UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("version", tool.VERSIONS)
def test_our_calls_exist_in_every_version(version: str) -> None:
    assert not errors(version, tool.files_with_tensorrt())


@pytest.mark.parametrize(
    ("version", "wrong"),
    [("tensorrt_bindings==8.6.1", {5, 8}), ("tensorrt_cu12_bindings==11.4.0.106", {5, 6, 7})],
)
def test_calls_that_a_version_does_not_have_are_found(tmp_path: Path, version: str, wrong: set[int]) -> None:
    path = tmp_path / "calls.py"
    path.write_text(CALLS)
    assert {int(line.split(":")[1]) for line in errors(version, [path])} == wrong


def test_what_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "CACHE", tmp_path)
    monkeypatch.setattr(tool, "_PIP", (tool.sys.executable, "-c", "raise SystemExit('no such wheel')"))
    with pytest.raises(tool.UnavailableError, match=r"no wheel of tensorrt==1: no such wheel|Linux on x86-64"):
        tool.errors("tensorrt==1", [])


def test_all_modules_that_use_tensorrt_are_checked() -> None:
    names = {path.name for path in tool.files_with_tensorrt()}
    assert names == {"engine_worker.py", "store.py", "tensorrt.py", "tensorrt_builder.py"}
