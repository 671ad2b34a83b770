"""Rewrites the table of parameters in docs/ros_api.md from the node's own declarations: run it when they change."""

from __future__ import annotations

from pathlib import Path

from pose3d_ros.ros.parameters import PARAMETERS, ParameterSpec

PAGE = Path(__file__).resolve().parents[1] / "docs/ros_api.md"
BEGIN, END = "<!-- parameters -->\n", "<!-- end of parameters -->\n"


def table() -> str:
    """The table in Markdown."""
    lines = ["| parameter | default | allowed | may change | meaning |", "|---|---|---|---|---|"]
    for spec in PARAMETERS:
        default = f"`{spec.default!r}`".replace("'", '"')
        lines.append(f"| `{spec.name}` | {default} | {_allowed(spec)} | {spec.change.value} | {spec.description} |")
    return "\n".join(lines) + "\n"


def _allowed(spec: ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(f"`{choice}`" for choice in spec.choices)
    if spec.minimum is not None and spec.maximum is not None:
        return f"{spec.minimum:g} … {spec.maximum:g}"
    return ""


def updated(page: str) -> str:
    """The page with a fresh table between the two marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
