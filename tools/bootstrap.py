"""Sets the project's virtual environment up. Only the standard library: this runs before anything is installed.

    python3 tools/bootstrap.py run        what the demo and the node need
    python3 tools/bootstrap.py test       that, and what the tests and linters need
    python3 tools/bootstrap.py packages   print the apt packages that are missing on this machine

Everything goes to `.venv`. Every step leaves a stamp when it has succeeded, so a second run takes no time and an
interrupted one goes on where it was. Without ROS 2, rclpy comes as wheels and the interface packages that no wheel
holds are compiled; where `import rclpy` works already (ROS 2 sourced), that ROS 2 is used and left as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = str(VENV / "bin" / "python")
STAMPS = VENV / "stamps"
OLDEST, NEWEST = (3, 10), (3, 13)
# The module that shows that a requirement is met, where it is not called like the requirement.
MODULES = {"opencv-python-headless": "cv2", "PyYAML": "yaml"}

PROBE = """
import importlib.util as u, json, os, sys, sysconfig
try:
    import rclpy
except Exception:
    ros = False
else:
    ros = True
print(json.dumps({
    "version": sys.version_info[:2],
    "base": sys._base_executable if sys.prefix != sys.base_prefix else None,
    "venv": bool(u.find_spec("venv") and u.find_spec("ensurepip")),
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
    "ros": ros,
}))
"""


class SetupError(Exception):
    """The environment cannot be set up; the message says what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that could carry the virtual environment."""

    path: str
    version: tuple[int, int]
    has_venv: bool
    has_headers: bool
    has_ros: bool

    @property
    def name(self) -> str:
        return f"python{self.version[0]}.{self.version[1]}"

    def missing_packages(self) -> list[str]:
        """The apt packages without which this interpreter cannot do the job."""
        packages = [] if self.has_venv else [f"{self.name}-venv"]
        if not self.has_ros:  # then interface packages are compiled
            packages += [] if self.has_headers else [f"{self.name}-dev"]
            packages += [name for name, variable in (("gcc", "CC"), ("g++", "CXX")) if not compiler(name, variable)]
        return packages


def compiler(name: str, variable: str) -> str | None:
    return shutil.which(os.environ.get(variable, name))


def say(text: str) -> None:
    print(f"-- {text}", flush=True)


def clean_environment() -> dict[str, str]:
    """The environment without what another virtual environment's ROS 2 wheels have left in it."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    if environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None):
        environment.pop("LD_LIBRARY_PATH", None)
    environment.pop("PYTHONHOME", None)
    return environment


def probe(command: str) -> Interpreter | None:
    """What the interpreter is able to do; None where it does not run."""
    path = shutil.which(command)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True, env=clean_environment()
        )
        facts = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None  # a shim without a Python behind it, for example
    if facts["base"]:  # an activated virtual environment; ours is made from the Python behind it
        return probe(facts["base"])
    major, minor = facts["version"]
    return Interpreter(path, (major, minor), facts["venv"], facts["headers"], facts["ros"])


def candidates() -> Iterator[Interpreter]:
    names = [os.environ["PYTHON"]] if os.environ.get("PYTHON") else ["python3", "/usr/bin/python3"]
    if not os.environ.get("PYTHON"):
        names += [f"python{OLDEST[0]}.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    for name in names:
        interpreter = probe(name)
        if interpreter is not None:
            yield interpreter


def choose_interpreter() -> Interpreter:
    """The Python to use: one that sees ROS 2 where it is sourced, else one that lacks as little as possible."""
    found = list(candidates())
    usable = [interpreter for interpreter in found if OLDEST <= interpreter.version <= NEWEST]
    # ROS 2 itself decides which Python it runs on, so its interpreter may be newer than what the wheels are made for.
    for interpreter in found:
        if interpreter.has_ros and interpreter.version >= OLDEST:
            return interpreter
    if not usable:
        seen = ", ".join(f"{interpreter.name} ({interpreter.path})" for interpreter in found) or "none"
        raise SetupError(
            f"no Python from {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} found (seen: {seen}).\n"
            "   Install one (apt install python3 python3-venv), or name it: make demo PYTHON=/path/to/python3"
        )
    return min(usable, key=lambda interpreter: len(interpreter.missing_packages()))


def check_machine(interpreter: Interpreter) -> None:
    if os.environ.get("ROS_DISTRO") and not interpreter.has_ros:
        say(f"ROS_DISTRO is {os.environ['ROS_DISTRO']}, but no Python here can import rclpy: using wheels instead")
    missing = interpreter.missing_packages()
    if missing:
        raise SetupError(
            f"missing on this machine: {' '.join(missing)}. Install them and run this again:\n"
            f"   sudo apt install {' '.join(missing)}"
        )
    if not interpreter.has_ros and (sys.platform != "linux" or platform.machine() != "x86_64"):
        raise SetupError(
            f"there are no ROS 2 wheels for {platform.system()} on {platform.machine()} (x86-64 Linux only).\n"
            "   Install ROS 2, source its setup file and run this again."
        )


def digest(*parts: str | Path) -> str:
    """A hash of texts and of files' contents."""
    result = hashlib.sha256()
    for part in parts:
        result.update((part.read_bytes() if isinstance(part, Path) else part.encode()) + b"\0")
    return result.hexdigest()


def step(name: str, fingerprint: str, description: str, action: Callable[[], bool | None]) -> None:
    """Do the action unless it has succeeded before with the same fingerprint. It returns False to be tried again."""
    stamp = STAMPS / name
    if stamp.exists() and stamp.read_text() == fingerprint:
        return
    say(description)
    started = time.monotonic()
    if action() is False:
        return
    STAMPS.mkdir(parents=True, exist_ok=True)
    stamp.write_text(fingerprint)
    say(f"   done in {time.monotonic() - started:.0f} s")


def python(*arguments: str) -> None:
    """Run the virtual environment's Python; its output is shown."""
    command = [VENV_PYTHON, *arguments]
    if subprocess.run(command, env=clean_environment(), cwd=ROOT, check=False).returncode:
        raise SetupError(
            f"this failed: {' '.join(command)}\n   The reason is above. Run make again: it goes on from here."
        )


def pip_install(*arguments: str) -> None:
    python("-m", "pip", "install", "-qq", *arguments)


def venv_version() -> str | None:
    """`3.11`, for example; None where `.venv` is absent or does not work."""
    code = "import sys, pip; assert sys.prefix != sys.base_prefix; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [VENV_PYTHON, "-c", code], capture_output=True, text=True, check=True, env=clean_environment()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def make_venv(interpreter: Interpreter) -> None:
    """Create `.venv`, or make it again where it is broken or was made for something else."""
    version = venv_version()
    if version is not None:
        sees_system = "include-system-site-packages = true" in (VENV / "pyvenv.cfg").read_text()
        wrong_version = bool(os.environ.get("PYTHON")) and f"python{version}" != interpreter.name
        if sees_system == interpreter.has_ros and not wrong_version:
            return
        known = "this machine's ROS 2" if sees_system else "ROS 2 wheels"
        say(f".venv was made for Python {version} and {known}: making it again")
    elif VENV.exists():
        if any(VENV.iterdir()) and not (VENV / "pyvenv.cfg").exists():
            raise SetupError(f"{VENV} is not a virtual environment: move it away")
        say(".venv is incomplete: making it again")
    shutil.rmtree(VENV, ignore_errors=True)

    say(f"setting .venv up with {interpreter.name} ({interpreter.path}); the first time takes some minutes")
    say("ROS 2: the one on this machine" if interpreter.has_ros else "ROS 2: not on this machine, installing wheels")
    system = ["--system-site-packages"] if interpreter.has_ros else []
    command = [interpreter.path, "-m", "venv", *system, str(VENV)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
    if done.returncode:
        raise SetupError(f"this failed: {' '.join(command)}\n{done.stdout}{done.stderr}")


def query_venv(code: str, *arguments: str) -> list[str]:
    """The words that a line of Python prints in the virtual environment."""
    command = [VENV_PYTHON, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    return done.stdout.split()


def unmet(file: Path) -> list[str]:
    """The file's requirements whose modules the environment cannot import."""
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    names = {line: line.partition(">")[0].partition("=")[0].strip() for line in lines if line}
    modules = {line: MODULES.get(name, name) for line, name in names.items()}
    find = "import importlib.util as u, sys; print(*[name for name in sys.argv[1:] if not u.find_spec(name)])"
    missing = query_venv(find, *modules.values())
    return [line for line, module in modules.items() if module in missing]


def install(name: str, interpreter: Interpreter) -> None:
    """Install requirements/<name>.txt; on a machine with ROS 2, only what apt has not installed."""
    file = ROOT / "requirements" / f"{name}.txt"

    def action() -> None:
        if not interpreter.has_ros:
            pip_install("-r", str(file))
            return
        wanted = unmet(file)
        if wanted:
            missing = any(line.startswith("numpy") for line in wanted)
            held = [] if missing else [held_numpy(*query_venv("import numpy; print(numpy.__version__)"))]
            pip_install(*wanted, *held)

    step(name, digest(file), f"installing requirements/{name}.txt", action)


def held_numpy(version: str) -> str:
    """What to ask of NumPy so that apt's cv_bridge, OpenCV and SciPy, built for the one of apt, still load.

    ONNX Runtime wants 1.21.6, which Ubuntu 22.04's is not yet; its packages bear those below 1.25.
    """
    is_old = tuple(int(number) for number in version.split(".")[:2]) < (1, 25)
    return "numpy<1.25" if is_old else f"numpy=={version}"


def install_torch() -> None:
    """PyTorch's CPU build where pip can find it; otherwise only on demand, as pip's default is several GB."""
    file = ROOT / "requirements" / "torch.txt"
    mode = os.environ.get("TORCH", "auto") or "auto"
    requirement = next(line for line in file.read_text().splitlines() if line.startswith("torch=="))
    if mode == "0":
        return

    def action() -> bool:
        if mode != "auto":
            pip_install(requirement)
            return True
        if query_venv("import importlib.util as u; print('torch' if u.find_spec('torch') else '')"):
            return True
        command = [VENV_PYTHON, "-m", "pip", "install", "--quiet", f"{requirement}+cpu"]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
        if done.returncode == 0:
            return True
        if "No matching distribution" not in done.stderr:
            raise SetupError(f"installing PyTorch failed:\n{done.stderr}")
        say("   pip's sources hold no CPU build of it for this Python: the tests that need it will be skipped.")
        say("   See requirements/torch.txt. Several GB, with CUDA: make test TORCH=1. Never ask: TORCH=0")
        return False

    step("torch", digest(file, mode), "installing PyTorch", action)


def set_up(goal: str) -> None:
    interpreter = choose_interpreter()
    check_machine(interpreter)
    make_venv(interpreter)
    step("pip", "setuptools", "installing setuptools", lambda: pip_install("setuptools>=64", "wheel"))
    install("runtime", interpreter)
    if not interpreter.has_ros:
        install("ros", interpreter)
        packages = sorted(str(folder) for folder in (ROOT / "interfaces").iterdir() if folder.is_dir())
        python(str(ROOT / "tools" / "generate_interfaces.py"), *packages)
    if goal == "test":
        install("dev", interpreter)
        install("train", interpreter)
        install_torch()
    sources = [ROOT / name for name in ("setup.py", "setup.cfg", "package.xml")]
    step(
        "package",
        digest(str(ROOT), *sources),  # the command names this folder's Python: one that was moved needs another
        "installing pose3d_ros itself",
        lambda: pip_install("--no-deps", "--no-build-isolation", "--editable", str(ROOT)),
    )


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Wait for another set-up of the same tree to end."""
    with open(__file__) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another set-up in this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in {"run", "test", "packages"}:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        if arguments[0] == "packages":
            print(*choose_interpreter().missing_packages())
        else:
            with only_one():
                set_up(arguments[0])
    except SetupError as error:
        print(f"!! {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("!! interrupted; run make again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
