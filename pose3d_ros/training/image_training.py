"""What the trainings of both image networks share: their options and their mixture of sources."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

Source = TypeVar("Source")
Given = TypeVar("Given")

RENDERED = "rendered people: give their folder with --synthetic"


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--config", type=Path, required=True, help="YAML file of training/configs")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--synthetic", type=Path, help="folder of rendered pictures (see pose3d render)")
    parser.add_argument("--output", type=Path, required=True, help="folder of checkpoint and log; resumed")
    parser.add_argument(
        "--init", type=Path, help="checkpoint.pt or exported .onnx to begin from, of the same width or narrower"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that make the pictures")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")


def mixture(
    makers: Mapping[str, Callable[[], Source]], shares: Mapping[str, float]
) -> tuple[list[Source], list[float]]:
    """The sources that have a share, and their shares. Raises ValueError naming sources that do not exist."""
    unknown = sorted(set(shares) - set(makers))
    if unknown:
        raise ValueError(f"unknown sources {unknown} in shares; known are {sorted(makers)}")
    used = {name: share for name, share in shares.items() if share > 0}
    return [makers[name]() for name in used], list(used.values())


def required(given: Given | None, what: str) -> Given:
    """What was given. Raises ValueError, saying what to give, when it was not, or is empty."""
    if not given:
        raise ValueError(f"the configuration asks for {what}")
    return given
