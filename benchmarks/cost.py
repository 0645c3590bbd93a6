"""What training costs, and how that grows: with the images, their size, the sizes of z and s, and
the batch.

    .venv/bin/python -m benchmarks.cost --json cost.json --figure cost.png

One setting at a time departs from preset `fast`. Each is measured in a process of its own, so that
the peak of its memory is its own. Training steps are timed in turns, several times, and medians
count; the first turn also times, once, what takes long by itself: the search for matches and the
encoding of all images. Larger images are the sprites with every pixel repeated.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import torch

from benchmarks.speed import CPU, WARM_UP, our_steps, seconds_a_step
from lib.config import make_hparams
from lib.data.sources import create_sprites
from lib.data.sprites import N_POSES, SIZE, SOURCES
from lib.method.matching import find_matches
from lib.method.networks import CycleVAE, dense_decoder, encode_images, folded_encoder
from lib.report.figures import cost_figure, write_figure
from lib.system.errors import cli_errors
from lib.system.files import write_json
from lib.system.processes import end_with_parent

FAST = make_hparams("fast")
BASE = {
    "images": 90 * N_POSES,
    "size": SIZE,
    "z_dim": FAST.z_dim,
    "s_dim": FAST.s_dim,
    "batch_images": FAST.batch_images,
}
VARIED = {
    "images": (
        6 * N_POSES,
        24 * N_POSES,
        240 * N_POSES,
        672 * N_POSES,
    ),  # the last is the whole of 2D Sprites
    "size": (2 * SIZE,),
    "z_dim": (32, 128, 512),
    "s_dim": (16, 256),
    "batch_images": (16, 256),
}


def settings() -> list[dict[str, int]]:
    """The settings to measure, in the order of the table: preset `fast`, and with one of them
    changed at a time.
    """
    return [BASE, *({**BASE, name: value} for name, values in VARIED.items() for value in values)]


def write_images(sprites: np.ndarray, n: int, size: int, path: Path) -> None:
    """n images of size x size pixels, the sprites (N, 60, 60, 3) over and over, as bytes."""
    scale = size // SIZE
    with path.open("wb") as file:
        for start in range(0, n, N_POSES):
            some = sprites[np.arange(start, start + N_POSES) % len(sprites)]
            file.write(some.repeat(scale, axis=1).repeat(scale, axis=2).tobytes())


def cost(path: Path, setting: dict[str, int], seconds: float, whole: bool) -> dict[str, float]:
    """What one setting takes in this process: `seconds` of training steps; `whole`, also a search
    for matches and an encoding.

    Only with those two is the peak of its memory that of a run, so only then is it given.
    """
    n, size = setting["images"], setting["size"]
    hp = make_hparams(
        "fast", **{name: value for name, value in setting.items() if name not in ("images", "size")}
    )
    images = np.fromfile(path, dtype=np.uint8, count=n * size * size * 3).reshape(n, size, size, 3)
    valid = torch.ones(n // N_POSES, N_POSES, dtype=torch.bool)
    torch.manual_seed(0)
    model = CycleVAE(hp)
    model.encoder, model.decoder = folded_encoder(hp, size), dense_decoder(hp, size)
    steps = our_steps(model, images, valid, hp, CPU)
    taken = {"seconds_a_pair": 2 * seconds_a_step(steps, seconds, WARM_UP) / hp.batch_images}
    if whole:
        started = time.perf_counter()
        find_matches(model, images, valid, hp, seed=0)
        matched = time.perf_counter()
        encode_images(model, images)
        taken |= {
            "match_seconds": matched - started,
            "encode_seconds": time.perf_counter() - matched,
        }
        taken["peak_bytes"] = getrusage(RUSAGE_SELF).ru_maxrss * (
            1 if sys.platform == "darwin" else 1024
        )
    return taken


def measure(
    sprites: np.ndarray, turns: int, seconds: float, say: Callable[[str], None] = print
) -> dict:
    """The cost of every setting: of a training pair the median over `turns`, in each of which all
    are timed, and the rest once.
    """
    points = settings()
    taken: list[list[dict[str, float]]] = [[] for _ in points]
    with tempfile.TemporaryDirectory(prefix="cycle-vae-cost-") as folder:
        paths = {}
        for size in {point["size"] for point in points}:
            paths[size] = Path(folder) / str(size)
            write_images(
                sprites, max(p["images"] for p in points if p["size"] == size), size, paths[size]
            )
        for turn in range(turns):
            # a fresh process for each, started anew, not forked: nothing of this one counts as its
            # memory
            with ProcessPoolExecutor(
                1, get_context("spawn"), end_with_parent, max_tasks_per_child=1
            ) as pool:
                for point, costs in zip(points, taken, strict=True):
                    costs.append(
                        pool.submit(cost, paths[point["size"]], point, seconds, turn == 0).result()
                    )
            say(f"turn {turn + 1} of {turns}")
    rows = [
        {
            **point,
            **costs[0],
            "seconds_a_pair": statistics.median(c["seconds_a_pair"] for c in costs),
        }
        for point, costs in zip(points, taken, strict=True)
    ]
    return {
        "threads": torch.get_num_threads(),
        "turns": turns,
        "seconds_a_turn": seconds,
        "points": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--source", choices=SOURCES, default="drawn")
    parser.add_argument(
        "--turns",
        type=int,
        default=3,
        help="timings of each setting's training (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="training steps in each (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the numbers there")
    parser.add_argument("--figure", type=Path, metavar="PATH", help="also draw them")
    options = parser.parse_args()
    result = measure(create_sprites(options.source).images, options.turns, options.seconds)
    print(*(f"{name:>12}" for name in (*BASE, "ms a pair", "match, s", "encode, s", "peak, GiB")))
    for point in result["points"]:
        shown = (
            1e3 * point["seconds_a_pair"],
            point["match_seconds"],
            point["encode_seconds"],
            point["peak_bytes"] / 2**30,
        )
        print(*(f"{point[name]:12}" for name in BASE), *(f"{value:12.2f}" for value in shown))
    if options.json:
        write_json(options.json, result)
    if options.figure:
        write_figure(options.figure, cost_figure(result["points"]))


if __name__ == "__main__":
    with cli_errors("benchmarks.cost"):
        main()
