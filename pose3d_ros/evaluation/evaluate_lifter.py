"""Figures of an exported lifter on mocap of people it never saw, through virtual cameras of a fixed seed.

    pose3d evaluate lifter --model models/lifter.onnx --data ../shared/data

Protocol: every clip of the split at 30 Hz, seen by ``--cameras`` cameras each (field of view 35-110°, height
0.2-2.5 m, distance 0.8-10 m, with roll and pitch; not centred, but stepped back until the whole clip fits, by 8 m at
most; the "truncated" row leaves that out). The camera does not know which way is up, except in the rows that say so.
Root-relative joints in the camera frame against mocap, real body sizes, no scale from the truth. The 20 joints that
the mocap has, the pelvis (always 0) included; "no root" leaves it out. "GT 2D" gives exact rays of all joints;
"noisy 2D" passes them through `virtual_cameras.ErrorModel` (noise, 18 mm off on average where visible, more when
hidden; outliers, occluders); in the row "sides", left and right are mistaken 15 % of the time as well. Causal
throughout; nothing is skipped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pose3d_ros.data.mocap import MOCAP_JOINTS, SPLITS, MocapClips, load_mocap
from pose3d_ros.data.virtual_cameras import ErrorModel, Observations, Views, observe, observe_clean, sample_views
from pose3d_ros.engines.engine import Rows
from pose3d_ros.engines.onnx_runtime import OnnxRuntimeEngine
from pose3d_ros.evaluation.metrics import acceleration_error, coverage, joint_errors, mpjpe, n_mpjpe, pa_mpjpe
from pose3d_ros.models import record_figures
from pose3d_ros.skeleton import NUM_JOINTS, ROOT
from pose3d_ros.stages.lift import Lifter
from pose3d_ros.stages.place import place
from pose3d_ros.stages.track import PointFilter, TrackerConfig

Array = NDArray[np.floating]

_SIDE_ERRORS = 0.15


@dataclass(frozen=True)
class Sequence3D:
    """One clip seen by one camera: observations [T,...] and the true joints [T,24,3] in the camera frame."""

    rays: Array
    cov: Array
    score: Array
    reliable: NDArray[np.bool_]
    joints_m: Array
    up: Array

    @property
    def target(self) -> Array:
        """Root-relative joints [T,24,3]."""
        return self.joints_m - self.joints_m[:, ROOT : ROOT + 1]


@dataclass(frozen=True)
class Estimate:
    """Lifted sequence: root-relative joints [T,24,3] and their sigma [T,24], metres."""

    joints_m: Array
    sigma_m: Array


def make_sequences(
    clips: MocapClips, cameras: int, seed: int, errors: ErrorModel | None, whole: bool = True
) -> list[Sequence3D]:
    """Each clip through its cameras, which are the same for all errors of the 2D and for none."""
    sequences = []
    for k in range(len(clips)):
        views = sample_views(np.random.default_rng((seed, k)), np.repeat(clips[k][None], cameras, axis=0), float(whole))
        rng = np.random.default_rng((seed, k, 1))
        seen = observe_clean(rng, views) if errors is None else observe(rng, views, errors)
        sequences += [_sequence(views, seen, camera) for camera in range(cameras)]
    return sequences


def _sequence(views: Views, seen: Observations, i: int) -> Sequence3D:
    return Sequence3D(seen.rays[i], seen.cov[i], seen.score[i], seen.reliable[i], views.joints_m[i], views.up[i])


def lift_sequences(
    lifter: Lifter, sequences: Sequence[Sequence3D], recurrent: bool = True, know_up: bool = False
) -> list[Estimate]:
    """Lift all sequences frame by frame in one batch, with the state carried on or, per frame, always new."""
    order = np.argsort([-len(s.rays) for s in sequences], kind="stable")
    lengths = np.array([len(sequences[i].rays) for i in order])
    out = [Estimate(np.zeros((n, NUM_JOINTS, 3)), np.zeros((n, NUM_JOINTS))) for n in lengths]
    states: Rows = [None] * len(order)
    for t in range(lengths[0]):
        running = int((lengths > t).sum())
        now = [sequences[i] for i in order[:running]]
        states = states[:running] if recurrent else [None] * running
        lifted = lifter(
            np.stack([s.rays[t] for s in now]),
            np.stack([s.cov[t] for s in now]),
            np.stack([s.score[t] for s in now]),
            states,
            np.stack([s.up for s in now]) if know_up else None,
        )
        states = lifted.states
        for estimate, joints, sigma in zip(out[:running], lifted.joints_m, lifted.sigma_m, strict=True):
            estimate.joints_m[t], estimate.sigma_m[t] = joints, sigma
    estimates: list[Estimate] = [out[0]] * len(out)
    for rank, i in enumerate(order):
        estimates[i] = out[rank]
    return estimates


def filtered(estimate: Estimate, fps: float) -> Estimate:
    """The tracker's Kalman filter on top."""
    config = TrackerConfig()
    noise = config.white_fraction * estimate.sigma_m[..., None, None] ** 2
    points = PointFilter(estimate.joints_m[0], noise[0])
    smooth = [points.position]
    for joints, cov in zip(estimate.joints_m[1:], noise[1:], strict=True):
        points.predict(1 / fps, config.joint_acceleration)
        points.correct(joints, cov)
        smooth.append(points.position)
    return Estimate(np.stack(smooth), estimate.sigma_m)


def figures(sequences: Sequence[Sequence3D], estimates: Sequence[Estimate]) -> dict[str, float]:
    """All figures by name; distances in mm, shares in percent."""
    joints = MOCAP_JOINTS
    predicted = np.concatenate([e.joints_m for e in estimates])[:, joints]
    target = np.concatenate([s.target for s in sequences])[:, joints]
    sigma = np.concatenate([e.sigma_m for e in estimates])[:, joints]
    reliable = np.concatenate([s.reliable for s in sequences])[:, joints]
    error, no_root = joint_errors(predicted, target), joints != ROOT
    frames = [len(s.rays) for s in sequences]
    acceleration = [
        acceleration_error(e.joints_m[:, joints], s.target[:, joints])
        for s, e in zip(sequences, estimates, strict=True)
    ]
    result = {
        "MPJPE": 1e3 * mpjpe(predicted, target),
        "no root": 1e3 * float(error[:, no_root].mean()),
        "PA-MPJPE": 1e3 * pa_mpjpe(predicted, target),
        "N-MPJPE": 1e3 * n_mpjpe(predicted, target),
        "accel": 1e3 * float(np.average(acceleration, weights=frames)),
        "reliable": 1e3 * float(error[:, no_root][reliable[:, no_root]].mean()),
        "within 1σ": 100 * coverage((predicted - target)[:, no_root], sigma[:, no_root]),
        "within 2σ": 100 * coverage((predicted - target)[:, no_root], sigma[:, no_root], 2.0),
    }
    if not reliable.all():
        result["occluded"] = 1e3 * float(error[:, no_root][~reliable[:, no_root]].mean())
    return result


def root_figures(sequences: Sequence[Sequence3D], estimates: Sequence[Estimate]) -> dict[str, float]:
    """Placement: median error of the root in mm and in percent of its depth, 1σ coverage of the depth, failures."""
    errors, depths, inside, ok = [], [], [], []
    for s, e in zip(sequences, estimates, strict=True):
        placed = place(e.joints_m, e.sigma_m, s.rays, s.cov, s.score)
        error = placed.root_m - s.joints_m[:, ROOT]
        errors.append(np.linalg.norm(error, axis=-1)[placed.ok])
        depths.append(s.joints_m[placed.ok, ROOT, 2])
        inside.append((np.abs(error[:, 2]) < np.sqrt(placed.cov[:, 2, 2]))[placed.ok])
        ok.append(placed.ok)
    error = np.concatenate(errors)
    return {
        "root median": 1e3 * float(np.median(error)),
        "root median %": 100 * float(np.median(error / np.concatenate(depths))),
        "depth within 1σ": 100 * float(np.concatenate(inside).mean()),
        "not placed %": 100 * (1 - float(np.concatenate(ok).mean())),
    }


def evaluate(lifter: Lifter, clips: MocapClips, cameras: int, seed: int) -> dict[str, dict[str, float]]:
    """All rows of the table by name."""
    rows = {}
    for source, errors in (("GT 2D", None), ("noisy 2D", ErrorModel())):
        sequences = make_sequences(clips, cameras, seed, errors)
        recurrent = lift_sequences(lifter, sequences)
        rows[f"{source}, recurrent"] = figures(sequences, recurrent) | root_figures(sequences, recurrent)
        smooth = [filtered(estimate, clips.fps) for estimate in recurrent]
        rows[f"{source}, recurrent + Kalman"] = figures(sequences, smooth)
        rows[f"{source}, per frame"] = figures(sequences, lift_sequences(lifter, sequences, recurrent=False))
        rows[f"{source}, recurrent, up known"] = figures(sequences, lift_sequences(lifter, sequences, know_up=True))
    sequences = make_sequences(clips, cameras, seed, ErrorModel(), whole=False)
    rows["noisy 2D, recurrent, truncated"] = figures(sequences, lift_sequences(lifter, sequences))
    sequences = make_sequences(clips, cameras, seed, ErrorModel(side_errors=_SIDE_ERRORS))
    rows["noisy 2D, recurrent, sides"] = figures(sequences, lift_sequences(lifter, sequences))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--model", type=Path, default=Path("models/lifter.onnx"), help="exported lifter")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder that holds mocap/cmu_joints.npz"
    )
    parser.add_argument("--split", choices=sorted(SPLITS), default="test", help="which people (default test)")
    parser.add_argument("--cameras", type=int, default=4, help="virtual cameras for each clip (default 4)")
    parser.add_argument("--seed", type=int, default=2026, help="of cameras and errors")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--record", action="store_true", help="enter the main figures in the models.json beside it")


def run(args: argparse.Namespace) -> None:
    """Prints the table."""
    clips = load_mocap(args.data, args.split)
    rows = evaluate(Lifter(OnnxRuntimeEngine(args.model, threads=1)), clips, args.cameras, args.seed)
    print(f"{args.model}: mocap {args.split}, {len(clips)} clips x {args.cameras} cameras, seed {args.seed}; mm, %")
    for name, row in rows.items():
        print(f"{name:31s}" + "  ".join(f"{key} {value:.1f}" for key, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if args.record:
        record_figures(args.model, _figures(args.split, rows))


def _figures(split: str, rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """What `models.json` is to tell of rows."""
    chosen = ("MPJPE", "PA-MPJPE", "accel")
    return {f"mocap {split}, {row}: {name}": round(rows[row][name], 1) for row in rows for name in chosen}
