"""The device that computes."""

import os

import torch

from lib.system.errors import UserError


def choose_device(name: str | None = None) -> torch.device:
    """`name`, else the environment's CYCLE_VAE_DEVICE, else the first of cuda, mps, cpu that is
    here. Raises `UserError`.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    name = (
        name
        or os.environ.get("CYCLE_VAE_DEVICE")
        or next(kind for kind, here in present.items() if here)
    )
    if name not in present:
        raise UserError(f"there is no device '{name}': choose one of {', '.join(present)}")
    if not present[name]:
        raise UserError(
            f"device {name} is not available on this machine: choose"
            f" {' or '.join(k for k, here in present.items() if here)}"
        )
    return torch.device(name)
