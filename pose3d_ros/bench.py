"""`pose3d bench`: milliseconds per stage and network on this machine, and against a yardstick that every machine has.

The yardstick is a 1024x1024x1024 float32 matrix product by NumPy with the same number of threads. Frames and products
take turns, so that both see the same machine: its clock, its heat and its other work. Between turns both rest, as the
threads of NumPy's BLAS spin on for a while after a product and would take the cores from the networks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pose3d_ros.backend import BACKENDS, PRECISIONS, open_engines
from pose3d_ros.camera import Camera
from pose3d_ros.models import pipeline_models
from pose3d_ros.network_times import network_times
from pose3d_ros.person import Frame
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.pipeline_settings import PipelineSettings
from pose3d_ros.video import PACKAGE_CLIP, open_source, read_image

Image = NDArray[np.uint8]

_SIZE = (640, 480)
_MATMUL = 1024
_FRAME_NS = 33_333_333
_FOV_DEG = 60.0
_WARM_UP_FRAMES = 10
_FRAMES_A_TURN = 20
_PRODUCTS_A_TURN = 4
_REST_S = 0.15
_CLIP_FRAMES = 120
# NumPy's BLAS reads its number of threads once, when NumPy is imported.
_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pose3d bench`."""
    parser.add_argument("--image", type=Path, help="a picture to show in every frame; default: our rendered clip")
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="timed frames (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the networks and of the matmul (2)")
    parser.add_argument("--people", type=int, default=1, metavar="N", help="copies of the picture side by side (1)")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help="what runs the networks (%(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0], help="of the networks (%(default)s)")
    parser.add_argument("--models", type=Path, metavar="DIR", help="the folder of the networks; default: the package's")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    if args.frames < 1 or args.people < 1:
        raise ValueError("--frames and --people must be at least 1")
    if os.environ.get(_BLAS_THREADS[0]) != str(args.threads):
        environment = {**os.environ, **dict.fromkeys(_BLAS_THREADS, str(args.threads))}
        return subprocess.call([sys.executable, "-m", "pose3d_ros.cli", *sys.argv[1:]], env=environment)
    settings = PipelineSettings(
        threads=args.threads,
        backend=args.backend,
        precision=args.precision,
        max_people=max(args.people, PipelineSettings().max_people),
    )
    engines = open_engines(pipeline_models(args.models), settings.wish)
    pipeline = Pipeline(settings=settings, engines=engines)
    images = [read_image(args.image)] if args.image else _clip()
    figures = measure(pipeline, [_framed(image, args.people) for image in images], args.frames)
    networks = network_times(engines.by_role, args.frames)
    figures = {"models": pipeline.description, "threads": args.threads, **figures, "networks_ms": networks}
    print(json.dumps(figures, indent=1) if args.json else _table(figures))
    return 0


def measure(pipeline: Pipeline, images: list[Image], frames: int) -> dict[str, Any]:
    """Runs the images there and back as one long video; returns milliseconds (median, p95) per stage and in all."""
    camera = Camera.from_horizontal_fov(*_SIZE, _FOV_DEG)
    there_and_back = images + images[-2:0:-1]
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((_MATMUL, _MATMUL), np.float32) for _ in range(2))
    stages: dict[str, list[float]] = {}
    totals, matmuls, people = [], [], []
    for i in range(_WARM_UP_FRAMES + frames):
        if i % _FRAMES_A_TURN == 0:
            time.sleep(_REST_S)
            matmuls += _product_times(a, b)
            time.sleep(_REST_S)
        frame = Frame(there_and_back[i % len(there_and_back)], i * _FRAME_NS, camera)
        started = time.perf_counter()
        found = pipeline.process(frame)
        ended = time.perf_counter()
        if i < _WARM_UP_FRAMES:
            continue
        totals.append(1e3 * (ended - started))
        people.append(len(found))
        for name, milliseconds in pipeline.timings_ms.items():
            stages.setdefault(name, []).append(milliseconds)
    return {
        "frames": frames,
        "size": _SIZE,
        "people_mean": float(np.mean(people)),
        "stages_ms": {name: _spread(values) for name, values in stages.items()},
        "total_ms": _spread(totals),
        "mean_ms": float(np.mean(totals)),
        "matmul_ms": _spread(matmuls),
        "ratio_to_matmul": float(np.median(totals) / np.median(matmuls)),
        "ratio_of_means": float(np.mean(totals) / np.mean(matmuls)),
    }


def _product_times(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    """Milliseconds of some products, the first of a turn left out."""
    out = np.empty_like(a)
    times = []
    for _ in range(1 + _PRODUCTS_A_TURN):
        started = time.perf_counter()
        np.matmul(a, b, out=out)
        times.append(1e3 * (time.perf_counter() - started))
    return times[1:]


def _spread(milliseconds: list[float]) -> dict[str, float]:
    return {"median": float(np.median(milliseconds)), "p95": float(np.percentile(milliseconds, 95))}


def _table(figures: dict[str, Any]) -> str:
    lines = [
        figures["models"],
        f"{figures['frames']} frames of {_SIZE[0]}x{_SIZE[1]}, {figures['people_mean']:.2f} people, "
        f"{figures['threads']} threads",
        f"{'ms':14}{'median':>9}{'p95':>9}",
    ]
    rows = {**figures["stages_ms"], "total": figures["total_ms"], "matmul 1024³": figures["matmul_ms"]}
    lines += [f"{name:14}{row['median']:9.2f}{row['p95']:9.2f}" for name, row in rows.items()]
    lines.append(
        f"total / matmul: {figures['ratio_to_matmul']:.2f} of medians, {figures['ratio_of_means']:.2f} of means "
        "(frames on which people are looked for included)"
    )
    lines += [f"{'network alone, batch':25}{'median':>7}"]
    lines += [
        f"{f'{role} {size}':24}{milliseconds:8.2f}"
        for role, times in figures["networks_ms"].items()
        for size, milliseconds in times.items()
    ]
    return "\n".join(lines)


def _clip() -> list[Image]:
    """Frames of our clip in which the person is in view."""
    truth = json.loads(PACKAGE_CLIP.with_suffix(".json").read_text(encoding="utf-8"))["joints_m"]
    with open_source(str(PACKAGE_CLIP)) as source:
        frames = (image for (image, _), joints in zip(source, truth, strict=False) if joints is not None)
        return list(islice(frames, _CLIP_FRAMES))


def _framed(image: Image, people: int) -> Image:
    """The picture, repeated side by side for several people, fitted into 640x480."""
    row = np.concatenate([image] * people, 1)
    height, width = row.shape[:2]
    scale = min(_SIZE[0] / width, _SIZE[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.full((_SIZE[1], _SIZE[0], 3), 118, np.uint8)
    x, y = (_SIZE[0] - inner[0]) // 2, (_SIZE[1] - inner[1]) // 2
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(row, inner, interpolation=cv2.INTER_AREA)
    return canvas
