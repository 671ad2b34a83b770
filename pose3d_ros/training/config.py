"""Configurations as frozen dataclasses, read from YAML; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


def read_config(kind: type[T], path: Path) -> T:
    """The configuration of the given dataclass in a YAML file.

    Raises ValueError naming unknown keys and what is no number, FileNotFoundError when there is no such file.
    """
    return section(kind, yaml.safe_load(path.read_text()) or {}, str(path))


def section(kind: type[T], values: Mapping[str, Any], name: str) -> T:
    """The dataclass of a mapping that is called so. Raises ValueError naming unknown keys and what is no number."""
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known.keys())
    if unknown:
        raise ValueError(f"{name}: unknown keys {unknown}; known are {sorted(known)}")
    for key, value in values.items():
        if known[key] in ("int", "float") and isinstance(value, str):  # to YAML 1e-3 is a text, 1.0e-3 a number
            raise ValueError(f"{name}: {key} is the text {value!r}, not a number; write 1.0e-3, not 1e-3")
    return kind(**values)
