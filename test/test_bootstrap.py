"""tools/bootstrap.py: what it says on machines that lack something, and that interrupted steps are done again."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bootstrap(monkeypatch, tmp_path):
    """The script as a module that works in an empty folder."""
    path = ROOT / "tools" / "bootstrap.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look it up
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "VENV_PYTHON", str(venv / "bin" / "python"))
    monkeypatch.setattr(module, "STAMPS", venv / "stamps")
    for variable in ("PYTHON", "ROS_DISTRO", "CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    return module


@pytest.fixture
def interpreter(bootstrap):
    def make(version=(3, 11), has_venv=True, has_headers=True, has_ros=False, path=sys.executable):
        return bootstrap.Interpreter(path, version, has_venv, has_headers, has_ros)

    return make


def test_this_python_is_recognised(bootstrap):
    found = bootstrap.probe(sys.executable)
    assert found.version == sys.version_info[:2]
    assert bootstrap.probe("no-such-python") is None
    assert bootstrap.probe("false") is None  # something that runs, but is no Python


@pytest.mark.parametrize(
    ("apts", "asked"), [("1.21.5", "numpy<1.25"), ("1.24.2", "numpy<1.25"), ("1.26.4", "numpy==1.26.4")]
)
def test_apts_numpy_is_held_as_far_as_onnx_runtime_bears_it(bootstrap, apts, asked):
    assert bootstrap.held_numpy(apts) == asked


def test_a_virtual_environment_is_not_taken_for_a_machine_with_ros(bootstrap):
    if sys.prefix == sys.base_prefix:
        pytest.skip("this Python is not in a virtual environment")
    assert not Path(bootstrap.probe(sys.executable).path).is_relative_to(sys.prefix)


@pytest.mark.parametrize(
    ("facts", "packages"),
    [
        ({}, []),
        ({"has_venv": False}, ["python3.11-venv"]),
        ({"has_headers": False, "version": (3, 12)}, ["python3.12-dev"]),
        ({"has_headers": False, "has_ros": True}, []),  # nothing is compiled where there is ROS 2
    ],
)
def test_missing_packages_have_apt_s_names(bootstrap, interpreter, monkeypatch, facts, packages):
    monkeypatch.setattr(bootstrap, "compiler", lambda *_: "/usr/bin/true")
    assert interpreter(**facts).missing_packages() == packages


def test_missing_compilers(interpreter, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert interpreter().missing_packages() == ["gcc", "g++"]


def test_what_is_missing_is_said_with_the_command_that_helps(bootstrap, interpreter):
    with pytest.raises(bootstrap.SetupError, match=r"sudo apt install python3\.11-venv"):
        bootstrap.check_machine(interpreter(has_venv=False))


def test_other_machines_are_told_to_install_ros(bootstrap, interpreter, monkeypatch):
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(bootstrap, "compiler", lambda *_: "/usr/bin/true")
    with pytest.raises(bootstrap.SetupError, match="aarch64"):
        bootstrap.check_machine(interpreter())
    bootstrap.check_machine(interpreter(has_ros=True))


def choose(bootstrap, monkeypatch, *found):
    monkeypatch.setattr(bootstrap, "candidates", lambda: iter(found))
    return bootstrap.choose_interpreter()


def test_the_interpreter_that_sees_ros_is_taken(bootstrap, interpreter, monkeypatch):
    chosen = choose(bootstrap, monkeypatch, interpreter((3, 11)), interpreter((3, 12), has_ros=True))
    assert chosen.version == (3, 12)


def test_else_the_first_that_lacks_nothing(bootstrap, interpreter, monkeypatch):
    found = [interpreter((3, 8)), interpreter((3, 13), has_venv=False), interpreter((3, 10)), interpreter((3, 11))]
    assert choose(bootstrap, monkeypatch, *found).version == (3, 10)


def test_no_suitable_python(bootstrap, interpreter, monkeypatch):
    with pytest.raises(bootstrap.SetupError, match=r"no Python from 3\.10 to 3\.13 found \(seen: python3\.8 "):
        choose(bootstrap, monkeypatch, interpreter((3, 8)))


def test_a_step_that_failed_is_done_again_and_one_that_succeeded_is_not(bootstrap):
    calls = []

    def fail():
        calls.append("fail")
        raise bootstrap.SetupError("no network")

    with pytest.raises(bootstrap.SetupError):
        bootstrap.step("runtime", "a", "installing", fail)
    for fingerprint in ("a", "a", "b"):
        bootstrap.step("runtime", fingerprint, "installing", lambda: calls.append("done"))
    assert calls == ["fail", "done", "done"]  # with the same fingerprint only once


def test_a_folder_that_was_moved_gets_its_command_anew(bootstrap, interpreter, monkeypatch, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    for name in ("setup.py", "setup.cfg", "package.xml"):
        (here / name).touch()
    installed = []
    monkeypatch.setattr(bootstrap, "choose_interpreter", lambda: interpreter(has_ros=True))
    for name in ("check_machine", "make_venv", "install"):
        monkeypatch.setattr(bootstrap, name, lambda *_: None)
    monkeypatch.setattr(bootstrap, "pip_install", lambda *words: installed.append(words[-1]))
    for root in (here, here, there):
        if root == there:
            here.rename(there)
        monkeypatch.setattr(bootstrap, "ROOT", root)
        monkeypatch.setattr(bootstrap, "STAMPS", root / ".venv" / "stamps")
        bootstrap.set_up("run")
    assert installed == ["wheel", str(here), str(there)]


def test_broken_environment_is_made_again(bootstrap, interpreter, tmp_path):
    """As an interrupted `python -m venv` leaves it: a Python without pip."""
    (bootstrap.VENV / "bin").mkdir(parents=True)
    (bootstrap.VENV / "bin" / "python").symlink_to(sys.executable)
    home = Path(sys.base_prefix) / "bin"
    (bootstrap.VENV / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    bootstrap.STAMPS.mkdir()
    (bootstrap.STAMPS / "runtime").write_text("from before")
    assert bootstrap.venv_version() is None
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nmkdir -p "$3/bin" && echo "$*" > "$3/made"\n')
    python.chmod(0o755)
    bootstrap.make_venv(interpreter(path=str(python)))
    assert (bootstrap.VENV / "made").read_text() == f"-m venv {bootstrap.VENV}\n"
    assert not bootstrap.STAMPS.exists()  # everything is installed anew


def test_foreign_folder_is_not_deleted(bootstrap, interpreter):
    bootstrap.VENV.mkdir()
    (bootstrap.VENV / "thesis.odt").touch()
    with pytest.raises(bootstrap.SetupError, match="move it away"):
        bootstrap.make_venv(interpreter())
    assert (bootstrap.VENV / "thesis.odt").exists()


def test_wrong_use_prints_the_help(bootstrap, capsys):
    assert bootstrap.main(["everything"]) == 2
    assert "bootstrap.py run" in capsys.readouterr().err
