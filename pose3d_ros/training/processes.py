"""Training on several GPUs or hosts: one process each, as `torchrun` starts them."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Processes:
    """This process among all that train together.

    rank: 0...count - 1; process 0 measures, logs and saves. device: what it computes on.
    """

    rank: int
    count: int
    device: torch.device

    def together(self, net: nn.Module) -> nn.Module:
        """The network as it is to be called in training: gradients are the mean over all processes."""
        return net if self.count == 1 else nn.parallel.DistributedDataParallel(net)


def join() -> Processes:
    """Finds the other processes by what torchrun says in the environment; alone without it."""
    count, cuda = int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.is_available()
    if count == 1:
        return Processes(0, 1, torch.device("cuda" if cuda else "cpu"))
    if not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        atexit.register(distributed.destroy_process_group)  # its threads would end a finished training with an abort
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    return Processes(distributed.get_rank(), count, device)
