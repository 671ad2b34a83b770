"""The options of commands that measure the whole pipeline."""

from __future__ import annotations

import argparse
from pathlib import Path

from pose3d_ros.backend import PRECISIONS, open_engines
from pose3d_ros.loaded_networks import Networks
from pose3d_ros.models import pipeline_models
from pose3d_ros.pipeline import Pipeline
from pose3d_ros.pipeline_settings import PipelineSettings


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Which networks, and how they run."""
    parser.add_argument("--models", type=Path, metavar="DIR", help="the folder of the networks; default: the package's")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="of the networks: fp16 for those of GPUs (%(default)s)"
    )
    parser.add_argument("--threads", type=int, default=PipelineSettings().threads, help="CPU threads (%(default)s)")


def open_networks(args: argparse.Namespace) -> Networks:
    """The networks that the options ask for."""
    wish = PipelineSettings(threads=args.threads, precision=args.precision).wish
    return Networks(open_engines(pipeline_models(args.models), wish))


def open_pipeline(args: argparse.Namespace) -> Pipeline:
    """The pipeline that the options ask for."""
    return Pipeline(args.models, PipelineSettings(threads=args.threads, precision=args.precision))
