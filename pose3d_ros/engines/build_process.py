"""Runs a build in a process of its own: it may run out of memory, or be killed, and the robot's node lives on.

The worker reads its job, a line of JSON, from standard input; when that ends, it gives up. It writes events, a line of
JSON each, to standard output: {"progress": 0…1 or null, "text": …}, and at last {"result": {…}} or
{"failure": text, "kind": "memory" | "cancelled" | "other"}.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pose3d_ros
from pose3d_ros.engines.build_progress import BuildCancelledError, Progress
from pose3d_ros.engines.engine import EngineError, OutOfMemoryError

_POLL_S = 0.2
# Soon, as a node shall end within two seconds; what the worker writes is whole or not there.
_GIVE_UP_S = 1.5
_TOLD_LINES = 5


def run_worker(
    module: str, job: Mapping[str, Any], report: Progress, is_cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Runs `python -m <module>` on a job, and returns its result.

    Raises OutOfMemoryError, also when the system has killed the worker; BuildCancelledError once the worker has ended
    because is_cancelled; EngineError with the worker's reason for any other failure.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        worker = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for us: we end it in order
        )
        try:
            last = _follow(worker, job, report, is_cancelled)
            if last is None:
                raise BuildCancelledError("the build was cancelled")
            status = worker.wait()
        finally:
            _end(worker)
        if "result" in last:
            return dict(last["result"])
        if "failure" in last:
            kinds = {"memory": OutOfMemoryError, "cancelled": BuildCancelledError}
            raise kinds.get(last["kind"], EngineError)(last["failure"])
        if status == -signal.SIGKILL:
            raise OutOfMemoryError("the build was killed, most likely because memory ran out")
        raise EngineError(f"the build ended with status {status}: {_tail(complaints)}")


def _follow(
    worker: subprocess.Popen[str], job: Mapping[str, Any], report: Progress, is_cancelled: Callable[[], bool]
) -> dict[str, Any] | None:
    """Hands the job over and reports until the worker ends; returns its last event, or None when it was cancelled."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    events: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_listen, args=(worker.stdout, events), daemon=True).start()
    with suppress(BrokenPipeError):  # it has ended already; its status will say why
        worker.stdin.write(json.dumps(job) + "\n")
        worker.stdin.flush()
    last: dict[str, Any] = {}
    done, text, since, told = None, "starting", time.monotonic(), 0
    while True:
        if is_cancelled():
            return None
        try:
            event = events.get(timeout=_POLL_S)
        except queue.Empty:
            seconds = int(time.monotonic() - since)
            if seconds > told:  # a sign of life, above all where TensorRT tells of no progress
                told = seconds
                report(done, f"{text}, {seconds} s")
            continue
        if event is None:
            return last
        if "text" in event:
            done, text, since, told = event["progress"], event["text"], time.monotonic(), 0
            report(done, text)
        else:
            last = event


def _listen(output: IO[str], events: queue.Queue[dict[str, Any] | None]) -> None:
    for line in output:
        # Anything else is a library's greeting, or what was left of a line when the worker was killed.
        if line.startswith("{"):
            with suppress(ValueError):
                events.put(json.loads(line))
    events.put(None)


def _end(worker: subprocess.Popen[str]) -> None:
    """Has the worker give up, by force if it must be. What it was about to write is not there, or whole."""
    assert worker.stdin is not None
    if worker.poll() is None:
        with suppress(BrokenPipeError):
            worker.stdin.close()
        try:
            worker.wait(_GIVE_UP_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _environment() -> dict[str, str]:
    """Ours, in which the worker finds this very package."""
    places = [str(Path(pose3d_ros.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in places if place)}


def _tail(complaints: IO[str]) -> str:
    complaints.seek(0)
    return " | ".join(complaints.read().strip().splitlines()[-_TOLD_LINES:]) or "it gave no reason"
