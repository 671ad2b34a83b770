"""Half precision in training, where it is quicker."""

from __future__ import annotations

import torch


def multiplies_in_half(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16; where it does not, half precision would only be slower."""
    cpu = torch.cpu.get_capabilities()  # each architecture names its own
    return bool(device.type != "cpu" or cpu.get("avx512_bf16") or cpu.get("amx_bf16"))


def half_precision(device: torch.device) -> torch.autocast:
    """Runs what it encloses in bfloat16 where the device multiplies in it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_in_half(device))
