"""Training in several processes, which share each batch: on several cores, GPUs or machines."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lib.config import HParams, check_processes
from lib.method.networks import CycleVAE
from lib.system.devices import choose_device
from lib.system.errors import UserError

TORCHRUN_VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# Of one process for the others. The first of them also measures the model.
LONGEST_WAIT = timedelta(minutes=10)


class Share(NamedTuple):
    """The part of each batch that this process trains on."""

    rank: int = 0  # its number, from 0
    world: int = 1  # how many parts there are


class Objective(nn.Module):
    """Calls a loss with the model: the forward pass that DistributedDataParallel sees."""

    def __init__(self, model: CycleVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, loss: Callable, *arguments: object) -> object:
        return loss(self.model, *arguments)


def make_objective(model: CycleVAE, device: torch.device, world: int) -> nn.Module:
    """The `Objective` of this process; on CUDA with TF32."""
    objective = Objective(model)
    if world > 1:  # the reverse cycle uses half of the parameters; buffers are equal and stay so
        objective = DistributedDataParallel(
            objective, find_unused_parameters=True, broadcast_buffers=False
        )
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return objective


def join_processes() -> torch.device:
    """Join the processes that torchrun started with this one, if any; returns its device.

    The processes of a CPU talk through gloo, those of CUDA through nccl, one GPU each.

    Raises: UserError where the device cannot serve so many processes.
    """
    device = choose_device()
    if "WORLD_SIZE" not in os.environ:
        return device
    if missing := [name for name in TORCHRUN_VARIABLES if name not in os.environ]:
        raise UserError(
            f"WORLD_SIZE is set, but not {' and '.join(missing)}: unset it, or start with torchrun"
        )
    if device.type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["WORLD_SIZE"])))
    if device.type == "mps":
        raise UserError("mps supports only one process: leave out --processes, or set --device cpu")
    if device.type == "cuda":
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise UserError(
                f"there are {gpus} GPUs: ask for that many processes, or set --device cpu"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    return device


def batch_share(hp: HParams) -> Share:
    """The share of this process; the whole batch where it is alone.

    Raises: UserError where the batch cannot be shared.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return Share()
    world = distributed.get_world_size()
    check_processes(world, hp)
    return Share(distributed.get_rank(), world)


def mean_over_processes(values: Tensor, world: int) -> Tensor:
    """The mean of a tensor over all processes."""
    if world > 1:
        distributed.all_reduce(values)
    return values / world
