"""The loop that every image network is trained by: schedule, running mean of the weights, checkpoint, log."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pose3d_ros.networks.low_rank import take_ranks
from pose3d_ros.networks.onnx_file import read_weights
from pose3d_ros.networks.widen import fits_in, widen
from pose3d_ros.training.muon import Muon
from pose3d_ros.training.processes import join

_SEEDS_APART = 1_000_003
_COLOURS = 3
_SAVE_EVERY_S = 300.0
_OUTPUTS = ("heads.", "centre.", "box.")
_LEVEL = "pyramid.lateral."


@dataclass(frozen=True)
class Schedule:
    """How long and how fast."""

    samples: int = 230_000
    batch: int = 32
    """Samples of a step, in each process."""
    learning_rate: float = 2e-3
    """AdamW's."""
    hidden_learning_rate: float = 0.0
    """Muon's, of the convolutions between the first and the heads; 0: AdamW has them, too."""
    weight_decay: float = 0.02
    warmup_samples: int = 6_000
    final_rate: float = 0.0
    """Learning rate at the end over that at the start; 1 keeps it constant."""
    ema_decay: float = 0.998
    evaluate_every: int = 20_000
    seed: int = 0

    def rate(self, samples: int) -> float:
        """Learning rate over `learning_rate` after so many samples: warm-up, then half a cosine."""
        if samples < self.warmup_samples:
            return (samples + self.batch) / self.warmup_samples
        progress = (samples - self.warmup_samples) / max(self.samples - self.warmup_samples, 1)
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + float(np.cos(np.pi * min(progress, 1.0))))


class Trainer:
    """A network on its device, the running mean of its weights, the optimiser, and their checkpoint.

    folder: where checkpoint.pt and log.csv live; a checkpoint found there is resumed.
    init: a checkpoint or exported network to take weights from, of this network's width or a smaller one.
    """

    def __init__(self, net: nn.Module, schedule: Schedule, folder: Path, init: Path | None) -> None:
        self.schedule, self.folder = schedule, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = join()
        self.device = self.processes.device
        self._checkpoint = folder / "checkpoint.pt"
        begun = torch.load(self._checkpoint, self.device, weights_only=True) if self._checkpoint.exists() else None
        weights = begun["ema"] if begun else _weights(init) if init else {}
        take_ranks(net, weights)
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimisers = make_optimisers(self.net, schedule)
        self.samples, self.seconds = 0, 0.0
        if init is not None and begun is None:
            _take_weights(self.net, weights, init)
        mean = torch.optim.swa_utils.get_ema_multi_avg_fn(schedule.ema_decay)
        self.ema = torch.optim.swa_utils.AveragedModel(self.net, multi_avg_fn=mean, use_buffers=True)
        if begun is not None:
            self._resume(begun)
        self._together = self.processes.together(self.net)

    @property
    def stream_seed(self) -> int:
        """For a stream of samples: another one in each process, and after each interruption."""
        return self.schedule.seed + self.samples + _SEEDS_APART * self.processes.rank

    def train(
        self,
        batches: Iterator[Any],
        loss_of: Callable[[nn.Module, Any], Tensor],
        evaluate: Callable[[nn.Module], dict[str, float]],
    ) -> None:
        """Takes batches until schedule.samples; evaluates the mean network every evaluate_every samples.

        Saves then, and every some minutes: an interruption costs no more than those.
        """
        schedule = self.schedule
        losses: list[float] = []
        due = (self.samples // schedule.evaluate_every + 1) * schedule.evaluate_every
        leads, together = self.processes.rank == 0, schedule.batch * self.processes.count
        saved = self.seconds
        with tqdm(total=schedule.samples, initial=self.samples, unit="sample", disable=None if leads else True) as bar:
            while self.samples < schedule.samples:
                started = time.monotonic()
                batch = [tensor.to(self.device, non_blocking=True) for tensor in next(batches)]
                losses.append(self._step(loss_of, batch))
                self.samples += together
                self.seconds += time.monotonic() - started
                bar.update(together)
                evaluates = self.samples >= min(due, schedule.samples)
                if evaluates and leads:
                    self._log({"loss": float(np.mean(losses)), **evaluate(self.ema.module.eval())})
                    self.ema.module.train()
                if evaluates:
                    losses.clear()
                    due += schedule.evaluate_every
                if leads and (evaluates or self.seconds - saved > _SAVE_EVERY_S):
                    self._save()
                    saved = self.seconds

    def _step(self, loss_of: Callable[[nn.Module, Any], Tensor], batch: list[Tensor]) -> float:
        loss = loss_of(self._together, batch)
        self.net.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        rate = self.schedule.rate(self.samples)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = optimiser.defaults["lr"] * rate
            optimiser.step()
        self.ema.update_parameters(self.net)
        return float(loss.detach())

    def _log(self, figures: dict[str, float]) -> None:
        row = {"samples": self.samples, "minutes": round(self.seconds / 60, 2)}
        row |= {name: round(value, 4) for name, value in figures.items()}
        print(json.dumps(row), flush=True)
        log = self.folder / "log.csv"
        new = not log.exists()
        with log.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def _save(self) -> None:
        state = {
            "config": asdict(self.schedule),
            "samples": self.samples,
            "seconds": self.seconds,
            "net": self.net.state_dict(),
            "ema": self.ema.module.state_dict(),
            "ema_count": self.ema.n_averaged,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def _resume(self, state: Mapping[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.ema.module.load_state_dict(state["ema"])
        self.ema.n_averaged.copy_(state["ema_count"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.samples, self.seconds = state["samples"], state["seconds"]
        print(f"resumed {self._checkpoint} at {self.samples} samples", flush=True)


def _weights(file: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint (the mean ones) or of an exported .onnx, by their names in the network."""
    if file.suffix == ".onnx":
        return read_weights(file, "net.")
    return torch.load(file, map_location="cpu", weights_only=True)["ema"]


def _take_weights(net: nn.Module, found: dict[str, Tensor], file: Path) -> None:
    """Copies the weights found in a file of the same names.

    Those of a narrower network are widened. Raises ValueError when none can be taken, or one is larger than its place:
    a training that began without it would begin from nothing.
    """
    own = net.state_dict()
    known = {name: value for name, value in found.items() if name in own}
    if sum(name.startswith(_LEVEL) for name in found) != sum(name.startswith(_LEVEL) for name in own):
        # Of another pyramid, whose levels have other strides under the same names.
        known = {name: value for name, value in known.items() if not name.startswith("pyramid.")}
    if next(iter(own)) not in known:
        raise ValueError(f"{file} has no weights to go on from: it is of another kind of network, or in 8 bits")
    for name, value in known.items():
        if not fits_in(value.shape, own[name].shape):
            raise ValueError(
                f"{file} is a wider network, its {name} {list(value.shape)}, this one's {list(own[name].shape)}: "
                "give the configuration the width and head_width of that network"
            )
    taken = {name: widen(value, own[name]) for name, value in known.items()}
    net.load_state_dict(taken, strict=False)
    print(f"{len(taken)} of {len(own)} tensors from {file}", flush=True)


def make_optimisers(net: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the hidden convolutions where the schedule has a rate for them.

    Matrices decay; biases and normalisation do not.
    """
    with_muon = schedule.hidden_learning_rate > 0
    named = [(p, with_muon and _is_hidden(name, p)) for name, p in net.named_parameters()]
    hidden = [p for p, is_hidden in named if is_hidden]
    rest = [p for p, is_hidden in named if not is_hidden]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.99), fused=True)
    ]
    if hidden:
        found.append(Muon(hidden, schedule.hidden_learning_rate, schedule.weight_decay))
    return found


def _is_hidden(name: str, weights: Tensor) -> bool:
    """Whether these are a convolution's that neither sees the picture nor says what is found."""
    return weights.ndim == 4 and weights.shape[1] > _COLOURS and not name.startswith(_OUTPUTS)
