"""`pose3d evaluate health`: the figures by which a robot tells whether the networks work as well as they should.

    pose3d evaluate health --record                     # on the package's clip
    pose3d evaluate health walk.mp4 run.mp4 --record    # on videos of your own, with walk.json, run.json

Runs the whole pipeline over videos and measures `model_health.Figures`. With `--record` they are entered in
models.json, with the network that each tells most of: run it whenever a network has changed. A robot is compared with
the worst of the videos; the more they show of what it will see, the better.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pose3d_ros.camera_file import camera_for_image, read_camera
from pose3d_ros.evaluation.pipeline_arguments import add_pipeline_arguments, open_pipeline
from pose3d_ros.model_health import FIGURES, Figures, ModelMonitor, Reference, reference_of
from pose3d_ros.models import models_dir, read_models, record_model
from pose3d_ros.person import Frame
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.video import PACKAGE_CLIP, VideoError, check_frames, open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pose3d evaluate health`."""
    parser.add_argument(
        "videos",
        type=Path,
        nargs="*",
        default=[PACKAGE_CLIP],
        metavar="VIDEO",
        help="with its calibration, VIDEO's .json",
    )
    add_pipeline_arguments(parser)
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N frames of each")
    parser.add_argument("--record", action="store_true", help="enter the reference in models.json")


def run(args: argparse.Namespace) -> None:
    """Prints the figures and, if asked to, records them."""
    check_frames(args.frames)
    pipeline = open_pipeline(args)
    print(pipeline.description)
    measured = [measure(pipeline, video, args.frames) for video in args.videos]
    pipeline.close()
    for video, figures in zip(args.videos, measured, strict=True):
        print(f"{video.name}: " + "  ".join(f"{name} {value:.3g}" for name, value in figures._asdict().items()))
    reference = reference_of(measured)
    for name, known in reference.items():
        print(f"{name:24s}{known.value:8.3f}   limit {known.limit:.3f}")
    if args.record:
        record(args.models or models_dir(), reference)


def measure(pipeline: Pipeline, video: Path, frames: int | None = None) -> Figures:
    """The figures of a video's last 30 seconds. Raises VideoError where it shows too few people."""
    pipeline.reset()
    monitor = ModelMonitor()
    calibration = read_camera(video.with_suffix(".json"))
    with open_source(str(video)) as source:
        for index, (image, stamp_ns) in enumerate(source):
            if index == frames:
                break
            camera = camera_for_image(calibration, image.shape[1], image.shape[0])
            monitor.note(stamp_ns, pipeline.process(Frame(image, stamp_ns, camera)), camera, {})
    figures = monitor.figures_now()
    if math.isnan(figures.mean_score):
        raise VideoError(f"{video} shows people for {figures.person_s:.1f} s only: take one that shows more of them")
    return figures


def record(folder: Path, reference: Mapping[str, Reference]) -> None:
    """Enters the reference in the models.json of a folder."""
    for role, model in read_models(folder).items():
        own = {name: known._asdict() for name, known in reference.items() if FIGURES[name].role == role}
        record_model(replace(model, reference=own))
