"""`pose3d build-engine`: the networks as TensorRT engines, built beforehand so that the robot need not wait.

Every engine is compared with ONNX Runtime on pictures of our clip before it is kept. Engines belong to one GPU, one
TensorRT and one file of a network; they lie in the user's cache folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pose3d_ros.backend import TENSORRT_PRECISIONS, tensorrt_store
from pose3d_ros.engines import cache
from pose3d_ros.engines.cache import EngineKey, StalePlanError
from pose3d_ros.engines.kept import kept_engines, warnings_of
from pose3d_ros.engines.pruning import prune
from pose3d_ros.models import Model, pipeline_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pose3d build-engine`."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="the folder of the networks; default: the package's")
    parser.add_argument(
        "--precision", choices=TENSORRT_PRECISIONS, default=TENSORRT_PRECISIONS[0], help="(%(default)s)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--rebuild", action="store_true", help="build also what is there already")
    what.add_argument("--list", action="store_true", help="show the engines in the cache, and build nothing")
    what.add_argument("--prune", action="store_true", help="delete superseded engines and what belongs to them")


def run(args: argparse.Namespace) -> int:
    """Builds, lists or prunes; returns the exit status."""
    if args.list:
        return _list()
    store = tensorrt_store()
    models = pipeline_models(args.models)
    if args.prune:
        every = [
            store.key_of(m.path, m.sha256, precision) for m in models.values() for precision in TENSORRT_PRECISIONS
        ]
        return _prune(every)
    for role, model in models.items():
        _build(role, model, store.key_of(model.path, model.sha256, args.precision), args.rebuild)
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """`ros2 run pose3d_ros build_engine`."""
    from pose3d_ros import cli

    return cli.main(["build-engine", *(sys.argv[1:] if args is None else args)])


def _build(role: str, model: Model, key: EngineKey, again: bool) -> None:
    """Builds one engine, unless it is there and works, with a progress bar."""
    from tqdm import tqdm

    store = tensorrt_store()
    started = time.monotonic()
    with tqdm(
        total=100, desc=model.path.name, bar_format="{desc} {percentage:3.0f} % |{bar:30}| {elapsed}{postfix}"
    ) as bar:

        def report(done: float | None, text: str) -> None:
            if done is not None:
                bar.update(100 * done - bar.n)
            bar.set_postfix_str(text)

        try:
            if not again:
                store.load(key).close()
                report(1.0, "is there already")
                return
        except FileNotFoundError:
            pass
        except StalePlanError as error:
            bar.write(f"{model.path.name}: {error}; building it again")
        store.build(key, model.path, role, report, lambda: False)
        sidecar = cache.read_sidecar(key.plan)
        report(1.0, f"{sidecar['precision']}, {sidecar['check']}")
    for text in warnings_of(sidecar):
        print(f"{model.path.name}: warning: {text}", file=sys.stderr)
    print(f"{key.plan} ({sidecar['bytes'] / 1e6:.1f} MB, {time.monotonic() - started:.0f} s)")


def _list() -> int:
    engines = kept_engines()
    if not engines:
        print(f"no engines in {cache.cache_folder()}")
    for engine in engines:
        print("; ".join([f"{engine.plan.name}: {engine.about}", *(f"warning: {text}" for text in engine.warnings)]))
    return 0


def _prune(current: list[EngineKey]) -> int:
    pruned = prune(current)
    for path in pruned.deleted:
        print(f"deleted {path}")
    for text in pruned.left:
        print(f"warning: {text}", file=sys.stderr)
    print(f"{pruned.bytes / 1e6:.1f} MB freed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
