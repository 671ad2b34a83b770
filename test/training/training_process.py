"""One of several processes that train together; started by torchrun: folder of the run."""

import sys
from pathlib import Path

import torch
from test_trainer import TOGETHER, loss_of, net

from pose3d_ros.training.trainer import Schedule, Trainer


def main():
    trainer = Trainer(net(), Schedule(samples=48, **TOGETHER), Path(sys.argv[1]), None)
    generator = torch.Generator().manual_seed(trainer.processes.rank)

    def batches():
        while True:
            x = torch.randn(8, 3, 4, 4, generator=generator)
            yield [x, x.sum((1, 2, 3))]

    trainer.train(batches(), loss_of, lambda _: {"figure": 1.0})


if __name__ == "__main__":
    main()
