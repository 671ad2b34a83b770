"""``python -m pose3d_ros.data.synthetic``: render shards of crops or scenes, or a film."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import cv2

from pose3d_ros.data.synthetic.clip import render_clip
from pose3d_ros.data.synthetic.crossing import render_crossing
from pose3d_ros.data.synthetic.scene import KINDS, Studio, open_studio, picture
from pose3d_ros.data.synthetic.shards import pack, pictures_in, write_shard

SHARD_SIZE = 1000
FILMS = {"clip": render_clip, "crossing": render_crossing}
_studio: Studio | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``run``."""
    parser.add_argument("--kind", choices=(*KINDS, *FILMS), default="crops",
                        help="256x256 crops, of acrobats too, 320x256 scenes, the demo clip, "
                        "or a film of people whose ways cross")  # fmt: skip
    parser.add_argument("--count", type=int, default=SHARD_SIZE, help="pictures in all, over all shards")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--workers", type=int, default=1, help="processes; the result does not depend on it")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="render only every N-th shard, starting at I")
    parser.add_argument("--first", type=int, default=0, help="index of the first picture (a multiple of the shard)")
    parser.add_argument("--shard-size", type=int, default=SHARD_SIZE, help="pictures in a shard")
    parser.add_argument("--seed", type=int, default=0, help="picture i depends on the seed and i only")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="test uses held-out assets")
    parser.add_argument("--pool", type=int, default=None, help="number of different bodies")
    parser.add_argument(
        "--assets",
        type=Path,
        default=Path(os.environ.get("POSE3D_DATA", "../shared/data")),
        help="folder with humans/, scenes/, mocap/ (default: $POSE3D_DATA or ../shared/data)",
    )
    parser.add_argument("--cache", type=Path, default=None, help="parsed assets and bodies (default: OUT/../cache)")


def run(args: argparse.Namespace) -> int:
    """Render; shards that hold as many pictures already are left alone. Returns the exit status.

    Raises:
        ValueError: --shard is not I/N with 0 <= I < N.
        FileNotFoundError: the assets are missing.
    """
    if args.kind in FILMS:
        studio = open_studio(
            args.assets, args.cache or args.out.parent / "cache", args.split, 0, args.pool, photos=False
        )
        print(FILMS[args.kind](studio, args.out, args.seed))
        return 0
    part, parts = (int(x) for x in args.shard.split("/"))
    if not 0 <= part < parts:
        raise ValueError(f"--shard {args.shard}: the first number must be from 0 to {parts - 1}")
    cache = args.cache or args.out.parent / "cache"
    ends = [min(start + args.shard_size, args.first + args.count)
            for start in range(args.first, args.first + args.count, args.shard_size)]  # fmt: skip
    spans = list(zip(range(args.first, args.first + args.count, args.shard_size), ends, strict=True))[part::parts]
    setup = (args.assets, cache, args.split, args.pool)
    jobs = [(args.kind, args.seed, span, args.out / f"{args.kind}-{args.split}-{args.seed}-{span[0]:07d}.npz")
            for span in spans]  # fmt: skip
    jobs = [job for job in jobs if pictures_in(job[3]) < job[2][1] - job[2][0]]
    open_studio(args.assets, cache, args.split, 0, args.pool)  # build the caches once, before the workers start
    if args.workers <= 1:
        _open(*setup)
        for job in jobs:
            print(_render_shard(job), flush=True)
    else:
        with get_context("spawn").Pool(args.workers, _open, setup) as workers:
            for line in workers.imap(_render_shard, jobs):
                print(line, flush=True)
    return 0


def _open(assets: Path, cache: Path, split: str, pool: int | None) -> None:
    cv2.setNumThreads(1)  # the workers share the cores already
    global _studio  # noqa: PLW0603  (one studio per worker process)
    _studio = open_studio(assets, cache, split, 0, pool)


def _render_shard(job: tuple[str, int, tuple[int, int], Path]) -> str:
    kind, seed, (start, end), path = job
    assert _studio is not None
    began = time.monotonic()
    write_shard(path, pack([picture(_studio, kind, seed, index) for index in range(start, end)]))
    seconds = time.monotonic() - began
    return f"{path}: {end - start} pictures in {seconds:.0f} s ({(end - start) / seconds:.1f}/s)"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m pose3d_ros.data.synthetic", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))
