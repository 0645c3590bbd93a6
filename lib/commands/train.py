"""Train a run without its notebook, in one process or in several that share each batch.

    python -m lib.commands.train NAME --source sprites --processes 2
    torchrun --nproc-per-node 2 -m lib.commands.train NAME --source sprites  # several machines

Notebook 2 then finds the run finished and shows it. Notebook 1 must have made the data.
"""

import argparse
import json
import logging
import os
import socket
import sys

from torch import distributed
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from lib.config import PRESETS, check_processes, check_seed, make_hparams
from lib.data.defaults import hparams_for
from lib.data.splits import SPLITS, split_images
from lib.data.stored import load_images
from lib.evaluation.swaps import swap_monitor, validation_swaps
from lib.method.parallel import join_processes
from lib.method.runs import new_run
from lib.method.training import fit
from lib.system.arguments import Parser
from lib.system.errors import UserError, cli_errors


def main() -> None:
    parser = Parser("python -m lib.commands.train", __doc__)
    add = parser.add_argument
    add("run", help="the name of the run: its folder under reports/")
    add("--source", required=True, metavar="NAME", help="of data/NAME.npz")
    add("--preset", choices=tuple(PRESETS), default="fast")
    add("--split", choices=SPLITS, default="identity")
    add("--split-seed", type=int, default=0)
    add("--seed", type=int, default=0)
    add("--overrides", type=json.loads, default={}, metavar="JSON", help="hyper-parameters by name")
    add("--processes", type=int, default=1, metavar="N", help="default: 1")
    options = parser.parse_args()
    is_first = os.environ.get("RANK", "0") == "0"
    with cli_errors("lib.commands.train", speaks=is_first):
        if not isinstance(options.overrides, dict):
            raise UserError(f"--overrides takes a JSON object, not {options.overrides}")
        check_seed(options.seed)
        check_seed(options.split_seed, "split_seed")
        check_processes(options.processes, make_hparams(options.preset, **options.overrides))
        if options.processes > 1 and "WORLD_SIZE" not in os.environ:
            start_processes(options.processes, sys.argv[1:])
        else:
            train(options)


def train(options: argparse.Namespace) -> None:
    """The training of this process."""
    try:
        device = join_processes()
        dataset = load_images(options.source)
        split, split_seed = options.split, options.split_seed
        splits = split_images(dataset, split, split_seed)
        hp, _ = hparams_for(dataset, splits["train"], options.preset, options.overrides)
        run = new_run(options.run, dataset, options.preset, options.seed, hp, split, split_seed)
        watched = validation_swaps(dataset, splits["validation"], hp, split_seed)
        fit(run, dataset, splits["train"], device, swap_monitor(dataset, watched))
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def start_processes(processes: int, arguments: list[str]) -> None:
    """Run this command in several processes of this machine; exits with 1 where one of them fails.

    The process that fails says why, so torchrun is silent.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for name in [name for name in os.environ if name.startswith("PET_")]:
        del os.environ[name]  # options of torchrun
    # These processes are on one machine. Its name may lead nowhere, and its network may be closed.
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    os.environ["GLOO_SOCKET_IFNAME"] = loopback
    workers = ["--standalone", "--local-addr=127.0.0.1", "--rdzv-conf=join_timeout=60"]
    workers += [f"--nproc-per-node={processes}", "-m", "lib.commands.train"]
    try:
        torchrun.main([*workers, *arguments])
    except ChildFailedError:
        sys.exit(1)


if __name__ == "__main__":
    main()
