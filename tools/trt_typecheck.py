"""Checks our calls of TensorRT against the real signatures of several versions, without TensorRT or a GPU.

    python3 tools/trt_typecheck.py [FILE.py ...]     without files: those of the package that import tensorrt

NVIDIA's Python bindings are small wheels; the library behind them is large and not needed for its signatures. So the
bindings are loaded on top of an empty library, type stubs are generated from them, and mypy checks the files against
these. A wrong name or keyword is found, and so is what a version has not yet or no longer. What cannot be had here (a
wheel for this Python or machine, a compiler) is left out, with the reason. Wheels and stubs are kept in CACHE.
Needs gcc and binutils.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".venv" / "tensorrt_signatures"
VERSIONS = (
    "tensorrt_bindings==8.6.1",
    "tensorrt_cu12_bindings==10.3.0",
    "tensorrt_cu12_bindings==10.7.0",
    "tensorrt_cu12_bindings==10.13.3.9",
    "tensorrt_cu12_bindings==11.0.0.114",
    "tensorrt_cu12_bindings==11.4.0.106",
)
_STUBGEN = "pybind11-stubgen==2.5.5"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--timeout", "15", "--retries", "1")
_FACTORIES = re.compile(r"create\w+_INTERNAL|get\w*(PluginRegistry|ParserVersion)|initLibNvInferPlugins|_ZN\d+nv\w+")
_MOST_REPAIRS = 500


class UnavailableError(Exception):
    """A version that cannot be checked here; the message says what is missing."""


def files_with_tensorrt() -> list[Path]:
    """The package's modules that import tensorrt, or use one that does so in its own signatures."""
    found = [
        path for path in sorted((ROOT / "pose3d_ros").rglob("*.py")) if "import tensorrt" in path.read_text("utf-8")
    ]
    return [*found, ROOT / "pose3d_ros" / "engine_worker.py"]


def errors(version: str, files: Sequence[Path]) -> list[str]:
    """mypy's complaints about the files, a line each. version: one of VERSIONS.

    Raises UnavailableError where the signatures of that version cannot be had.
    """
    stubs = bindings(version) / "stubs"
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(CACHE / "mypy"), *map(str, files)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "MYPYPATH": str(stubs)}
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"mypy failed: {done.stdout}{done.stderr}")
    names = {path.name for path in files}  # by these, as mypy's cache may remember another folder
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    return [line for line in lines if Path(line.partition(":")[0]).name in names]


def bindings(version: str) -> Path:
    """A folder from which Python imports the version's real `tensorrt`, which can do nothing, and mypy its stubs.

    Raises UnavailableError where that version cannot be had.
    """
    folder = CACHE / f"{version.replace('==', '-')}-python{sys.version_info[0]}.{sys.version_info[1]}"
    page = folder / "stubs" / "tensorrt" / "__init__.pyi"
    if not page.is_file():
        _unpack(version, folder)
        _add_empty_libraries(folder)
        names = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
        (folder / "tensorrt.py").write_text(names)
        text = _generated(folder)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    return folder


def _unpack(version: str, folder: Path) -> None:
    """The bindings' wheel from the package index, unpacked."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise UnavailableError(f"{version} has wheels for Linux on x86-64 only")
    wheels = folder / "wheel"
    _run([*_PIP, "download", "-q", "--no-deps", "--only-binary=:all:", "-d", wheels, version], f"no wheel of {version}")
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def _add_empty_libraries(folder: Path) -> None:
    """The package tensorrt_libs, which the bindings import first; its libraries define their symbols as nothing."""
    bindings = folder / "tensorrt_bindings" / "tensorrt.so"
    needed = re.findall(r"NEEDED.*\[(libnv[^\]]+)\]", _run(["readelf", "-d", bindings], "no binutils"))
    undefined = [line.split()[-1] for line in _run(["nm", "-D", "--undefined-only", bindings], "no nm").splitlines()]
    libraries = folder / "tensorrt_libs"
    libraries.mkdir(exist_ok=True)
    symbols = [name for name in undefined if _FACTORIES.fullmatch(name)]
    (libraries / "symbols.c").write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in symbols))
    (libraries / "nothing.c").write_text("")
    for i, name in enumerate(needed):
        source = libraries / ("nothing.c" if i else "symbols.c")
        _run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", libraries / name, source], "no C compiler")
    (libraries / "__init__.py").write_text(
        "import ctypes, pathlib\n"
        f"for name in {needed!r}:\n"
        "    ctypes.CDLL(str(pathlib.Path(__file__).with_name(name)), ctypes.RTLD_GLOBAL)\n"
    )


def _generated(folder: Path) -> str:
    """The stubs that pybind11-stubgen makes of the bindings, put right where they are not Python."""
    stubgen = CACHE / _STUBGEN.replace("==", "-")
    if not stubgen.is_dir():
        _run([*_PIP, "install", "-q", "--no-deps", "--target", stubgen, _STUBGEN], f"no {_STUBGEN}")
    paths = os.pathsep.join([str(folder), str(stubgen)])
    arguments = ["tensorrt_bindings.tensorrt", "-o", str(folder), "--ignore-all-errors"]
    _run([sys.executable, "-m", "pybind11_stubgen", *arguments], "no stubs", PYTHONPATH=paths)
    text = (folder / "tensorrt_bindings" / "tensorrt.pyi").read_text(encoding="utf-8")
    text = text.replace("tensorrt_bindings.tensorrt.", "")
    text = re.sub(r'(?ms)^( *)r?""".*?"""[ \t]*\n', r"\1...\n", text)
    text = re.sub(r"^(import tensorrt_bindings|from __future__).*\n", "", text, flags=re.MULTILINE)
    # What the bindings do without saying so.
    text = _with_method(text, "IHostMemory", "def __buffer__(self, flags: int, /) -> memoryview: ...")
    text = _with_method(text, "Dims", "def __iter__(self) -> typing.Iterator[int]: ...")
    text = _without_cpp_types(text)
    dims = "Dims | tuple[int, ...] | list[int]"
    text = re.sub(r"(\b(?!self)\w+): Dims(?=[,)=\s])(?=[^\n]*\) ->)", rf"\1: {dims}", text)
    text = re.sub(r"(: |-> )bool\b", r"\1builtins.bool", text)  # `bool` is a data type of TensorRT's there
    imports = ["from __future__ import annotations", "import builtins, collections.abc, typing, typing_extensions"]
    return "\n".join([*imports, "__version__: str", text])


def _with_method(text: str, name: str, method: str) -> str:
    return re.sub(rf"^(class {name}(\(.*\))?:)$", rf"\1\n    {method}", text, flags=re.MULTILINE)


def _without_cpp_types(text: str) -> str:
    """Signatures that are not Python, as they hold types of C++, made to take and give anything."""
    anything = "*args: typing.Any, **kwargs: typing.Any) -> typing.Any:"
    lines = text.split("\n")
    for _ in range(_MOST_REPAIRS):
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            place = (error.lineno or 1) - 1
            definition = re.match(r"( *)def (\w+)\(", lines[place])
            if definition and anything not in lines[place]:
                end = " ..." if lines[place].endswith("...") else ""
                lines[place] = f"{definition[1]}def {definition[2]}(self, {anything}{end}"
            else:
                lines[place] = ""
        else:
            break
    return "\n".join(lines)


def _run(command: Sequence[str | Path], complaint: str, **variables: str) -> str:
    """A command's output. Raises UnavailableError with the complaint and the command's own last words."""
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=True, env={**os.environ, **variables}
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"{complaint}: {error}") from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
        raise UnavailableError(f"{complaint}: {words[-1]}") from error
    return done.stdout


def main(arguments: Sequence[str]) -> int:
    """Checks every version; returns the exit status."""
    files = [Path(name).resolve() for name in arguments] or files_with_tensorrt()
    status = 0
    for version in VERSIONS:
        try:
            found = errors(version, files)
        except UnavailableError as error:
            print(f"{version}: not checked: {error}")
            continue
        print("\n".join([f"{version}: {len(found)} errors", *(f"  {line}" for line in found)]))
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
