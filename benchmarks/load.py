"""Measure how much of its rate a training keeps while another process is busy.

    .venv/bin/python -m benchmarks.load --json benchmarks/load.json

OpenMP's threads share each operation and then wait for the slowest of them. While they wait they
spin, which keeps the core from a thread that has work. Each way to wait takes its turn, with the
machine else quiet and beside a process that keeps one core busy; medians count. The settings are
those of GNU OpenMP, which torch uses on Linux.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.speed import CPU, WARM_UP, our_steps, seconds_a_step
from lib.config import make_hparams
from lib.data.drawn import character_labels, draw_characters
from lib.data.sprites import N_POSES
from lib.method.networks import CycleVAE
from lib.report.numbers import count as counted
from lib.report.numbers import percent
from lib.report.results import origin
from lib.system.arguments import Parser
from lib.system.errors import UserError, cli_errors
from lib.system.files import write_json

WAYS = {  # settings of OpenMP
    "as the library comes": {},
    "spin 10,000 times": {"GOMP_SPINCOUNT": "10000"},
    "spin 1,000 times": {"GOMP_SPINCOUNT": "1000"},
    "sleep at once": {"GOMP_SPINCOUNT": "0"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
CHOSEN = "spin 1,000 times"  # by lib/system/environment.sh
SETTINGS = ("GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
CHARACTERS = 8  # to train on; few, because every timed process finds principal components
VERSION = 2  # see `lib.report.results.VERSION`


def training_rates(seconds: float) -> dict[str, float]:
    """Pairs a second of preset `fast` in this process, quiet and beside a busy process."""
    hp = make_hparams("fast")
    images = draw_characters(character_labels()[:CHARACTERS])
    members = torch.arange(CHARACTERS * N_POSES).view(-1, N_POSES)
    torch.manual_seed(0)
    steps = our_steps(CycleVAE(hp), images, members, hp, CPU)

    def rate() -> float:
        return hp.batch_images / 2 / seconds_a_step(steps, seconds, WARM_UP)

    quiet = rate()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return {"quiet": quiet, "busy": rate()}
    finally:
        busy.kill()
        busy.wait()


def rates_in_process(way: str, seconds: float) -> dict[str, float]:
    """`training_rates` of a process that waits in this way."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-P", "-m", "benchmarks.load", "--rates", str(seconds)]
    ended = subprocess.run(command, env=kept | WAYS[way], capture_output=True, text=True)
    if ended.returncode:
        raise UserError(f"a timed process failed: {ended.stderr.strip()[-300:]}")
    return json.loads(ended.stdout)


def measure(turns: int, seconds: float, say: Callable[[str], None] = print) -> dict:
    """Pairs a second for each way: medians over the turns, quiet and beside a busy process."""
    rates: dict[str, dict[str, list[float]]] = {way: {"quiet": [], "busy": []} for way in WAYS}
    for turn in range(turns):
        for way, measured in rates.items():
            for kind, rate in rates_in_process(way, seconds).items():
                measured[kind].append(rate)
        say(f"turn {turn + 1} of {turns}")
    rows = {
        way: {kind: statistics.median(each) for kind, each in measured.items()}
        for way, measured in rates.items()
    }
    return {"ways": rows, "cores": os.cpu_count(), "turns": turns, "seconds_a_turn": seconds}


def shares(result: dict) -> dict[str, tuple[float, float]]:
    """{way: (quiet, busy)} as shares of the best rate on the quiet machine."""
    best = max(row["quiet"] for row in result["ways"].values())
    return {way: (row["quiet"] / best, row["busy"] / best) for way, row in result["ways"].items()}


def load_finding(result: dict) -> list[str]:
    """What the chosen way keeps, beside what OpenMP does by itself."""
    found = shares(result)
    text = []
    for way in (CHOSEN, "as the library comes"):
        quiet, busy = found[way]
        text.append(
            f"With the setting \u201c{way}\u201d, a training on {result['cores']} cores has"
            f" {percent(quiet)} % of the best rate when nothing else runs, and {percent(busy)} %"
            " beside one busy process."
        )
    return text


def load_table(result: dict) -> dict:
    found = shares(result)
    rows = [
        [way, counted(row["quiet"]), counted(row["busy"]), *map(percent, found[way])]
        for way, row in result["ways"].items()
    ]
    return {
        "caption": "Rate of a training, by what its threads do while they wait.",
        "head": ["", "quiet, pairs/s", "busy, pairs/s", "quiet, % of best", "busy, % of best"],
        "rows": rows,
    }


def describe(result: dict) -> dict:
    """The content of the JSON file: the numbers, and what the report shows of them."""
    return {**result, "finding": load_finding(result), "tables": [load_table(result)]}


def main() -> None:
    parser = Parser("python -m benchmarks.load", __doc__)
    add = parser.add_argument
    add("--turns", type=int, default=3, help="turns of each way (default: %(default)s)")
    add("--seconds", type=float, default=6.0, help="length of a turn (default: %(default)s)")
    add("--json", type=Path, metavar="PATH", help="also write the numbers there")
    add("--rates", type=float, metavar="SECONDS", help="only print the rates of this process")
    options = parser.parse_args()
    if options.rates:
        print(json.dumps(training_rates(options.rates)))
        return
    result = describe(measure(options.turns, options.seconds))
    for cells in (result["tables"][0]["head"], *result["tables"][0]["rows"]):
        print(*(f"{cell:>21}" for cell in cells))
    if options.json:
        write_json(options.json, {**result, "code": origin(VERSION)})


if __name__ == "__main__":
    with cli_errors("benchmarks.load"):
        main()
