"""One of several processes that train a lifter together; started by torchrun: mocap file and folder of the run."""

import sys
from pathlib import Path

import torch

from pose3d_ros.networks.lifter import LifterConfig
from pose3d_ros.training.train_lifter import TrainConfig, Trainer

CONFIG = TrainConfig(network=LifterConfig(width=16), steps=2, batch=4, frames=4, warmup_steps=1, clip_norm=1e9)


def gradients(trainer: Trainer) -> list[torch.Tensor]:
    """Of a step."""
    trainer.take_step()
    return [p.grad for p in trainer.model.parameters()]


def main() -> None:
    mocap, folder = map(Path, sys.argv[1:])
    trainer = Trainer(CONFIG, mocap, folder)
    torch.save(gradients(trainer), folder / f"gradients_{torch.distributed.get_rank()}.pt")
    trainer.train()


if __name__ == "__main__":
    main()
