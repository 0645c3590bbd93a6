"""Training in several processes, on several cores, GPUs or machines; notebook 2 then finds the run finished and shows it.

    torchrun --nproc-per-node 2 -m lib.launch NAME --source sprites --preset fast --seed 0

Every process calls `lib.train.fit`, which shares each batch among them; `./run_all.sh --processes N` starts this. The
processes of a CPU talk through gloo, those of CUDA through nccl, one GPU each. Started without torchrun it is one process.
"""

import argparse
import json
import os

import torch
from torch import distributed

from lib.command import command
from lib.config import PRESETS, UserError, make_hparams
from lib.evaluate import swap_monitor, watched_swaps
from lib.sprites import SOURCES, load_sprites, split_by_identity
from lib.train import choose_device, fit, new_run


def join_processes() -> torch.device:
    """This process's device, after it has joined the others that torchrun started with it, if any. Raises `UserError`."""
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
            raise UserError(f"there are {torch.cuda.device_count()} GPUs: ask for that many processes, or set --device cpu")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lib.launch", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--source", choices=SOURCES, required=True)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("run", help="the name of the run: its folder under reports/")
    parser.add_argument("--overrides", type=json.loads, default={}, metavar="JSON", help="hyper-parameters by name")
    options = parser.parse_args()
    with command("lib.launch", speaks=os.environ.get("RANK", "0") == "0"):
        try:
            hp = make_hparams(options.preset, **options.overrides)
            device = join_processes()
            sprites = load_sprites(options.source)
            splits = split_by_identity(sprites, options.seed)
            run = new_run(options.run, sprites, options.preset, options.seed, hp)
            monitor = swap_monitor(sprites, watched_swaps(sprites, splits["validation"], options.seed))
            fit(run, sprites, splits["train"], device, monitor)
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()


if __name__ == "__main__":
    main()
