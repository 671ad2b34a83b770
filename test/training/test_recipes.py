"""Recipes: commands that the command line takes, in an order in which each finds what it needs, as documented."""

import re
import shlex
from pathlib import Path

import pytest

from pose3d_ros import cli
from pose3d_ros.training.recipes import RECIPES, Folders, Step

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "pose3d_ros/training/configs"
FOLDERS = Folders(Path("../shared/data"), Path("synth"), Path("runs"), Path("models"))
STEPS = list(dict.fromkeys(step for steps in RECIPES.values() for step in steps))

NO_RECIPES = (
    "lifter_martinez",
    "lifter_aware",
    "lifter_unaware",
    "lifter_squared",
    "pose2d_pictures",
    "deeppose",
    "pose2d_finetune",
    "own/",
    "factorised",
    "pose2d_factorised",
    "--split test",
)
"""Baselines, the loss's ablation, training on people of one's own, what stage 1 for CPUs was once made of, and what is
only measured on."""
NEEDED = {
    "synthetic",
    "init",
    "teacher",
    "findings",
    "bystanders",
    "checkpoint",
    "network",
    "source",
    "model",
    "models",
}
OF_THE_MACHINE = {"run", "data", "assets", "cache", "workers", "threads", "models"}
"""Arguments that change nothing of what is made, or only where it is read."""


def parsed(words):
    pytest.importorskip("torch", reason="the modules of these commands import it")
    return vars(cli._parser(words).parse_args(words))


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_step_needs_is_made_before(name):
    made = []

    def lies_there(path):
        return any(path in (product, *product.parents) for product in made)

    for step in RECIPES[name]:
        args = parsed(step.words(FOLDERS))
        given = [args[key] for key in NEEDED & args.keys() if args[key] is not None]
        for path in [path for value in given for path in (value if isinstance(value, list) else [value])]:
            assert lies_there(path), f"{path} of: {step.command}"
        assert "config" not in args or args["config"].is_file()
        product = step.made(FOLDERS)
        if product is not None:
            made.append(product)
            assert lies_there(args.get("output") or args.get("out") or args["models"]), step.command


def test_what_a_recipe_is_called_after_is_what_it_makes():
    for name, steps in RECIPES.items():
        file = "rendered/pose2d.onnx" if name == "rendered" else f"{name}.onnx"
        assert FOLDERS.models / file == [step.made(FOLDERS) for step in steps if step.product][-1]


def test_what_can_go_on_is_always_started_again():
    assert [s for s in STEPS if s.resumes] == [s for s in STEPS if s.command.startswith(("train ", "render "))]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.command)
def test_as_many_work_as_is_said_at_what_is_rendered_and_trained(step):
    counts = {"workers": 7, "threads": 9}
    if not step.resumes:
        assert step.by(counts) == step
        return
    plain, told = parsed(step.words(FOLDERS)), parsed(step.by(counts).words(FOLDERS))
    assert told == plain | {name: count for name, count in counts.items() if name in plain}
    assert step.by({}) == step


def test_every_configuration_is_used_or_known_not_to_be():
    used = {Path(word).name for step in STEPS for word in step.words(FOLDERS) if word.endswith(".yaml")}
    rest = {path.name for path in CONFIGS.glob("*.yaml")} - used
    assert not [name for name in rest if not name.startswith(NO_RECIPES)]
    assert not [name for name in used if name.startswith(NO_RECIPES)]


def documented():
    """The words of the commands in the documentation's table and blocks that make something."""
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    commands = [command for row in rows for command in re.findall("`pose3d ([^`]+)`", row)]
    for block in re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        commands += re.findall(r"^pose3d ([^#\n]+)", block.replace("\\\n", " "), re.MULTILINE)
    made = re.compile(r"(render|train|findings|bystanders|factorise|export)\b.* --")
    return [shlex.split(command) for command in commands if made.match(command)]


def essence(words):
    """What a command makes, and of what. Where a part is run several times, all are the first."""
    args = parsed(words)
    values = {key: str(value) for key, value in args.items() if key not in OF_THE_MACHINE}
    values |= {"module": args["run"].__module__, "config": Path(values.get("config", "")).name}
    return frozenset((key, re.sub(r"_\d\b", "", value)) for key, value in values.items())


def test_documented_commands_are_steps():
    commands = [words for words in documented() if not any(part in " ".join(words) for part in NO_RECIPES)]
    assert len(commands) > 30
    known = {essence(step.words(FOLDERS)) for step in STEPS}
    assert not [shlex.join(words) for words in commands if essence(words) not in known]


def test_folders_may_be_called_anything():
    folders = Folders(Path("my data"), Path("$runs"), Path("{runs}"), Path("models"))
    step = Step("train finder --data $data --synthetic $synthetic --output $runs/a", "$runs/a/checkpoint.pt")
    assert step.words(folders) == [
        "train",
        "finder",
        "--data",
        "my data",
        "--synthetic",
        "$runs",
        "--output",
        "{runs}/a",
    ]
    assert step.made(folders) == Path("{runs}/a/checkpoint.pt")
