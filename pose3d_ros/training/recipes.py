"""The commands that make each shipped network, in order: what `pose3d retrain` carries out.

docs/training.md tells what each part brought, how long it took, and where what ships was trained otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

_CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Folders:
    """data: the data sets. synthetic: rendered pictures. runs: checkpoints, and what is made for the next part.
    models: the networks that come of it."""

    data: Path
    synthetic: Path
    runs: Path
    models: Path


@dataclass(frozen=True)
class Step:
    """One command of a recipe; in its texts $data, $synthetic, $runs and $models stand for folders, $configs for ours.

    command: the words after `pose3d`. product: the file or folder that it makes; empty: none, it measures.
    resumes: started again it goes on where it was interrupted, or has nothing to do. counts: options that say how many
    processes or threads work at it.
    """

    command: str
    product: str = ""
    resumes: bool = False
    counts: tuple[str, ...] = ()

    def by(self, counts: Mapping[str, int]) -> Step:
        """The step at which so many work, as far as its command can be told; by option: workers, threads."""
        told = (f" --{name} {count}" for name, count in counts.items() if name in self.counts)
        return replace(self, command=self.command + "".join(told))

    def words(self, folders: Folders) -> list[str]:
        """The command's words."""
        return [_filled(word, folders) for word in self.command.split()]

    def made(self, folders: Folders) -> Path | None:
        """Where its product lies."""
        return Path(_filled(self.product, folders)) if self.product else None


def _filled(text: str, folders: Folders) -> str:
    return Template(text).substitute(vars(folders), configs=_CONFIGS)


def _render(kind: str, count: int, folder: str, options: str = "") -> Step:
    command = f"render --kind {kind} --count {count} {options} --assets $data --out $synthetic/{folder}"
    return Step(command, f"$synthetic/{folder}", resumes=True, counts=("workers",))


def _train(
    network: str, config: str, run: str, init: str, options: str, counts: tuple[str, ...] = ("workers", "threads")
) -> Step:
    """A part of a training, kept in $runs under a name. init: the part that it goes on from."""
    begin = f"--init $runs/{init}/checkpoint.pt" if init else ""
    command = f"train {network} --config $configs/{config}.yaml --data $data {options} {begin} --output $runs/{run}"
    return Step(command, f"$runs/{run}/checkpoint.pt", resumes=True, counts=counts)


def _pose2d(config: str, run: str, init: str = "", options: str = "") -> Step:
    return _train("pose2d", config, run, init, f"--synthetic $synthetic/crops {options}")


def _finder(config: str, run: str, init: str, options: str = "") -> Step:
    return _train("finder", config, run, init, f"--synthetic $synthetic/scenes {options}")


def _lifter(config: str, run: str, init: str = "") -> Step:
    return _train("lifter", config, run, init, "--threads 2", counts=("threads",))


def _checkpoints(parts: str) -> str:
    return " ".join(f"$runs/{part}/checkpoint.pt" for part in parts.split())


def _export_pose2d(parts: str, options: str, output: str) -> Step:
    made_of = f"--checkpoint {_checkpoints(parts)} {options} --synthetic $synthetic/calibration"
    return Step(f"export pose2d {made_of} --output {output}", output)


def _findings(parts: str, options: str, output: str) -> Step:
    return Step(f"findings --checkpoint {_checkpoints(parts)} {options} --data $data --output {output}", output)


def _export_finder(part: str, options: str, output: str) -> Step:
    return Step(f"export finder --checkpoint $runs/{part}/checkpoint.pt {options} --output {output}", output)


def _bystanders(models: str, output: str) -> Step:
    return Step(f"bystanders --models {models} --data $data --output {output}", output)


def _measure(what: str, file: str) -> Step:
    return Step(f"evaluate {what} --model $models/{file} --data $data --record")


_CROPS = _render("crops", 17_000, "crops")
_CALIBRATION = _render("crops", 800, "calibration", "--seed 1")
_HEALTH = Step("evaluate health --models $models --record")
_TO_LOOK_FOR_BYSTANDERS = "--size 448 384"
"""The pictures of the finders that look for who stands by."""

_BEGUN = (
    _CROPS,
    _pose2d("pose2d_start", "pose2d_start"),
    _pose2d("pose2d_middle", "pose2d_middle", "pose2d_start"),
    _pose2d("pose2d", "pose2d", "pose2d_middle"),
)
"""Stage 1 as far as the finder begins with it."""

_FULL_WIDTH = (
    *_BEGUN,
    _pose2d("pose2d_last", "pose2d_last", "pose2d"),
    _pose2d("pose2d_fifth", "pose2d_fifth", "pose2d_last"),
    _pose2d("pose2d_sixth", "pose2d_sixth", "pose2d_fifth"),
    _pose2d("pose2d_seventh", "pose2d_seventh", "pose2d_sixth"),
    _pose2d("pose2d_wide_start", "wide_start", "pose2d_seventh"),
    _pose2d("pose2d_wide", "wide", "wide_start"),
    _pose2d("pose2d_wide_last", "wide_last", "wide"),
    _pose2d("pose2d_wide_fourth", "wide_fourth", "wide_last"),
    _pose2d("pose2d_wide_fifth", "wide_fifth", "wide_fourth"),
    _findings("wide_fifth", "", "$runs/findings.npz"),
    _pose2d("pose2d_wide_sixth", "wide_sixth", "wide_fifth", "--findings $runs/findings.npz"),
    _pose2d("pose2d_wide_seventh", "wide_seventh", "wide_sixth"),
    Step("bystanders --precision int8 --data $data --output $runs/who_stands_by.npz", "$runs/who_stands_by.npz"),
    _findings(
        "wide_fifth wide_sixth wide_seventh", "--bystanders $runs/who_stands_by.npz", "$runs/found_bystanders.npz"
    ),
    _pose2d("pose2d_wide_bystanders", "wide_bystanders", "wide_seventh", "--bystanders $runs/found_bystanders.npz"),
    _render("crops", 26_000, "crops"),
    _pose2d("pose2d_wide_longer", "wide_longer", "wide_bystanders", "--bystanders $runs/found_bystanders.npz"),
    _pose2d("pose2d_wide_low", "wide_low", "wide_longer", "--bystanders $runs/found_bystanders.npz"),
    _CALIBRATION,
    _export_pose2d("wide_low", "--data $data --size 256 --look both-ways", "$models/pose2d.onnx"),
)

_TAUGHT = (
    _pose2d("pose2d_taught", "pose2d_taught", "pose2d_seventh", "--teacher $runs/wide_fifth/checkpoint.pt"),
    _pose2d("pose2d_bystanders", "pose2d_bystanders", "pose2d_taught", "--bystanders $runs/found_bystanders.npz"),
    _pose2d(
        "pose2d_taught_again",
        "pose2d_taught_again",
        "pose2d_bystanders",
        "--teacher $models/pose2d.onnx --bystanders $runs/found_bystanders.npz",
    ),
    _export_pose2d(
        # The last part counts twice.
        "pose2d_taught pose2d_bystanders pose2d_taught_again pose2d_taught_again",
        "--data $data --size 224",
        "$runs/224/pose2d.onnx",
    ),
    Step(
        "export int8 pose2d --models $models --source $runs/224/pose2d.onnx --data $data "
        "--synthetic $synthetic/calibration",
        "$models/pose2d_int8.onnx",
    ),
)

_FINDER = (
    *_BEGUN,
    _render("scenes", 7_000, "scenes"),
    _finder("finder", "finder", "pose2d"),
    _finder("finder_second", "finder_second", "finder"),
    _finder("finder_third", "finder_third", "finder_second"),
    _export_finder("finder_third", _TO_LOOK_FOR_BYSTANDERS, "$runs/third/finder.onnx"),
    _bystanders("$runs/third", "$runs/bystanders.npz"),
    _finder("finder_fourth", "finder_fourth", "finder_third", "--bystanders $runs/bystanders.npz"),
    _export_finder("finder_fourth", _TO_LOOK_FOR_BYSTANDERS, "$runs/fourth/finder.onnx"),
    _bystanders("$runs/fourth", "$runs/bystanders_again.npz"),
    _render("scenes", 12_000, "scenes"),
    _finder("finder_sixth", "finder_sixth", "finder_fourth", "--bystanders $runs/bystanders_again.npz"),
    _finder("finder_seventh", "finder_seventh", "finder_sixth", "--bystanders $runs/bystanders_again.npz"),
    _export_finder("finder_seventh", "--size 512 416", "$models/finder.onnx"),
)

_FINDER_IN_8_BITS = (
    _export_finder("finder_seventh", "--size 384 320", "$runs/384/finder.onnx"),
    Step("export int8 find --models $models --source $runs/384/finder.onnx --data $data", "$models/finder_int8.onnx"),
)

_LIFTER = (
    _lifter("lifter_gru", "lifter_gru"),
    _lifter("lifter_gru_second", "lifter_gru_second", "lifter_gru"),
    _lifter("lifter_gru_second", "lifter_gru_second_2", "lifter_gru_second"),
    _lifter("lifter_gru_second", "lifter_gru_second_3", "lifter_gru_second_2"),
    _lifter("lifter_gru_last", "lifter_gru_last", "lifter_gru_second_3"),
    _lifter("lifter_gru_last", "lifter_gru_last_2", "lifter_gru_last"),
    _lifter("lifter_gru_robust", "lifter_gru_robust", "lifter_gru_last_2"),
    _lifter("lifter_gru_blind", "lifter_gru_blind", "lifter_gru_robust"),
    _lifter("lifter_gru_balance", "lifter_balance", "lifter_gru_blind"),
    Step(
        "export lifter --checkpoint $runs/lifter_balance/checkpoint.pt --output $models/lifter.onnx --record",
        "$models/lifter.onnx",
    ),
)

_RENDERED = (
    _CROPS,
    _pose2d("pose2d_rendered_start", "rendered_start"),
    _pose2d("pose2d_rendered", "rendered", "rendered_start"),
    _CALIBRATION,
    # Calibrated without photos as well: there is no such folder.
    _export_pose2d("rendered", "--data none --look both-ways", "$models/rendered/pose2d.onnx"),
    _measure("pose2d", "rendered/pose2d.onnx"),
)

RECIPES: dict[str, tuple[Step, ...]] = {
    "pose2d": (*_FULL_WIDTH, _measure("pose2d", "pose2d.onnx"), _HEALTH),
    "pose2d_int8": (*_FULL_WIDTH, *_TAUGHT, _measure("pose2d", "pose2d_int8.onnx"), _HEALTH),
    "finder": (*_FINDER, _measure("finder", "finder.onnx"), _HEALTH),
    "finder_int8": (*_FINDER, *_FINDER_IN_8_BITS, _measure("finder", "finder_int8.onnx"), _HEALTH),
    "lifter": (*_LIFTER, _measure("lifter", "lifter.onnx"), _HEALTH),
    "rendered": _RENDERED,
}
"""By the file that they make: $models/NAME.onnx, or $models/rendered/pose2d.onnx."""
