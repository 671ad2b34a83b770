"""Configurations as frozen dataclasses, read from YAML; unknown keys are refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import yaml

T = TypeVar("T")


def read_config(kind: type[T], path: Path) -> T:
    """The configuration of the given dataclass in a YAML file.

    Raises ValueError naming unknown keys, FileNotFoundError when there is no such file.
    """
    values = yaml.safe_load(path.read_text()) or {}
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{path}: unknown keys {unknown}; known are {sorted(known)}")
    return kind(**values)
