"""Starts our nodes as processes of their own, in one environment, and ends them; for the demo and the benchmark."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # to Jazzy, from Kilted on
_PACKAGE = "pose3d_ros"
_STOP_TIMEOUT_S = 10.0
# Above this, DDS' ports meet those that the system gives to outgoing connections.
_LAST_DOMAIN = 101


def profile_file() -> Path | None:
    """config/fastdds.xml of the source tree, else of the installed share; None if there is none."""
    here = Path(__file__).resolve()
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    shares = [prefix / "share" / _PACKAGE for prefix in (*here.parents, *prefixes)]
    places = [folder / "config" / "fastdds.xml" for folder in (here.parents[2], *shares)]
    return next((place for place in places if place.is_file()), None)


def ros_environment(with_profile: bool = True) -> dict[str, str]:
    """Variables for processes that shall find each other, and nobody else: this machine only, a domain of their own.

    A domain or a Fast DDS profile that the environment has already is kept, but for with_profile False: no profile.
    """
    variables = dict(os.environ)
    variables.setdefault("ROS_DOMAIN_ID", str(random.randint(1, _LAST_DOMAIN)))
    variables.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")  # from Iron on
    variables.setdefault("PYTHONUNBUFFERED", "1")
    profile = profile_file()
    for name in PROFILE_VARIABLES:
        if not with_profile:
            variables.pop(name, None)
        elif profile is not None:
            variables.setdefault(name, str(profile))
    return variables


class NodeProcess:
    """`python -m pose3d_ros.ros.<module>` with parameters, its output in a file. Ends with the `with` block."""

    def __init__(
        self, module: str, parameters: Mapping[str, Any], environment: Mapping[str, str], log: Path, *arguments: str
    ) -> None:
        self.name = module
        self.log = log
        command = [sys.executable, "-m", f"{_PACKAGE}.ros.{module}", "--ros-args", *arguments]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={json.dumps(value)}"]  # the value is parsed as YAML, of which JSON is a part
        with log.open("w", encoding="utf-8") as file:
            # A session of its own: Ctrl-C is for us, and we end the nodes in order.
            self._process = subprocess.Popen(
                command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process' number."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ending(self) -> str:
        """That it has ended, and what it had printed; empty while it runs."""
        return "" if self.exit_status is None else f"{self.name} ended:\n{self.output().strip()}"

    def wait(self, timeout_s: float) -> int | None:
        """Waits for its end; None if it still runs then."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, signal_number: int = signal.SIGINT) -> int:
        """Ends it, by force if it does not go by itself; returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal_number)
            if self.wait(_STOP_TIMEOUT_S) is None:
                self._process.kill()
        return self._process.wait()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
