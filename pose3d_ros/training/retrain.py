"""`pose3d retrain`: every command that makes a shipped network from the data, one after the other.

    pose3d retrain pose2d --dry-run    # what would be done
    pose3d retrain pose2d              # hours to days; started again, it goes on where it was interrupted

Each command is a process of its own. Networks share their first steps, which are done once.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pose3d_ros.training.recipes import RECIPES, Folders, Step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("network", choices=RECIPES, help="which of the shipped files; rendered: rendered/pose2d.onnx")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument(
        "--synthetic", type=Path, default=Path("synth"), help="folder of rendered pictures; what it lacks is rendered"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the checkpoints (%(default)s)")
    parser.add_argument(
        "--models",
        type=Path,
        help="folder to write the networks into (default: models in that of --runs); what is there is not made anew",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that render, or make a training's pictures (default: few)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="PyTorch's threads in trainings (default: few)")
    parser.add_argument("--dry-run", action="store_true", help="only print the commands")


def run(args: argparse.Namespace) -> int:
    """Carries a recipe out, or prints it; returns the exit status."""
    folders = Folders(args.data, args.synthetic, args.runs, args.models or args.runs / "models")
    given = {"workers": args.workers, "threads": args.threads}
    counts = {name: count for name, count in given.items() if count is not None}
    steps = [step.by(counts) for step in RECIPES[args.network]]
    if args.dry_run:
        print("\n".join(_shown(step, folders) for step in steps))
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which ends the step as well
    return retrain(steps, folders)


def retrain(steps: Sequence[Step], folders: Folders) -> int:
    """Carries steps out, but for those whose product is there; returns the exit status of the one that failed, or 0."""
    for number, step in enumerate(steps, 1):
        made = step.made(folders)
        if made is not None and made.exists() and not step.resumes:
            print(f"[{number}/{len(steps)}] {made} is there", flush=True)
            continue
        shown = _shown(step, folders)
        print(f"[{number}/{len(steps)}] {shown}", flush=True)
        status = _carried_out(step, folders)
        if status:
            print(
                f"pose3d: step {number} of {len(steps)} failed with exit status {status}: {shown}\n"
                "Started again, pose3d retrain goes on with it.",
                file=sys.stderr,
            )
            return status
    return 0


def _carried_out(step: Step, folders: Folders) -> int:
    """Runs a step in a process of its own; returns its exit status. What it leaves half made is removed."""
    made = step.made(folders)
    finished = False
    try:
        status = subprocess.run([sys.executable, "-m", "pose3d_ros.cli", *step.words(folders)], check=False).returncode
        finished = status == 0
    finally:
        if made is not None and not finished and not step.resumes:
            made.unlink(missing_ok=True)
    return status


def _shown(step: Step, folders: Folders) -> str:
    return shlex.join(["pose3d", *step.words(folders)])
