"""Draws how stage 1 learned, from the table in docs/benchmarks.md.

python tools/learning_curve.py --output docs/learning.png
"""

from __future__ import annotations

import argparse
import re
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_TABLE = re.compile(r"^\| samples \| crop \| minutes in all .*\n.*\n((?:\|.*\n)+)", re.MULTILINE)
_SAMPLES = re.compile(r"\d{2,3},000")
_WIDTH_PX, _HEIGHT_PX, _EDGE_PX = 760, 360, 56
_MOST_PCK = 80
_GREY, _PALE = (60, 60, 60), (215, 215, 215)
_COLOURS = {"PCK@0.2": (180, 90, 20), "PCK@0.1": (40, 140, 40)}


class Point(NamedTuple):
    """What the averaged weights made of LSPET's validation after so many samples in all."""

    samples: int
    crop_px: int
    pck: tuple[float, float]
    wide: bool


def points(page: str) -> list[Point]:
    """The rows of the table, in order. Raises ValueError when the page has none.

    A part's rows count from its beginning; another one begins where the count does not rise.
    """
    table = _TABLE.search(page)
    if table is None:
        raise ValueError("there is no table 'samples | crop | minutes in all' in it")
    found: list[Point] = []
    before = begun = 0
    wide = False
    for row in table[1].splitlines():
        told, crop, _, *pck = (cell.strip() for cell in row.strip("|").split("|"))
        [samples, *_] = (int(number.replace(",", "")) for number in _SAMPLES.findall(told))
        wide |= told.startswith("full width")
        if samples <= before:
            begun = found[-1].samples
        before = samples
        found.append(Point(begun + samples, int(crop), (float(pck[0]), float(pck[1])), wide))
    return found


def drawn(curve: list[Point]) -> NDArray[np.uint8]:
    """PCK over samples, with a mark where the network became wider, and the crop's side where it changed."""
    canvas = np.full((_HEIGHT_PX + 2 * _EDGE_PX, _WIDTH_PX + 2 * _EDGE_PX, 3), 255, np.uint8)
    most = curve[-1].samples

    def place(samples: float, pck: float) -> tuple[int, int]:
        return round(_EDGE_PX + samples / most * _WIDTH_PX), round(_EDGE_PX + (1 - pck / _MOST_PCK) * _HEIGHT_PX)

    def write(text: str, at: tuple[int, int], colour: tuple[int, int, int] = _GREY) -> None:
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)

    for pck in range(0, _MOST_PCK + 1, 20):
        cv2.line(canvas, place(0, pck), place(most, pck), _PALE, 1)
        write(str(pck), (_EDGE_PX - 30, place(0, pck)[1] + 5))
    for samples in range(0, most, 250_000):
        write(f"{samples // 1000:,}k", (place(samples, 0)[0] - 12, place(0, 0)[1] + 20))
    write("samples", (place(most, 0)[0] - 40, place(0, 0)[1] + 40))
    write("LSPET validation, one look", (_EDGE_PX, 20))
    for last, new in pairwise(curve):
        if new.crop_px != last.crop_px:
            write(f"{new.crop_px}px", (place(last.samples, 0)[0] - 4, place(0, 4)[1]), (140, 140, 140))
        if new.wide and not last.wide:
            x, y = place(last.samples, _MOST_PCK)
            cv2.line(canvas, (x, y), place(last.samples, 0), _PALE, 1)
            write("full width", (x + 4, y + 14))
    for (name, colour), k, row in zip(_COLOURS.items(), count(), (16, 34), strict=False):
        line = np.array([place(point.samples, point.pck[k]) for point in curve])
        cv2.polylines(canvas, [line], False, colour, 2, cv2.LINE_AA)
        for x, y in line.tolist():
            cv2.circle(canvas, (x, y), 3, colour, -1, cv2.LINE_AA)
        write(name, (_EDGE_PX + 8, _EDGE_PX + row), colour)
    return canvas


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"), help="page that has the table")
    parser.add_argument("--output", type=Path, required=True, help="picture to write")
    args = parser.parse_args()
    cv2.imwrite(str(args.output), drawn(points(args.page.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
