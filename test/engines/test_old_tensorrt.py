"""TensorRT 8.5 has no Python bindings to check against: what it lacks must be looked for before it is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pose3d_ros.engines

ABSENT = {
    "builder_optimization_level", "hardware_compatibility_level", "VERSION_COMPATIBLE", "TACTIC_DRAM",
    "IProgressMonitor", "progress_monitor",
}  # fmt: skip
SOURCES = sorted(Path(pose3d_ros.engines.__file__).parent.glob("*.py"))


def unguarded(node: ast.AST) -> Iterator[str]:
    """Names of ABSENT that are used as attributes where no `if hasattr(…)` stands around."""
    if isinstance(node, ast.Attribute) and node.attr in ABSENT:
        yield f"{node.attr} in line {node.lineno}"
    for child in ast.iter_child_nodes(node):
        is_guarded = isinstance(node, ast.If) and "hasattr(" in ast.unparse(node.test) and child in node.body
        if not is_guarded:
            yield from unguarded(child)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_names_that_8_5_lacks_are_used_only_where_they_are(source: Path) -> None:
    assert not list(unguarded(ast.parse(source.read_text(encoding="utf-8"))))


def test_a_name_that_is_used_without_a_look_is_found() -> None:
    lines = [
        "pool = trt.MemoryPoolType.TACTIC_DRAM",
        "if hasattr(trt, 'IProgressMonitor'):",
        "    trt.IProgressMonitor()",
    ]
    assert list(unguarded(ast.parse("\n".join(lines)))) == ["TACTIC_DRAM in line 1"]
