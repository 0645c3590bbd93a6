"""What each change from preset `paper` to preset `fast` contributes: one at a time, each trained
for the same wall time.

    .venv/bin/python -m benchmarks.recipe --source sprites --seconds 180 --seeds 3 --json
    recipe.json --figure recipe.png

Every row keeps the changes of the rows above it. Its length in images is what its rate allows in
the given time; the rates of all rows are measured first, in turns, and medians count. So other work
on the machine slows a training and does not shorten it, and the schedules, which are shares of a
training, come to their end. Errors are of swaps among validation identities, which no training
sees. What the JSON file already has is not measured or trained again.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed import WARM_UP, our_steps, seconds_a_step
from lib.config import HParams, make_hparams
from lib.data.sources import create_sprites
from lib.data.sprites import SOURCES, Sprites, split_by_identity
from lib.evaluation.intervals import t_interval
from lib.evaluation.swaps import psnr, reconstruction_swaps, sample_swaps, summarize, swap_error
from lib.method.matching import find_matches
from lib.method.networks import CycleVAE
from lib.method.runs import new_run
from lib.method.training import fit
from lib.report.figures import recipe_figure, write_figure
from lib.system import paths
from lib.system.devices import choose_device
from lib.system.errors import UserError, cli_errors
from lib.system.files import write_json

# a row of the table each: what it is called, and the hyper-parameters that take the value of preset
# `fast`
CHANGES = {
    "as published": (),
    "statistics of groups of channels": ("norm",),
    "Adam at 2e-3, warmed up and decayed": ("learning_rate", "beta2", "lr_warmup", "lr_decay"),
    "groups of 4 images, 64 a step, reverse cycle every 4th": (
        "group_size",
        "batch_images",
        "reverse_every",
    ),
    "encoder of folded pixels, decoder a perceptron": ("architecture",),
    "z of 8": ("z_dim",),
    "s normalised": ("normalize_s",),
    "KL weight 1 after a warm-up": ("kl_weight", "kl_warmup"),
    "z of matched images exchanged": ("match_from",),
}
TURNS, RATE_SECONDS = 3, 4.0  # timings of each row, and how long its steps are timed in each


def settings(row: int) -> HParams:
    """Preset `paper` with the changes of the first rows up to `row`."""
    fast = make_hparams("fast")
    names = [name for changed in list(CHANGES.values())[: row + 1] for name in changed]
    return make_hparams("paper", **{name: getattr(fast, name) for name in names})


def images_in(seconds: float, sprites: Sprites, device: torch.device) -> list[int]:
    """How many images `fit` would train on by each row in that time on this machine, looking for
    matches included.
    """
    train = split_by_identity(sprites, 0)["train"]
    valid = torch.from_numpy(sprites.mask(train))
    rows = [settings(row) for row in range(len(CHANGES))]
    models = [CycleVAE(hp) for hp in rows]
    steps = [
        our_steps(model, sprites.images, valid, hp, device)
        for model, hp in zip(models, rows, strict=True)
    ]
    times = [[seconds_a_step(of, RATE_SECONDS, WARM_UP) for of in steps] for _ in range(TURNS)]
    images = []
    for hp, model, each in zip(rows, models, zip(*times, strict=True), strict=True):
        started = time.perf_counter()
        if hp.match_from < 1:
            find_matches(model, sprites.images, valid, hp, seed=0)
        left = seconds - (time.perf_counter() - started)
        images.append(max(1, round(left / statistics.median(each))) * hp.batch_images)
    return images


def measure(sprites: Sprites, row: int, seed: int, images: int, device: torch.device) -> dict:
    """One training on `images` by the settings of a row: MSE of swaps and reconstructions of
    validation identities.
    """
    splits = split_by_identity(sprites, seed)
    hp = dataclasses.replace(settings(row), images_seen=images)
    run = fit(
        new_run(f"recipe-{row}-{seed}", sprites, "paper", seed, hp),
        sprites,
        splits["train"],
        device,
    )
    swaps = sample_swaps(sprites, splits["validation"], hp.swap_samples, seed)
    own = reconstruction_swaps(splits["validation"], hp.swap_samples, seed)
    errors = {
        name: summarize(swap_error(run.model, sprites, of))["mse"]
        for name, of in (("swap", swaps), ("own", own))
    }
    return {
        "seed": seed,
        "seconds": run.seconds,
        "images": images,
        "kl_nats": run.history[-1]["kl"],
        **errors,
    }


def summary(rows: dict[str, list[dict]]) -> list[dict]:
    """The table: for each row its seeds, their mean length, the PSNR of swaps in dB (mean, 95 %
    interval), and what it gained.
    """
    table = []
    for name, trainings in rows.items():
        mean, low, high = t_interval([psnr(training["swap"]) for training in trainings])
        own = float(np.mean([psnr(training["own"]) for training in trainings]))
        gained = mean - table[-1]["swap_psnr"] if table else 0.0
        images = float(np.mean([training["images"] for training in trainings]))
        table.append(
            {
                "change": name,
                "seeds": len(trainings),
                "images": images,
                "swap_psnr": mean,
                "ci95": [low, high],
                "reconstruction_psnr": own,
                "gained": gained,
            }
        )
    return table


def main() -> None:
    prog, what = "python -m benchmarks.recipe", __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog=prog, description=what, allow_abbrev=False)
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
        help="trainings of each row, each on a split of its own (default: 3)",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        required=True,
        help="the numbers, read if there and written",
    )
    parser.add_argument("--figure", type=Path, metavar="PATH", help="also draw them")
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
            content["images"] = images_in(options.seconds, sprites, device)
            write_json(options.json, content)
        for seed in range(
            options.seeds
        ):  # a whole table for each seed, so that a stopped comparison is a smaller one
            for row, (name, trainings) in enumerate(content["trainings"].items()):
                if len(trainings) <= seed:
                    trainings.append(measure(sprites, row, seed, content["images"][row], device))
                    write_json(options.json, content)
                    print(
                        f"{name}, seed {seed}: swap {psnr(trainings[-1]['swap']):.2f} dB",
                        flush=True,
                    )
    content["table"] = summary(content["trainings"])
    write_json(options.json, content)
    for row in content["table"]:
        low, high = row["ci95"]
        print(
            f"{row['change']:56} {row['swap_psnr']:5.2f} dB ({low:.2f} to {high:.2f}),"
            f" {row['gained']:+.2f}"
        )
    if options.figure:
        write_figure(options.figure, recipe_figure(content["table"]))


if __name__ == "__main__":
    with cli_errors("benchmarks.recipe"):
        main()
