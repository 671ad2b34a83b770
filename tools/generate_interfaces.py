"""Generate ROS 2 interface packages and compile them into the running virtual environment.

The ROS 2 wheels hold the common interfaces but not, for example, tf2_msgs. This builds such a package from its
definitions with the wheels' own generators and a C/C++ compiler, without CMake, and installs it beside them, so that
`from tf2_msgs.msg import TFMessage` works and other ROS 2 nodes see upstream's type (the RIHS01 hash is the same).

    python tools/generate_interfaces.py interfaces/tf2_msgs [MORE_PACKAGES...]

A package is a folder named after it, with `msg/*.msg`, `srv/*.srv` and `action/*.action`; list packages in the order
of their dependencies. A package that is up to date is left alone. On a machine with ROS 2 none of this is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PREFIX = Path(sys.prefix)
SHARE, LIB, INCLUDE = PREFIX / "share", PREFIX / "lib", PREFIX / "include"
KINDS = ("msg", "srv", "action")
STAMP = "generated.sha256"

# One shared library per generator, in the order in which they depend on each other. `rosidl_typesupport_c` only
# dispatches to the two supports before it; the Python package loads everything through it.
SUPPORTS = ["rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c"]
LIBRARIES = ["rosidl_generator_c", *SUPPORTS, "rosidl_typesupport_c", "rosidl_generator_py"]
RUNTIME_LIBRARIES = [
    "rosidl_typesupport_c",
    *SUPPORTS,
    "rosidl_typesupport_fastrtps_cpp",
    "rosidl_runtime_c",
    "rcutils",
    "rmw",
    "fastcdr",
]


class GenerationError(Exception):
    """A package could not be generated; the message says why and what to do."""


def definition_files(source: Path) -> list[Path]:
    """The package's `.msg`, `.srv` and `.action` files, sorted."""
    files = sorted(file for kind in KINDS for file in (source / kind).glob(f"*.{kind}"))
    if not files:
        raise GenerationError(f"{source} holds no msg/*.msg, srv/*.srv or action/*.action")
    return files


def fingerprint(source: Path) -> str:
    """Changes when the definitions, this script, the interpreter or the generators do."""
    digest = hashlib.sha256()
    for file in [*definition_files(source), Path(__file__)]:
        digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    digest.update(f"{sys.version}\0{PREFIX}\0".encode())
    for package_xml in (SHARE / "rosidl_generator_py/package.xml", SHARE / "rosidl_typesupport_fastrtps_c/package.xml"):
        if not package_xml.exists():
            raise GenerationError(
                f"{package_xml} is missing: the ROS 2 wheels are not installed in {PREFIX}. "
                "Run `make setup`; on a machine with ROS 2, install the package with apt instead."
            )
        digest.update(package_xml.read_bytes())
    return digest.hexdigest()


def compilers() -> tuple[str, str]:
    """The C and the C++ compiler, from CC and CXX where they are set."""
    cc, cxx = os.environ.get("CC", "gcc"), os.environ.get("CXX", "g++")
    for compiler in (cc, cxx):
        if shutil.which(compiler) is None:
            raise GenerationError(f"the compiler {compiler} is missing: apt install gcc g++")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise GenerationError(f"{header} is missing: apt install python{version}-dev")
    return cc, cxx


def run_compiler(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GenerationError(f"{' '.join(command)}\nfailed:\n{done.stderr[-4000:]}")


class Package:
    """One interface package on its way from definitions to the virtual environment."""

    def __init__(self, source: Path, work: Path) -> None:
        self.source, self.work, self.name = source, work, source.name
        self.definitions = definition_files(source)
        self.kinds = sorted({file.suffix[1:] for file in self.definitions})
        self.dependencies = sorted(
            folder.name
            for folder in SHARE.iterdir()
            if folder.name != self.name and (LIB / f"lib{folder.name}__rosidl_generator_c.so").exists()
        )

    def generate(self) -> None:
        """Write IDL, type hashes, C sources and Python modules below the work folder."""
        from rosidl_adapter import convert_to_idl
        from rosidl_generator_c import generate_c
        from rosidl_generator_py import generate_py
        from rosidl_generator_type_description import generate_type_hash
        from rosidl_typesupport_c import generate_c as generate_typesupport_c
        from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
        from rosidl_typesupport_introspection_c import generate_c as generate_introspection_c

        for file in self.definitions:
            with contextlib.redirect_stdout(io.StringIO()):  # it announces every file
                convert_to_idl(self.source, self.name, file.relative_to(self.source), self.work / "idl")
        self._run(generate_type_hash, "rosidl_generator_type_description", output=self.work / "hash")
        self._run(generate_c, "rosidl_generator_c")
        self._run(generate_typesupport_fastrtps_c, "rosidl_typesupport_fastrtps_c")
        self._run(generate_introspection_c, "rosidl_typesupport_introspection_c")
        self._run(generate_typesupport_c, "rosidl_typesupport_c", SUPPORTS)
        self._run(generate_py, "rosidl_generator_py", ["rosidl_typesupport_c"])

    def _run(self, generator: Callable[..., Any], owner: str, *arguments: Any, output: Path | None = None) -> None:
        """Call one of the wheels' generators as its CMake code would: with a JSON file of arguments."""
        output = output or self.work / owner / self.name
        for kind in self.kinds:
            (output / kind).mkdir(parents=True, exist_ok=True)
        idls = [str(file.relative_to(self.source).with_suffix(".idl")) for file in self.definitions]
        config = self.work / f"{owner}.json"
        config.write_text(
            json.dumps(
                {
                    "package_name": self.name,
                    "idl_tuples": [f"{self.work / 'idl'}:{idl}" for idl in idls],
                    "ros_interface_dependencies": [
                        f"{name}:{idl}" for name in self.dependencies for idl in (SHARE / name).glob("*/*.idl")
                    ],
                    "ros_interface_files": [str(file) for file in self.definitions],
                    "target_dependencies": [],
                    "include_paths": [f"{name}:{SHARE / name}" for name in self.dependencies],
                    "type_description_tuples": [
                        f"{idl}:{self.work / 'hash' / Path(idl).with_suffix('.json')}" for idl in idls
                    ],
                    "output_dir": str(output),
                    "template_dir": str(SHARE / owner / "resource"),
                }
            )
        )
        generator(str(config), *arguments)
        # CMake's part of the job: the header that exports symbols.
        header = f"{owner}__visibility_control.h"
        template = SHARE / owner / "resource" / f"{header}.in"
        if template.exists():
            text = template.read_text().replace("@PROJECT_NAME@", self.name)
            (output / "msg").mkdir(exist_ok=True)
            (output / "msg" / header).write_text(text.replace("@PROJECT_NAME_UPPER@", self.name.upper()))

    def compile(self) -> list[Path]:
        """Compile the generated sources; return the shared libraries, all in the work folder."""
        import numpy as np

        cc, cxx = compilers()
        flags = ["-O2", "-fPIC", "-w", f"-I{INCLUDE}", f"-I{sysconfig.get_path('include')}", f"-I{np.get_include()}"]
        flags += [f"-I{self.work / library}" for library in LIBRARIES]
        flags += [f"-I{folder}" for folder in sorted(INCLUDE.iterdir()) if (folder / folder.name).is_dir()]
        sources = {library: sorted((self.work / library).rglob("*.c*")) for library in LIBRARIES}

        def compile_one(source: Path) -> None:
            compiler = [cxx, "-std=c++17"] if source.suffix == ".cpp" else [cc, "-std=gnu11"]
            run_compiler([*compiler, *flags, "-c", str(source), "-o", f"{source}.o"])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, [source for files in sources.values() for source in files]))

        def link(target: Path, files: Iterable[Path], libraries: list[str]) -> Path:
            found = [f"-L{self.work}", f"-L{LIB}", "-Wl,--as-needed", *[f"-l{name}" for name in libraries]]
            objects = [f"{file}.o" for file in files]
            run_compiler([cxx, "-shared", "-o", str(target), f"-Wl,-soname,{target.name}", *objects, *found])
            return target

        linked: list[str] = []
        targets: list[Path] = []
        for library in LIBRARIES:
            files = [file for file in sources[library] if ".ep." not in file.name]
            needed = [f"{name}__{suffix}" for suffix in (library, "rosidl_generator_c") for name in self.dependencies]
            target = self.work / f"lib{self.name}__{library}.so"
            targets.append(link(target, files, [*linked, *needed, *RUNTIME_LIBRARIES]))
            linked.append(f"{self.name}__{library}")
        python = self.work / "rosidl_generator_py" / self.name
        entry_points = [file for file in sources["rosidl_generator_py"] if ".ep." in file.name]
        link(python / f"{self.name}_s__rosidl_typesupport_c.so", entry_points, [*linked, *RUNTIME_LIBRARIES])
        return targets

    def install(self, libraries: list[Path]) -> None:
        """Copy everything into the environment: libraries, Python package, definitions, resource index."""
        for library in libraries:  # renamed into place: a process that has the old one mapped keeps it
            temporary = LIB / f"{library.name}.new"
            shutil.copy(library, temporary)
            os.replace(temporary, LIB / library.name)

        python = self.work / "rosidl_generator_py" / self.name
        (python / "__init__.py").touch()
        target = Path(sysconfig.get_path("platlib")) / self.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(python, target, ignore=shutil.ignore_patterns("*.c", "*.o"))

        resources = []
        shutil.rmtree(SHARE / self.name, ignore_errors=True)
        for kind in self.kinds:
            folder = SHARE / self.name / kind
            folder.mkdir(parents=True)
            for origin, suffix in ((self.source, kind), (self.work / "idl", "idl"), (self.work / "hash", "json")):
                for file in sorted((origin / kind).glob(f"*.{suffix}")):
                    shutil.copy(file, folder)
                    resources.append(f"{kind}/{file.name}")
        index = SHARE / "ament_index" / "resource_index"
        (index / "packages" / self.name).touch()
        (index / "rosidl_interfaces" / self.name).write_text("\n".join(sorted(resources)))


def build(source: Path) -> bool:
    """Generate, compile and install one package; False where it was up to date."""
    source = source.resolve()
    stamp = SHARE / source.name / STAMP
    wanted = fingerprint(source)
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    if stamp.parent.exists() and (stamp.parent / "package.xml").exists():
        return False  # a wheel has it by now
    with tempfile.TemporaryDirectory(prefix=f"{source.name}_") as work:
        package = Package(source, Path(work))
        package.generate()
        package.install(package.compile())
    stamp.write_text(wanted)  # last, so that an interrupted run starts over
    return True


def main(argv: list[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE_DIR")
    packages: list[Path] = parser.parse_args(argv).packages
    if sys.prefix == sys.base_prefix:
        print("run this with the Python of a virtual environment that holds the ROS 2 wheels", file=sys.stderr)
        return 2
    # The generators look their own templates up in the ament index.
    os.environ["AMENT_PREFIX_PATH"] = str(PREFIX)
    for package in packages:
        try:
            built = build(package)
        except GenerationError as error:
            print(f"{package.name}: {error}", file=sys.stderr)
            return 1
        print(f"{package.name}: {'generated and installed' if built else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
