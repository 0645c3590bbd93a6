"""Training in several processes that share each batch."""

import os
from collections.abc import Callable

import torch
from torch import distributed, nn

from lib.config import HParams
from lib.method.networks import CycleVAE
from lib.system.devices import choose_device
from lib.system.errors import UserError


def join_processes() -> torch.device:
    """This process's device, after it has joined the others that torchrun started with it, if any.
    Raises `UserError`.
    """
    device = choose_device()
    if "WORLD_SIZE" not in os.environ:
        return device
    if device.type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["WORLD_SIZE"])))
    if device.type == "mps":
        raise UserError("mps serves one process: leave out --processes, or set --device cpu")
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UserError(
                f"there are {torch.cuda.device_count()} GPUs: ask for that many processes, or set"
                " --device cpu"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


class Objective(nn.Module):
    """A loss as the forward pass of a module, which is what DistributedDataParallel and autocast
    take hold of.

    On cuda it computes in bfloat16 where that is safe; CPUs without instructions for it would only
    be slower.
    """

    def __init__(self, model: CycleVAE, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    def forward(self, loss: Callable, *arguments: object) -> object:
        with self.autocast:
            return loss(self.model, *arguments)


def shares(hp: HParams) -> tuple[int, int]:
    """(which share of every batch this process trains on, number of shares): (0, 1) without
    torch.distributed.

    Raises `UserError` where the batch cannot be shared: the groups of a share are taken two by two.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    world = distributed.get_world_size()
    whole = 2 * world * hp.group_size
    if hp.batch_images % whole:
        raise UserError(
            f"{world} processes cannot share batch_images {hp.batch_images}: set it to a multiple"
            f" of {whole}"
        )
    return distributed.get_rank(), world
