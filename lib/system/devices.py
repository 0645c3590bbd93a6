"""The device that computes."""

import os

import torch

from lib.system.errors import UserError


def choose_device(name: str | None = None) -> torch.device:
    """The device `name`, else $CYCLE_VAE_DEVICE, else the first of cuda, mps and cpu.

    Raises: UserError for an unknown device, or for one that this machine does not have.
    """
    has_mps = torch.backends.mps.is_available()
    available = {"cuda": torch.cuda.is_available(), "mps": has_mps, "cpu": True}
    found = [kind for kind, is_available in available.items() if is_available]
    name = name or os.environ.get("CYCLE_VAE_DEVICE") or found[0]
    if name not in available:
        raise UserError(f"there is no device '{name}': choose one of {', '.join(available)}")
    if name not in found:
        raise UserError(
            f"device {name} is not available on this machine: choose {' or '.join(found)}"
        )
    return torch.device(name)


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device. The CPU does not wait until a GPU has computed what came before."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
