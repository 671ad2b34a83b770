"""Train stage 2 (2D → 3D lifting) on mocap seen by virtual cameras. Every batch is made anew; one CPU thread will do.

    pose3d train lifter --config pose3d_ros/training/configs/lifter_gru.yaml \
        --data ../shared/data --output runs/lifter_gru

The run resumes from ``checkpoint.pt`` in the output folder. Started by `torchrun`, it shares the work among processes,
each with batches of its own; all of them compute on CPUs.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pose3d_ros.data.mocap import MOCAP_JOINTS, MocapClips, load_mocap, sample_windows
from pose3d_ros.data.pose_augmentation import augment
from pose3d_ros.data.virtual_cameras import ErrorModel, Observations, observe, observe_clean, sample_views
from pose3d_ros.evaluation.metrics import acceleration_error, mpjpe, pa_mpjpe
from pose3d_ros.networks.lifter import Lifter, LifterConfig
from pose3d_ros.networks.lifter_graph import LifterGraph
from pose3d_ros.networks.losses import LossConfig, lifting_loss
from pose3d_ros.networks.onnx_file import read_weights
from pose3d_ros.skeleton import ROOT, STATURE_SD
from pose3d_ros.training.config import read_config, section
from pose3d_ros.training.half import multiplies_in_half
from pose3d_ros.training.muon import Muon
from pose3d_ros.training.processes import join

LOG = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
_EXPORTED = "lifter."
"""What `LifterGraph` calls the lifter."""
_CALIBRATION_BATCHES = 12


@dataclass(frozen=True)
class TrainConfig:
    """One run; written as YAML."""

    network: LifterConfig = field(default_factory=LifterConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    steps: int = 4000
    batch: int = 64
    """Sequences in a batch, in each process."""
    frames: int = 40
    """Frames in a sequence."""
    chunks: int = 1
    """Parts of a sequence, a step each; the state is carried over them, the gradient is not. So a step holds many
    people, whom the network has followed for long."""
    learning_rate: float = 1.5e-3
    """AdamW's, of the first and last layer, biases and norms."""
    hidden_learning_rate: float = 6e-3
    """Muon's, of the matrices between hidden layers; steps are scaled to the size of AdamW's."""
    decay_fraction: float = 0.4
    """Last part of the steps, over which the learning rate falls to zero."""
    weight_decay: float = 0.01
    warmup_steps: int = 100
    ema: float = 0.998
    clip_norm: float = 1.0
    augmentation: float = 1.0
    """Strength of the pose augmentation, 0...1."""
    clean_fraction: float = 0.3
    """Sequences with ground-truth 2D; the rest passes the error model."""
    known_up_fraction: float = 0.4
    """Sequences of cameras that know which way is up, to about a degree."""
    sigma_m: tuple[float, float] = (0.004, 0.05)
    """Range of the error model's noise at the person's distance, metres."""
    side_errors: float = 0.0
    """The error model's, for every second sequence that passes it."""
    misjudged: float = 0.0
    """The error model's."""
    seed: int = 1

    def __post_init__(self) -> None:
        for name, kind in (("network", LifterConfig), ("loss", LossConfig)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                object.__setattr__(self, name, section(kind, value, name))
        object.__setattr__(self, "sigma_m", tuple(self.sigma_m))
        if self.frames % self.chunks:
            raise ValueError(f"{self.frames} frames cannot be cut into {self.chunks} chunks of one length")


class Batch(NamedTuple):
    """Tensors of B sequences of T frames: the network's input and its target."""

    rays: Tensor
    cov: Tensor
    score: Tensor
    up: Tensor
    """[B,3] against gravity, zeros where unknown."""
    target: Tensor
    """[B,T,24,3] root-relative metres."""
    ray: Tensor
    """[B,T,24,3] unit rays through the true joints."""
    reliable: Tensor

    def part(self, begin: int, end: int) -> Batch:
        """The frames from ``begin`` to ``end`` of all sequences."""
        return Batch(*(value if value is self.up else value[:, begin:end] for value in self))


def _choose(rows: np.ndarray, first: Observations, second: Observations) -> Observations:
    """``first`` where ``rows`` [B], else ``second``."""

    def pick(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(rows.reshape(-1, *([1] * (a.ndim - 1))), a, b)

    return Observations(
        pick(first.rays, second.rays),
        pick(first.cov, second.cov),
        pick(first.score, second.score),
        pick(first.reliable, second.reliable),
    )


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def make_batch(rng: np.random.Generator, clips: MocapClips, config: TrainConfig) -> Batch:
    """Sample, augment, view and observe a batch."""
    joints = augment(rng, sample_windows(rng, clips, config.batch, config.frames), config.augmentation)
    views = sample_views(rng, joints)
    mistaken = config.side_errors * (rng.random(config.batch) < 0.5)
    seen = observe(rng, views, ErrorModel(sigma_m=config.sigma_m, side_errors=mistaken, misjudged=config.misjudged))
    draw = rng.random(config.batch)
    seen = _choose(draw < config.clean_fraction, observe_clean(rng, views), seen)
    seen = _choose(draw < config.clean_fraction / 4, observe_clean(rng, views, truncate=True), seen)
    true = views.joints_m
    known = rng.random(config.batch) < config.known_up_fraction
    up = views.up + rng.normal(0.0, 0.02, views.up.shape)
    return Batch(
        _tensor(seen.rays),
        _tensor(seen.cov),
        _tensor(seen.score),
        _tensor(np.where(known[:, None], up / np.linalg.norm(up, axis=-1, keepdims=True), 0.0)),
        _tensor(true - true[..., ROOT : ROOT + 1, :]),
        _tensor(true / np.linalg.norm(true, axis=-1, keepdims=True)),
        torch.from_numpy(seen.reliable),
    )


def make_optimizers(model: Lifter, config: TrainConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan et al. 2024) for the matrices between hidden layers, AdamW for the rest.

    Orthogonal steps need less than half as many of them here, for a quarter more time each.
    """
    outer = ("enter.", "head.")
    named = [(p, p.ndim == 2 and not name.startswith(outer)) for name, p in model.named_parameters()]
    hidden = [p for p, is_hidden in named if is_hidden]
    rest = [p for p, is_hidden in named if not is_hidden]
    return (
        Muon(hidden, config.hidden_learning_rate, config.weight_decay),
        torch.optim.AdamW(rest, config.learning_rate, weight_decay=config.weight_decay),
    )


def rate_at(step: int, config: TrainConfig) -> float:
    """Of the learning rates, 0...1: linear warm-up, constant, then a linear way to zero over the last part.

    A run on a busy machine can thus be stopped and resumed with other ``steps``: only the last part depends on them.
    """
    rising = (step + 1) / config.warmup_steps
    falling = (config.steps - step) / (config.decay_fraction * config.steps)
    return max(min(rising, falling, 1.0), 0.0)


def begin_from(model: Lifter, file: Path) -> None:
    """Load the averaged weights of a checkpoint, or those of an exported network. Raises ValueError when the networks
    differ."""
    exported = file.suffix == ".onnx"
    weights = read_weights(file, _EXPORTED) if exported else torch.load(file, weights_only=True)["model"]
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{file} holds another network: {error}") from error


class Ema:
    """Exponential moving average of the weights, with a warm-up so that it forgets the start."""

    def __init__(self, model: Lifter, decay: float) -> None:
        self.model = Lifter(model.config)
        self.model.load_state_dict(model.state_dict())
        self.model.eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Lifter, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        for mine, new in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(new, 1 - decay)


@torch.no_grad()
def validate(model: Lifter, batch: Batch) -> dict[str, float]:
    """MPJPE, PA-MPJPE (mm) and acceleration error (mm/frame²) over the mocap's 20 joints, root included.

    As shipped: the network looks both ways.
    """
    joints, _ = LifterGraph(model).forward_sequence(batch.rays, batch.cov, batch.score, batch.up)
    predicted = joints[:, :, MOCAP_JOINTS].numpy()
    target = batch.target[:, :, MOCAP_JOINTS].numpy()
    figures = {"mpjpe": mpjpe(predicted, target), "pa_mpjpe": pa_mpjpe(predicted, target)}
    if batch.rays.shape[1] > 2:
        figures["acceleration"] = acceleration_error(predicted, target)
    return {name: round(1e3 * value, 2) for name, value in figures.items()}


@torch.no_grad()
def calibrate(model: Lifter, batches: list[Batch], seed: int = 0) -> None:
    """Set ``sigma_scale`` so that per joint 68.3 % of the one-axis errors lie within one sigma, on held-out people.

    The people are given statures spread as adults are, since that spread is part of the sigma. The factor is found by
    bisection, as the size's part of sigma is not scaled.
    """
    generator = torch.Generator().manual_seed(seed)
    graph = LifterGraph(model)
    joints, scales, errors = [], [], []
    for batch in batches:
        predicted, scale = graph.forward_sequence(batch.rays, batch.cov, batch.score, batch.up)
        size = 1 + STATURE_SD * torch.randn(len(predicted), 1, 1, 1, generator=generator)
        joints.append(predicted.flatten(0, 1))
        scales.append(scale.flatten(0, 1))
        errors.append((predicted - size * batch.target).abs().flatten(0, 1))
    joint, scale, error = torch.cat(joints), torch.cat(scales), torch.cat(errors)
    low, high = torch.full_like(model.sigma_scale, 0.05), torch.full_like(model.sigma_scale, 20.0)
    for _ in range(40):
        model.sigma_scale = (low * high).sqrt()
        covered = (error < model.sigma(joint, scale)[..., None]).float().mean((0, 2))
        low = torch.where(covered < 0.683, model.sigma_scale, low)
        high = torch.where(covered < 0.683, high, model.sigma_scale)
    model.sigma_scale[ROOT] = 0.0


class _Sequences(nn.Module):
    """A lifter that is called for sequences; what several processes share their gradients of."""

    def __init__(self, lifter: Lifter) -> None:
        super().__init__()
        self.lifter = lifter
        self._half = multiplies_in_half(torch.device("cpu"))

    def forward(self, batch: Batch, state: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As `Lifter.forward_sequence`, in half precision where that is quicker."""
        return self.lifter.forward_sequence(batch.rays, batch.cov, batch.score, batch.up, state, half=self._half)


class Trainer:
    """One run: the network, its average, the optimizers, and what is needed to go on after an interruption."""

    def __init__(self, config: TrainConfig, data: Path, output: Path, init: Path | None = None) -> None:
        self.config, self.output = config, output
        output.mkdir(parents=True, exist_ok=True)
        self.clips, self.held_out = load_mocap(data, "train"), load_mocap(data, "val")
        torch.manual_seed(config.seed)
        self.model = Lifter(config.network)
        if init is not None:
            begin_from(self.model, init)
        self.ema = Ema(self.model, config.ema)
        self.optimizers = make_optimizers(self.model, config)
        self.step = 0
        self._batch: Batch | None = None
        self._state: Tensor | None = None
        if (output / CHECKPOINT).exists():
            self._resume(output / CHECKPOINT)
        self._processes = join()
        self._together = self._processes.together(_Sequences(self.model))
        fixed = TrainConfig(batch=48, frames=max(config.frames, 3), augmentation=0.0, known_up_fraction=0.0)
        mistaken = replace(fixed, side_errors=config.side_errors, misjudged=config.misjudged)
        self._mixed = replace(mistaken, clean_fraction=0.25, sigma_m=(0.01, 0.05))
        clean, noisy = (
            replace(fixed, clean_fraction=1.0),
            replace(fixed, clean_fraction=0.0, sigma_m=ErrorModel().sigma_m),
        )
        self._checks = {
            name: make_batch(np.random.default_rng(7), self.held_out, c)
            for name, c in (("clean", clean), ("noisy", noisy))
        }

    def _resume(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        if saved["network"] != self.config.network.as_dict():
            raise ValueError(f"{path} holds another network {saved['network']}: choose another --output")
        self.model.load_state_dict(saved["raw"])
        self.ema.model.load_state_dict(saved["model"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.step = saved["step"]
        LOG.info("resuming at step %d of %d", self.step, self.config.steps)

    def save(self) -> None:
        """Write the checkpoint beside, then move it: a run that dies while writing keeps its last one."""
        values = {"network": self.config.network.as_dict(), "config": asdict(self.config), "step": self.step}
        values |= {"raw": self.model.state_dict(), "model": self.ema.model.state_dict()}
        values |= {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}
        beside = self.output / "checkpoint.tmp"
        torch.save(values, beside)
        beside.replace(self.output / CHECKPOINT)

    def take_step(self) -> float:
        """One step; returns the loss. The batch depends on the step: a resumed run sees what others do, but for the
        memory of a batch that it was in the middle of."""
        number, part = divmod(self.step, self.config.chunks)
        if self._batch is None or part == 0:
            rng = np.random.default_rng((self.config.seed, number, self._processes.rank))
            self._batch, self._state = make_batch(rng, self.clips, self.config), None
        frames = self.config.frames // self.config.chunks
        batch = self._batch.part(part * frames, (part + 1) * frames)
        predicted, scale, state = self._together(batch, self._state)
        self._state = state.detach()
        loss = lifting_loss(predicted, scale, batch.target, batch.ray, batch.reliable, self.config.loss)
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        rate = rate_at(self.step, self.config)
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * rate
            optimizer.step()
        self.ema.update(self.model, self.step)
        self.step += 1
        return loss.item()

    def train(self) -> Lifter:
        """To the configured number of steps; returns the averaged network. The first process measures, logs, calibrates
        and saves."""
        started = saved = time.monotonic()
        first = self._processes.rank == 0
        losses: list[float] = []
        self.model.train()
        while self.step < self.config.steps:
            losses.append(self.take_step())
            last = self.step == self.config.steps
            if first and (self.step % 100 == 0 or last):
                seconds = round(time.monotonic() - started, 1)
                row: dict[str, Any] = {"step": self.step, "loss": round(float(np.mean(losses)), 4), "seconds": seconds}
                losses = []
                if self.step % 500 == 0 or last:
                    row |= {name: validate(self.ema.model, batch) for name, batch in self._checks.items()}
                LOG.info(json.dumps(row))
                with (self.output / "log.jsonl").open("a") as log:
                    log.write(json.dumps(row) + "\n")
            if first and time.monotonic() - saved > 60:
                self.save()
                saved = time.monotonic()
        if first:
            rng = np.random.default_rng(11)
            batches = [make_batch(rng, self.held_out, self._mixed) for _ in range(_CALIBRATION_BATCHES)]
            calibrate(self.ema.model, batches)
            self.save()
        return self.ema.model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d train lifter``."""
    parser.add_argument("--config", type=Path, required=True, help="YAML configuration of the run")
    parser.add_argument("--data", type=Path, required=True, help="data folder that holds mocap/cmu_joints.npz")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of checkpoint and log; resumed when it exists"
    )
    parser.add_argument("--init", type=Path, help="checkpoint or exported network whose weights to start from")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say."""
    torch.set_num_threads(args.threads)
    Trainer(read_config(TrainConfig, args.config), args.data, args.output, args.init).train()
    return 0
