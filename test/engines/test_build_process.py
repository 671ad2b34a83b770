"""Builds in a process of their own: real processes, whose worker is a few lines of Python."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pose3d_ros.engines import build_process
from pose3d_ros.engines.build_process import run_worker
from pose3d_ros.engines.build_progress import BuildCancelledError
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError

START = """\
import json, os, sys, time
job = json.loads(sys.stdin.readline())
tell = lambda **event: print(json.dumps(event), flush=True)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a module of some lines, which run after the job was read; returns its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(lines: str) -> str:
        (tmp_path / "some_worker.py").write_text(START + lines)
        return "some_worker"

    return make


def never() -> bool:
    return False


def test_progress_and_the_result_come_back(worker) -> None:
    told = []
    module = worker("tell(progress=0.5, text='half')\ntell(result={'twice': 2 * job['n']})")
    assert run_worker(module, {"n": 21}, lambda *news: told.append(news), never) == {"twice": 42}
    assert (0.5, "half") in told


@pytest.mark.parametrize("line", ["Hello from a library", "{cut o", "42"])
def test_what_others_write_is_passed_over(worker, line: str) -> None:
    module = worker(f"print({line!r}, flush=True)\ntell(result={{'n': 1}})\nprint({line!r})")
    assert run_worker(module, {}, lambda *_: None, never) == {"n": 1}


@pytest.mark.parametrize(
    ("lines", "kind", "text"),
    [
        ("tell(failure='no memory', kind='memory')", OutOfMemoryError, "no memory"),
        ("tell(failure='given up', kind='cancelled')", BuildCancelledError, "given up"),
        ("tell(failure='no parser', kind='other')", EngineError, "no parser"),
        ("os.kill(os.getpid(), 9)", OutOfMemoryError, "killed, most likely because memory ran out"),
        ("os.abort()", EngineError, "ended with status -6: it gave no reason"),
        ("sys.exit('libnvinfer is broken')", EngineError, "ended with status 1: libnvinfer is broken"),
    ],
)
def test_every_way_to_fail_has_its_reason(worker, lines: str, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text) as error:
        run_worker(worker(lines), {}, lambda *_: None, never)
    assert type(error.value) is kind


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "lines",
    [
        "tell(progress=None, text=str(os.getpid()))\nsys.stdin.read()",
        "tell(progress=None, text=str(os.getpid()))\ntime.sleep(600)",
    ],
    ids=["that listens", "that does not"],
)
def test_a_cancelled_worker_ends(worker, lines: str) -> None:
    told: list[str] = []
    started = time.monotonic()
    with pytest.raises(BuildCancelledError):
        run_worker(worker(lines), {}, lambda _, text: told.append(text), lambda: any(t.isdigit() for t in told))
    assert not is_running(int(next(text for text in told if text.isdigit())))
    assert time.monotonic() - started < 30


def test_ctrl_c_ends_the_worker(worker) -> None:
    told: list[str] = []

    def interrupt(_: float | None, text: str) -> None:
        if text.isdigit():
            told.append(text)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker(worker("tell(progress=None, text=str(os.getpid()))\nsys.stdin.read()"), {}, interrupt, never)
    assert not is_running(int(told[0]))


def test_a_silent_worker_shows_that_it_lives(worker, monkeypatch) -> None:
    monkeypatch.setattr(build_process, "_POLL_S", 0.05)
    told: list[str] = []
    module = worker("tell(progress=None, text='building')\nsys.stdin.read()")
    with pytest.raises(BuildCancelledError):
        run_worker(module, {}, lambda _, text: told.append(text), lambda: "building, 1 s" in told)
