"""Measure how training time and memory grow with images, image size, code sizes and batch.

    .venv/bin/python -m benchmarks.cost --json benchmarks/cost.json

One setting at a time differs from preset `fast`. Each is measured in a separate process, so that
the peak of its memory counts alone. Training steps are timed in turns, several times, and the
median counts; the first turn also times, once, the matching and the encoding of all images. Larger
images are sprites with every pixel repeated. The figure (SVG) is written beside the JSON file.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.speed import CPU, WARM_UP, our_steps, seconds_a_step
from lib.config import make_hparams
from lib.data.sources import create_images
from lib.data.sprites import N_POSES, SIZE
from lib.data.stored import SPRITE_SOURCES
from lib.evaluation.codes import encode_images
from lib.method.matching import find_matches
from lib.method.networks import CycleVAE
from lib.report.figures import BLUE, VERMILION, write_figure
from lib.report.numbers import count, fixed
from lib.report.results import origin
from lib.system.arguments import Parser
from lib.system.errors import cli_errors
from lib.system.files import write_json
from lib.system.processes import end_with_parent

VERSION = 1  # see `lib.report.results.VERSION`
FAST = make_hparams("fast")
BASE = {
    "images": 90 * N_POSES,
    "size": SIZE,
    "z_dim": FAST.z_dim,
    "s_dim": FAST.s_dim,
    "batch_images": FAST.batch_images,
}
VARIED = {
    # the last is all of 2D Sprites
    "images": (6 * N_POSES, 24 * N_POSES, 240 * N_POSES, 672 * N_POSES),
    "size": (2 * SIZE,),
    "z_dim": (32, 128, 512),
    "s_dim": (16, 256),
    "batch_images": (16, 256),
}


def settings() -> list[dict[str, int]]:
    """The settings to measure: preset `fast`, then one of them changed at a time."""
    return [BASE, *({**BASE, name: value} for name, values in VARIED.items() for value in values)]


def write_images(sprites: np.ndarray, n: int, size: int, path: Path) -> None:
    """n images of size x size pixels, the sprites (N, 60, 60, 3) over and over, as bytes."""
    scale = size // SIZE
    with path.open("wb") as file:
        for start in range(0, n, N_POSES):
            some = sprites[np.arange(start, start + N_POSES) % len(sprites)]
            file.write(some.repeat(scale, axis=1).repeat(scale, axis=2).tobytes())


def cost(path: Path, setting: dict[str, int], seconds: float, complete: bool) -> dict[str, float]:
    """Measure one setting in this process, over `seconds` of training steps.

    With `complete`, also the components, the matching, the encoding and the peak memory, which is
    then that of a run.
    """
    n, size = setting["images"], setting["size"]
    hp = make_hparams(
        "fast", **{name: value for name, value in setting.items() if name not in ("images", "size")}
    )
    images = np.fromfile(path, dtype=np.uint8, count=n * size * size * 3).reshape(n, size, size, 3)
    members = torch.arange(n).view(-1, N_POSES)
    torch.manual_seed(0)
    model = CycleVAE(hp, size)
    started = time.perf_counter()
    steps = our_steps(model, images, members, hp, CPU)
    components_seconds = time.perf_counter() - started
    taken = {"seconds_a_pair": 2 * seconds_a_step(steps, seconds, WARM_UP) / hp.batch_images}
    if complete:
        started = time.perf_counter()
        find_matches(images, members, hp, seed=0)
        matched = time.perf_counter()
        encode_images(model, images)
        taken |= {
            "components_seconds": components_seconds,
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
    """The cost of every setting: median time of a pair over `turns`, all else measured once."""
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
            # spawned, not forked, so that none of this process's memory counts
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


NAMES = {
    "images": "images",
    "size": "pixels per side",
    "z_dim": "dimensions of z",
    "s_dim": "dimensions of s",
    "batch_images": "images per step",
}


def cost_finding(points: list[dict]) -> list[str]:
    """The cost of a training pair in preset `fast`, and how each setting changes it."""
    base = points[0]
    text = [
        f"In preset fast, a training pair takes {fixed(1e3 * base['seconds_a_pair'])} ms, and peak"
        f" memory is {fixed(base['peak_bytes'] / 2**30)} GiB."
    ]
    for name, label in NAMES.items():
        varied = [base, *(p for p in points if p[name] != base[name])]
        low, high = (pick(varied, key=lambda p: p[name]) for pick in (min, max))
        ratios = (fixed(high[key] / low[key]) for key in ("seconds_a_pair", "peak_bytes"))
        time, memory = ratios
        text.append(
            f"From {count(low[name])} to {count(high[name])} {label}, time per pair changes by a"
            f" factor of {time} and memory by {memory}."
        )
    most = max(points, key=lambda p: p["images"])
    return [
        *text,
        f"For {count(most['images'])} images, the matching takes {count(most['match_seconds'])} s"
        f" and the encoding {count(most['encode_seconds'])} s.",
    ]


def cost_table(points: list[dict], turns: int) -> dict:
    measured = ["ms per pair", "matching, s", "encoding, s", "memory, GiB"]
    return {
        "caption": (
            f"Cost of training: the time of a pair is the median of {turns} timings; all else was"
            " measured once. The first row is preset fast."
        ),
        "head": ["images", "pixels", "z", "s", "images per step", *measured],
        "rows": [
            [
                *(count(p[name]) for name in NAMES),
                fixed(1e3 * p["seconds_a_pair"], 2),
                fixed(p["match_seconds"]),
                fixed(p["encode_seconds"]),
                fixed(p["peak_bytes"] / 2**30, 2),
            ]
            for p in points
        ],
    }


def cost_figure(points: list[dict[str, float]]) -> Figure:
    """Time of a training pair and peak memory (rows) against each setting (columns)."""
    settings = {
        "images": "images",
        "size": "pixels per side",
        "z_dim": "size of z",
        "s_dim": "size of s",
        "batch_images": "images per step",
    }
    figure, axes = plt.subplots(
        2, len(settings), figsize=(9, 3.6), sharex="col", sharey="row", layout="constrained"
    )
    for column, (name, label) in zip(axes.T, settings.items(), strict=True):
        shown = sorted(
            (
                p
                for p in points
                if all(p[other] == points[0][other] for other in settings if other != name)
            ),
            key=lambda p: p[name],
        )
        x = [p[name] for p in shown]
        column[0].plot(
            x, [1e3 * p["seconds_a_pair"] for p in shown], "o-", color=VERMILION, ms=4, lw=1.2
        )
        column[1].plot(x, [p["peak_bytes"] / 2**30 for p in shown], "o-", color=BLUE, ms=4, lw=1.2)
        column[0].set_xscale("log")
        column[1].set_xlabel(label)
        column[1].set_xticks(
            x, [str(value) if value < 1_000 else f"{value / 1_000:.0f}k" for value in x]
        )
        column[1].minorticks_off()
    axes[0, 0].set(ylabel="training, ms per pair", ylim=(0, None))
    axes[1, 0].set(ylabel="peak memory, GiB", ylim=(0, None))
    return figure


def describe(content: dict) -> dict:
    """The content of the JSON file with what the report shows of its points."""
    points = content["points"]
    tables = [cost_table(points, content["turns"])]
    return {**content, "finding": cost_finding(points), "tables": tables}


def main() -> None:
    parser = Parser("python -m benchmarks.cost", __doc__)
    parser.add_argument("--source", choices=SPRITE_SOURCES, default="drawn")
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
    options = parser.parse_args()
    sprites = create_images(options.source)
    result = describe(measure(sprites.images, options.turns, options.seconds))
    for cells in (result["tables"][0]["head"], *result["tables"][0]["rows"]):
        print(*(f"{cell:>15}" for cell in cells))
    if options.json:
        write_json(options.json, {**result, "code": origin(VERSION)})
        write_figure(options.json.with_suffix(".svg"), cost_figure(result["points"]))


if __name__ == "__main__":
    with cli_errors("benchmarks.cost"):
        main()
