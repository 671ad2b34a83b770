"""Lifting as others do it, beside ours, on the same sequences: a table of one command.

    pose3d evaluate baselines --data ../shared/data --martinez runs/lifter_martinez/lifter.onnx

Protocol and data are those of `pose3d evaluate lifter`. Martinez: a residual network on single frames, trained with
the squared error (training/configs/lifter_martinez.yaml). Chen & Ramanan: the nearest of many exemplars of the
training people. VNect: our network frame by frame, its bones made of one length each, the result through a 1€ filter.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pose3d_ros.data.mocap import MocapClips, load_mocap
from pose3d_ros.data.virtual_cameras import ErrorModel
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.evaluation.baselines import Exemplars, kinematic_fit, one_euro
from pose3d_ros.evaluation.evaluate_lifter import (
    Estimate,
    Sequence3D,
    figures,
    lift_sequences,
    make_sequences,
)
from pose3d_ros.stages.lift import Lifter

_SHOWN = ("MPJPE", "PA-MPJPE", "accel", "reliable", "occluded")

Method = Callable[[Sequence[Sequence3D]], list[Estimate]]


def methods(lifter: Lifter, martinez: Lifter | None, exemplars: Exemplars, fps: float) -> dict[str, Method]:
    """Each way to lift, by name."""

    def nearest(sequences: Sequence[Sequence3D]) -> list[Estimate]:
        return [_sure(exemplars.lift(s.rays, s.score)) for s in sequences]

    def fitted(sequences: Sequence[Sequence3D]) -> list[Estimate]:
        lifted = lift_sequences(lifter, sequences, recurrent=False)
        return [_sure(one_euro(kinematic_fit(estimate.joints_m), fps)) for estimate in lifted]

    found: dict[str, Method] = {"Chen & Ramanan: nearest exemplar": nearest}
    if martinez is not None:
        found["Martinez et al.: residual network"] = lambda s: lift_sequences(martinez, s, recurrent=False)
    return found | {
        "VNect: frame by frame, kinematic fit, 1€": fitted,
        "ours, frame by frame": lambda s: lift_sequences(lifter, s, recurrent=False),
        "ours, recurrent": lambda s: lift_sequences(lifter, s),
    }


def _sure(joints: np.ndarray) -> Estimate:
    """An estimate that knows no uncertainty."""
    return Estimate(joints, np.zeros(joints.shape[:2]))


def evaluate(ways: dict[str, Method], clips: MocapClips, cameras: int, seed: int) -> dict[str, dict[str, float]]:
    """The figures of each way by "2D input: way"."""
    rows = {}
    for source, errors in (("true 2D", None), ("noisy 2D", ErrorModel())):
        sequences = make_sequences(clips, cameras, seed, errors)
        for name, method in ways.items():
            rows[f"{source}: {name}"] = figures(sequences, method(sequences))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--model", type=Path, default=Path("models/lifter.onnx"), help="our exported lifter")
    parser.add_argument("--martinez", type=Path, help="the residual network's exported lifter")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that has mocap/")
    parser.add_argument("--exemplars", type=int, default=60_000, help="poses in the library (default 60,000)")
    parser.add_argument("--cameras", type=int, default=4, help="virtual cameras for each clip (default 4)")
    parser.add_argument("--seed", type=int, default=2026, help="of cameras and errors")


def run(args: argparse.Namespace) -> None:
    """Prints the table."""
    clips = load_mocap(args.data, "test")
    lifter = Lifter(OnnxRuntimeEngine(args.model, threads=1))
    martinez = None if args.martinez is None else Lifter(OnnxRuntimeEngine(args.martinez, threads=1))
    exemplars = Exemplars(load_mocap(args.data, "train"), args.exemplars, args.seed)
    rows = evaluate(methods(lifter, martinez, exemplars, clips.fps), clips, args.cameras, args.seed)
    print(f"mocap test, {len(clips)} clips x {args.cameras} cameras, seed {args.seed}; mm")
    print(f"{'':52s}" + "".join(f"{name:>10s}" for name in _SHOWN))
    for name, row in rows.items():
        print(f"{name:52s}" + "".join(f"{row[key]:10.1f}" if key in row else f"{'':10s}" for key in _SHOWN))
