"""Training in several processes, on several cores, GPUs or machines; notebook 2 then finds the run
finished and shows it.

    torchrun --nproc-per-node 2 -m lib.commands.train NAME --source sprites --preset fast --seed 0

Every process calls `lib.method.training.fit`, which shares each batch among them; `./run_all.sh
--processes N` starts this. The processes of a CPU talk through gloo, those of CUDA through nccl,
one GPU each. Started without torchrun it is one process.
"""

import argparse
import json
import os

from torch import distributed

from lib.config import PRESETS, make_hparams
from lib.data.sprites import SOURCES, load_sprites, split_by_identity
from lib.evaluation.swaps import swap_monitor, validation_swaps
from lib.method.parallel import join_processes
from lib.method.runs import new_run
from lib.method.training import fit
from lib.system.errors import cli_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lib.commands.train", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--source", choices=SOURCES, required=True)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("run", help="the name of the run: its folder under reports/")
    parser.add_argument(
        "--overrides", type=json.loads, default={}, metavar="JSON", help="hyper-parameters by name"
    )
    options = parser.parse_args()
    with cli_errors("lib.commands.train", speaks=os.environ.get("RANK", "0") == "0"):
        try:
            hp = make_hparams(options.preset, **options.overrides)
            device = join_processes()
            sprites = load_sprites(options.source)
            splits = split_by_identity(sprites, options.seed)
            run = new_run(options.run, sprites, options.preset, options.seed, hp)
            monitor = swap_monitor(
                sprites, validation_swaps(sprites, splits["validation"], options.seed)
            )
            fit(run, sprites, splits["train"], device, monitor)
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()


if __name__ == "__main__":
    main()
