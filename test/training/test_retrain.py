"""`pose3d retrain`: steps in their order, each once, however often it is interrupted."""

import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pose3d_ros import cli
from pose3d_ros.training import retrain as module
from pose3d_ros.training.recipes import RECIPES, Folders, Step
from pose3d_ros.training.retrain import retrain

ROOT = Path(__file__).resolve().parents[2]
STEPS = (
    Step("train --output $runs/part", "$runs/part.pt", resumes=True),
    Step("export --output $models/net", "$models/net"),
    Step("look --at $models/net"),
)
TRAIN, EXPORT, LOOK = "train", "export", "look"


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path / "data", tmp_path / "synth", tmp_path, tmp_path)


class Commands:
    """In the place of processes: notes what is started, and makes what it ought to. statuses: of those that fail."""

    def __init__(self, folders):
        self.started, self.statuses = [], {}
        self._made = {step.command.split()[0]: step.made(folders) for step in STEPS}

    def run(self, command, check):
        assert command[:3] == [sys.executable, "-m", "pose3d_ros.cli"]
        self.started.append(command[3])
        if self._made[command[3]] is not None:
            self._made[command[3]].touch()
        status = self.statuses.get(command[3], 0)
        if isinstance(status, type):
            raise status
        return SimpleNamespace(returncode=status)


@pytest.fixture
def commands(monkeypatch, folders):
    stand_in = Commands(folders)
    monkeypatch.setattr(module, "subprocess", stand_in)
    return stand_in


def test_what_is_there_is_not_made_again(commands, folders):
    assert retrain(STEPS, folders) == 0
    assert commands.started == [TRAIN, EXPORT, LOOK]
    assert retrain(STEPS, folders) == 0
    assert commands.started[3:] == [TRAIN, LOOK]


def test_a_step_that_fails_is_named_and_is_the_last(commands, folders, capsys):
    commands.statuses = {EXPORT: 3}
    assert retrain(STEPS, folders) == 3
    assert commands.started == [TRAIN, EXPORT]
    command = shlex.join(["pose3d", *STEPS[1].words(folders)])
    assert f"pose3d: step 2 of 3 failed with exit status 3: {command}\n" in capsys.readouterr().err


@pytest.mark.parametrize("how", [1, KeyboardInterrupt])
def test_only_what_can_be_gone_on_with_is_left_half_made(commands, folders, how):
    for step, made, stays in ((EXPORT, folders.models / "net", False), (TRAIN, folders.runs / "part.pt", True)):
        commands.statuses = {step: how}
        if how is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                retrain(STEPS, folders)
        else:
            assert retrain(STEPS, folders) == how
        assert made.exists() == stays


def test_a_dry_run_prints_commands_that_a_shell_takes(commands, tmp_path, capsys):
    runs = tmp_path / "my runs"
    assert cli.main(["retrain", "lifter", "--data", "data", "--runs", str(runs), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    folders = Folders(Path("data"), Path("synth"), runs, runs / "models")
    assert [shlex.split(line) for line in lines] == [["pose3d", *step.words(folders)] for step in RECIPES["lifter"]]
    assert not commands.started
    assert not runs.exists()


def test_workers_and_threads_are_told_to_the_commands_that_take_them(tmp_path, capsys):
    words = ["retrain", "pose2d", "--runs", str(tmp_path), "--dry-run", "--workers", "16", "--threads", "8"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    trainings, renderings = (
        [line for line in said if line.startswith(f"pose3d {what} ")] for what in ("train", "render")
    )
    assert trainings
    assert all(line.endswith(" --workers 16 --threads 8") for line in trainings)
    assert renderings
    assert all(line.endswith(" --workers 16") for line in renderings)
    rest = set(said) - {*trainings, *renderings}
    assert not [line for line in rest if "--workers" in line or "--threads" in line]


@pytest.fixture
def real(tmp_path, monkeypatch):
    """Folders with a bright photo and tiny networks, for real processes."""
    pytest.importorskip("onnx", reason="the tests make small networks with onnx")
    import tiny_networks

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((120, 160, 3), 240, np.uint8))
    models = tiny_networks.write_models(tmp_path / "models")
    return Folders(tmp_path, tmp_path, tmp_path / "runs", models)


def test_real_processes(real, capfd):
    where = "--models $models --output $runs"
    steps = [
        Step(f"run $data/photo.png {where}", "$runs/photo.jsonl"),
        Step(f"run $data/late.png {where}", "$runs/late.jsonl"),
        Step("run $data/photo.png --models $models --output $runs/last"),
    ]
    assert retrain(steps, real) == 1
    assert "no file" in capfd.readouterr().err
    (real.data / "late.png").write_bytes((real.data / "photo.png").read_bytes())
    assert retrain(steps, real) == 0
    assert f"[1/3] {real.runs}/photo.jsonl is there\n[2/3] pose3d run" in capfd.readouterr().out
    assert all((real.runs / name).is_file() for name in ("photo.jsonl", "late.jsonl", "last/photo.jsonl"))


ENDLESS = """
import sys
from pose3d_ros import cli
from pose3d_ros.training.recipes import RECIPES, Step

RECIPES["lifter"] = (Step(sys.argv[1]),)
sys.exit(cli.main(["retrain", "lifter"]))
"""


def test_who_ends_it_ends_the_step():
    """A step that waits for somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        step = f"run http://127.0.0.1:{silent.getsockname()[1]}/walk.mp4"
        command = [sys.executable, "-c", ENDLESS, step]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            silent.settimeout(60)
            with silent.accept()[0]:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=15)  # the step holds the pipe, too
    assert process.returncode == 130
