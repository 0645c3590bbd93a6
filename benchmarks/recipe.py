"""Measure each change from preset `paper` to preset `fast`, one at a time.

    .venv/bin/python -m benchmarks.recipe --source sprites --json benchmarks/recipe.json

Every row keeps the changes of the rows above it and is trained for the same wall time. Its length
in images is what its rate allows in that time; the rates of all rows are measured first, in turns,
and the median counts. So other work on the machine slows a training but does not shorten it, and
the schedules, which are fractions of a training, run to their end. Errors are of swaps among
validation identities, which no training sees. The JSON file stores all that is done; a second
call continues from there.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.speed import WARM_UP, our_steps, seconds_a_step
from lib.config import HParams, make_hparams
from lib.data.sources import create_sprites
from lib.data.sprites import SOURCES, Sprites, split_sprites
from lib.evaluation.intervals import t_interval
from lib.evaluation.swaps import psnr, reconstruction_swaps, sample_swaps, summarize, swap_error
from lib.method.matching import find_matches
from lib.method.networks import CycleVAE
from lib.method.runs import new_run
from lib.method.training import fit
from lib.report.figures import GREY, VERMILION, write_figure
from lib.report.findings import WORKING_KL, collapse
from lib.report.numbers import count, fixed, listed, span
from lib.report.results import origin
from lib.system import paths
from lib.system.devices import choose_device
from lib.system.errors import UserError, cli_errors
from lib.system.files import write_json

# a row of the table each: its name, and the hyper-parameters that take the value of preset `fast`
CHANGES = {
    "as published": (),
    "statistics of groups of channels": ("norm",),
    "Adam at 2e-3, warmed up and decayed": ("learning_rate", "beta2", "lr_warmup", "lr_decay"),
    "groups of 4 images, 64 a step, reverse cycle every 4th": (
        "group_size",
        "batch_images",
        "reverse_every",
    ),
    "perceptrons on principal components": ("architecture",),
    "z of 8": ("z_dim",),
    "s normalised": ("normalize_s",),
    "smaller KL weight, after a warm-up": ("kl_weight", "kl_warmup"),
    "z of matched images exchanged": ("match_from",),
    "mean s of a group with noise, codes that agree": (
        "mean_s",
        "s_noise",
        "s_agreement",
        "z_agreement",
    ),
    "no reverse cycle": ("reverse_weight",),
    "dark pixels are background": ("background_level",),
}
VERSION = 1  # see `lib.report.results.VERSION`
TURNS, RATE_SECONDS = 3, 4.0  # timings of each row, and how long its steps are timed in each


def settings(row: int) -> HParams:
    """Preset `paper` with the changes of the first rows up to `row`."""
    fast = make_hparams("fast")
    names = [name for changed in list(CHANGES.values())[: row + 1] for name in changed]
    return make_hparams("paper", **{name: getattr(fast, name) for name in names})


class Rate(NamedTuple):
    """How fast a row trains on this machine."""

    batch_images: int
    step_seconds: float  # median
    set_up_seconds: float  # for components and matches


def measure_rates(sprites: Sprites, device: torch.device) -> list[Rate]:
    """The rate of each row, measured side by side."""
    train = split_sprites(sprites, "identity", 0)["train"]
    valid = torch.from_numpy(sprites.mask(train))
    rows = [settings(row) for row in range(len(CHANGES))]
    models = [CycleVAE(hp) for hp in rows]
    steps, set_up = [], []
    for model, hp in zip(models, rows, strict=True):
        started = time.perf_counter()
        steps.append(our_steps(model, sprites.images, valid, hp, device))
        if hp.match_from < 1:
            find_matches(sprites.images, valid, hp, seed=0)
        set_up.append(time.perf_counter() - started)
    times = [[seconds_a_step(each, RATE_SECONDS, WARM_UP) for each in steps] for _ in range(TURNS)]
    medians = [statistics.median(each) for each in zip(*times, strict=True)]
    return [
        Rate(hp.batch_images, median, taken)
        for hp, median, taken in zip(rows, medians, set_up, strict=True)
    ]


def images_in(seconds: float, rates: list[Rate]) -> list[int]:
    """The images that each row trains on in that time, which includes its set-up."""
    return [
        max(1, round((seconds - rate.set_up_seconds) / rate.step_seconds)) * rate.batch_images
        for rate in rates
    ]


def measure(sprites: Sprites, row: int, seed: int, images: int, device: torch.device) -> dict:
    """One training with the settings of a row: MSE of swaps and reconstructions.

    Returns: errors on validation identities, with the seed, seconds, images and KL term.
    """
    splits = split_sprites(sprites, "identity", seed)
    hp = dataclasses.replace(settings(row), images_seen=images)
    run = fit(
        new_run(f"recipe-{row}-{seed}", sprites, "paper", seed, hp),
        sprites,
        splits["train"],
        device,
    )
    swaps = sample_swaps(sprites, splits["validation"], hp.swap_samples, seed)
    plain = reconstruction_swaps(splits["validation"], hp.swap_samples, seed)
    errors = {
        name: summarize(swap_error(run.model, sprites, pairs))["mse"]
        for name, pairs in (("swap", swaps), ("reconstruction", plain))
    }
    return {
        "seed": seed,
        "seconds": run.seconds,
        "images": images,
        "kl_nats": run.history[-1]["kl"],
        **errors,
    }


def summary(rows: dict[str, list[dict]]) -> list[dict]:
    """The numbers of each row: seeds, mean length, PSNR of swaps and reconstructions, gain.

    A gain is paired: each training is compared with that of the row above on the same split.
    """
    table, before = [], None
    for name, trainings in rows.items():
        values = np.array([psnr(training["swap"]) for training in trainings])
        mean, low, high = t_interval(values)
        gained, *gain_interval = t_interval(values - (values if before is None else before))
        before = values
        plain = float(np.mean([psnr(training["reconstruction"]) for training in trainings]))
        images = float(np.mean([training["images"] for training in trainings]))
        table.append(
            {
                "change": name,
                "seeds": len(trainings),
                "images": images,
                "kl_nats": float(np.mean([training["kl_nats"] for training in trainings])),
                "swap_psnr": mean,
                "ci95": [low, high],
                "reconstruction_psnr": plain,
                "gained": gained,
                "gain_ci95": gain_interval,
            }
        )
    return table


def recipe_finding(table: list[dict]) -> list[str]:
    """The gain of all changes, the changes with a gain, and those whose gain is not shown."""
    named = {True: [], False: []}
    for row in table[1:]:
        low, high = map(fixed, row["gain_ci95"])
        entry = f"\u201c{row['change']}\u201d ({row['gained']:+.1f} dB, {low} to {high})"
        named[row["gain_ci95"][0] > 0].append(entry)
    text = [
        f"All changes together bring swaps from {fixed(table[0]['swap_psnr'])} to"
        f" {fixed(table[-1]['swap_psnr'])} dB.",
        *_unfair(table[0]),
    ]
    if named[True]:
        text.append(f"A gain is shown for {listed(named[True])}.")
    if named[False]:
        text.append(f"In this time, no gain is shown for {listed(named[False])}.")
    return text


def _unfair(first: dict) -> list[str]:
    """What the row of the published recipe cannot show in this time."""
    share = first["images"] / make_hparams("paper").images_seen
    text = [
        f"The row \u201cas published\u201d was trained on {fixed(100 * share, 2)} % of the images"
        " of the published training, so it does not show what the published recipe reaches."
    ]
    if first["kl_nats"] < WORKING_KL:
        text.append(f"In this row, {collapse(first['kl_nats'])}")
    return text


def recipe_table(table: list[dict], seconds: float, threads: int) -> dict:
    return {
        "caption": (
            f"One change at a time, each training as long as {count(seconds)} seconds allow on"
            f" {threads} CPU threads, on {table[0]['seeds']} splits: mean PSNR of swaps, the paired"
            " gain of the change, both with 95 % intervals over the splits, and PSNR of plain"
            " reconstructions."
        ),
        "head": [
            "",
            "images",
            "KL, nats",
            "swap, dB",
            "95 %",
            "gain, dB",
            "95 %",
            "reconstruction",
        ],
        "rows": [
            [
                row["change"] if n == 0 else f"+ {row['change']}",
                count(row["images"]),
                fixed(row["kl_nats"], 2),
                fixed(row["swap_psnr"]),
                span(*map(fixed, row["ci95"])),
                *(["", ""] if n == 0 else _gain_cells(row)),
                fixed(row["reconstruction_psnr"]),
            ]
            for n, row in enumerate(table)
        ],
    }


def _gain_cells(row: dict) -> list[str]:
    return [f"{row['gained']:+.1f}", span(*map(fixed, row["gain_ci95"]))]


def recipe_figure(table: list[dict]) -> Figure:
    """PSNR of swaps, with its 95 % interval, and of reconstructions, the first row on top."""
    figure, ax = plt.subplots(figsize=(7, 0.34 * len(table) + 0.8), layout="constrained")
    y = np.arange(len(table))
    swaps = np.array([row["swap_psnr"] for row in table])
    low, high = np.array([row["ci95"] for row in table]).T
    ax.errorbar(
        swaps,
        y,
        xerr=(swaps - low, high - swaps),
        fmt="o",
        color=VERMILION,
        capsize=3,
        label="swap",
    )
    ax.plot(
        [row["reconstruction_psnr"] for row in table],
        y,
        "|",
        color=GREY,
        markersize=9,
        label="reconstruction",
    )
    ax.set_yticks(
        y, [row["change"] if n == 0 else f"+ {row['change']}" for n, row in enumerate(table)]
    )
    ax.invert_yaxis()
    ax.set_xlabel("validation identities, PSNR in dB")
    ax.legend(loc="lower left")
    return figure


def describe(content: dict) -> dict:
    """The content of the JSON file with what the report shows of its trainings."""
    table = summary(content["trainings"])
    shown = {
        "finding": recipe_finding(table),
        "tables": [recipe_table(table, content["seconds"], content["threads"])],
    }
    return {**content, "table": table, **shown}


def main() -> None:
    prog, summary_line = "python -m benchmarks.recipe", (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=prog, description=summary_line, allow_abbrev=False)
    parser.add_argument("--source", choices=SOURCES, default="drawn")
    parser.add_argument(
        "--seconds",
        type=float,
        default=180.0,
        help="length of each training (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="trainings of each row, each on another split (default: 3)",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        required=True,
        help="the numbers, read if present and written; the figure (SVG) is written beside it",
    )
    options = parser.parse_args()
    sprites, device = create_sprites(options.source), choose_device()
    asked = {
        "source": options.source,
        "seconds": options.seconds,
        "threads": torch.get_num_threads(),
        "hparams": {
            name: getattr(settings(len(CHANGES) - 1), name)
            for changed in CHANGES.values()
            for name in changed
        },
    }
    content = {**asked, "trainings": {name: [] for name in CHANGES}}
    if options.json.exists():
        try:
            content = json.loads(options.json.read_text())
            same = {name: content[name] for name in asked} == asked and list(
                content["trainings"]
            ) == list(CHANGES)
        except (ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise UserError(
                f"{options.json} holds another comparison, or none: name another file, or remove it"
            )
    with tempfile.TemporaryDirectory(prefix="cycle-vae-recipe-") as folder:
        paths.REPORTS = Path(folder)
        if "images" not in content:
            rates = measure_rates(sprites, device)
            content["images"] = images_in(options.seconds, rates)
            write_json(options.json, content)
        # a complete table for each seed, so that a stopped comparison is a smaller one
        for seed in range(options.seeds):
            for row, (name, trainings) in enumerate(content["trainings"].items()):
                if len(trainings) <= seed:
                    trainings.append(measure(sprites, row, seed, content["images"][row], device))
                    write_json(options.json, content)
                    print(
                        f"{name}, seed {seed}: swap {psnr(trainings[-1]['swap']):.2f} dB",
                        flush=True,
                    )
    content = {**describe(content), "code": origin(VERSION)}
    write_json(options.json, content)
    write_figure(options.json.with_suffix(".svg"), recipe_figure(content["table"]))
    print("\n".join(content["finding"]))


if __name__ == "__main__":
    with cli_errors("benchmarks.recipe"):
        main()
