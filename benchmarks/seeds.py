"""Train on several seeds and splits, and say how much of a result is chance.

    .venv/bin/python -m benchmarks.seeds --source sprites --json benchmarks/seeds.json

A seed draws the weights and the batches; the split and the swaps stay the same. So differences are
paired: by training, and by swap. Three groups are trained: seeds on the default split, seeds on the
split by outfit, and one seed on other splits by identity. What is done is kept in
`reports/seeds-*/`, and a second call continues from there.
"""

import argparse
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.config import PRESETS, make_hparams
from lib.data.sources import create_sprites
from lib.data.sprites import SOURCES, load_sprites, split_sprites
from lib.evaluation import baselines, probes, swaps
from lib.evaluation.codes import encode_all
from lib.evaluation.intervals import gain, t_interval, training_interval
from lib.method.runs import new_run
from lib.method.training import fit
from lib.report.findings import REMEMBERING
from lib.report.numbers import fixed, listed, plain, span
from lib.report.results import origin
from lib.report.summary import headline_probes
from lib.report.tables import Table
from lib.system.devices import choose_device
from lib.system.errors import UserError, cli_errors
from lib.system.files import cached, write_json
from lib.system.paths import run_dir
from lib.system.processes import end_with_parent, interrupts_blocked

SOURCE_NAMES = {"sprites": "2D Sprites", "drawn": "the drawn sprites"}
OUTFITS = ("s_outfit", "z_outfit")  # of the images that give s and z
VERSION = 3  # see `lib.report.results.VERSION`
# mean squared errors of the same swaps
ERRORS = ("swap", "reconstruction", *REMEMBERING)


class Training(NamedTuple):
    """One training: what it is called, and what it starts from."""

    source: str
    preset: str
    split: str
    split_seed: int
    seed: int

    @property
    def name(self) -> str:
        return "-".join(["seeds", *map(str, self)])


def measure(training: Training) -> dict[str, np.ndarray]:
    """One training and its measurements.

    Returns: the errors (n,) of n test swaps for each of ERRORS, the OUTFITS (n,) of their
        characters, the device, and {name: (1,)} for each other number, as a share.
    """
    source, preset, split, split_seed, seed = training
    hp, sprites, device = make_hparams(preset), load_sprites(source), choose_device()
    folder = run_dir(training.name)

    def train_and_measure() -> dict[str, np.ndarray]:
        parts = split_sprites(sprites, split, split_seed)
        run = new_run(training.name, sprites, preset, seed, hp, split, split_seed)
        run = fit(run, sprites, parts["train"], device)
        chosen = swaps.sample_swaps(sprites, parts["test"], hp.swap_samples, split_seed)
        codes = encode_all(run, sprites)
        predicted = swaps.swap_predictor(run.model, codes, chosen)
        predict = {
            "swap": predicted,
            "reconstruction": swaps.swap_predictor(run.model, codes, chosen.reconstructions),
        }
        watched = swaps.validation_swaps(sprites, parts["validation"], hp, split_seed)
        validation = watched["validation_swap"]
        neighbours = baselines.choose_neighbours(sprites, parts["train"], validation)
        simple = baselines.predictors(sprites, parts["train"], chosen, neighbours)
        predict |= {name: simple[name] for name in REMEMBERING}
        errors = {
            name: swaps.errors_in_chunks(sprites, chosen, predict[name])[:, 0] for name in ERRORS
        }
        entries = probes.fit_all(codes._asdict(), sprites, parts, hp, split_seed)
        read = {row["what"]: row["value"] for row in headline_probes(entries)}
        scores = swaps.part_scores(sprites, chosen, predicted)
        for name in sprites.attributes:
            score = scores[name]["score"] if name in scores else None
            read[f"{name} nearer to the s image"] = score
        outfits = dict(zip(OUTFITS, chosen.outfits(sprites), strict=True))
        shares = {name: np.array([np.nan if x is None else x]) for name, x in read.items()}
        return errors | outfits | {"device": np.array(run.device)} | shares

    stamp = f"{VERSION} {sprites.fingerprint} {hp}"
    found = cached(folder / "measured.npz", stamp, train_and_measure)
    return {name: array for name, array in found.items() if name != "stamp"}


def compare(measured: list[Mapping[str, np.ndarray]]) -> list[dict]:
    """Rows {what, values (of each training), mean, ci95} of trainings on one split.

    PSNR and gains have intervals over trainings and outfits, shares over trainings (Student's
    t). A row has no mean if a probe is no evidence.
    """
    outfits = [measured[0][name] for name in OUTFITS]
    errors = {name: np.stack([each[name] for each in measured]) for name in ERRORS}
    ones = np.ones_like(errors["swap"])
    pairs = {f"{plain(name)}, dB": (errors[name], ones) for name in ERRORS}
    for name in REMEMBERING:
        pairs[f"gain over {plain(name)}, dB"] = errors["swap"], errors[name]
    rows = []
    for name, (each, reference) in pairs.items():
        values = gain(each.mean(axis=1), reference.mean(axis=1)).tolist()
        mean, *interval = training_interval(each, *outfits, reference)
        rows.append({"what": name, "values": values, "mean": mean, "ci95": interval})
    for name in measured[0]:
        if name not in (*ERRORS, *OUTFITS, "device"):
            values = [100 * float(each[name][0]) for each in measured]
            rows.append({"what": f"{name}, %", **_share_row(values)})
    return rows


def _share_row(values: list[float]) -> dict:
    if np.isnan(values).any() or len(values) == 1:
        shown = [None if np.isnan(value) else value for value in values]
        return {"values": shown, "mean": None, "ci95": None}
    mean, low, high = t_interval(values)
    return {"values": values, "mean": mean, "ci95": [max(low, 0.0), min(high, 100.0)]}


def group(trainings: list[Training], measured: list[Mapping[str, np.ndarray]]) -> dict:
    """The numbers of trainings that differ in their seed; on several splits, each by itself."""
    first = trainings[0]
    content = {"source": first.source, "preset": first.preset, "split": first.split}
    if not any(training.split_seed for training in trainings):
        columns = [f"seed {training.seed}" for training in trainings]
        return {**content, "columns": columns, "rows": compare(measured)}
    columns = [f"split {training.split_seed}" for training in trainings]
    parts = [compare([each]) for each in measured]
    rows = [
        {"what": rows[0]["what"], "values": [row["values"][0] for row in rows]}
        | {"mean": None, "ci95": None}
        for rows in zip(*parts, strict=True)
    ]
    return {**content, "columns": columns, "rows": rows}


def kind(group: dict) -> str:
    return f"preset {group['preset']} on {SOURCE_NAMES[group['source']]}, split by {group['split']}"


def seeds_finding(groups: list[dict]) -> list[str]:
    """Swaps over several seeds, and whether they beat retrieval."""
    text = []
    for group in groups:
        rows = {row["what"]: row for row in group["rows"]}
        swap = rows["swap, dB"]
        gains = {plain(name): rows[f"gain over {plain(name)}, dB"] for name in REMEMBERING}
        if swap["mean"] is None:
            values = [f"{fixed(value)} dB" for value in gains["retrieval"]["values"]]
            text.append(
                f"On other splits by identity, one training each, the gain over retrieval is"
                f" {listed(values)}."
            )
            continue
        low, high = swap["ci95"]
        text.append(
            f"With {kind(group)}, the mean PSNR of swaps over {len(group['columns'])} seeds is"
            f" {fixed(swap['mean'])} dB (95 % interval over trainings and outfits {fixed(low)} to"
            f" {fixed(high)})."
        )
        for name, row in gains.items():
            low, high = row["ci95"]
            beats = "Swaps beat" if low > 0 else "Swaps are not shown to beat"
            beats = "Swaps are worse than" if high < 0 else beats
            text.append(
                f"{beats} the {name} predictor there: the paired gain is {fixed(row['mean'])} dB"
                f" ({fixed(low)} to {fixed(high)})."
            )
    return text


def seeds_tables(groups: list[dict]) -> list[dict]:
    """A table for each group: the value of every training, their mean and its interval."""
    return [
        {
            "caption": f"Unseen {'outfits' if group['split'] == 'outfit' else 'identities'},"
            f" {kind(group)}.",
            "head": ["", *group["columns"], "mean", "95 %"],
            "rows": [
                [row["what"], *map(_shown, row["values"]), _shown(row["mean"]), _interval(row)]
                for row in group["rows"]
            ],
        }
        for group in groups
    ]


def summary_table(groups: list[dict]) -> Table:
    """Mean and interval of every group beside each other, for the README."""
    groups = [group for group in groups if group["rows"][0]["mean"] is not None]
    head = [f"split by {group['split']}, {len(group['columns'])} seeds" for group in groups]
    rows = [
        [rows[0]["what"], *(f"{_shown(row['mean'])} ({_interval(row)})" for row in rows)]
        for rows in zip(*(group["rows"] for group in groups), strict=True)
    ]
    return [f"mean (95 %), {SOURCE_NAMES[groups[0]['source']]}", *head], rows


def _shown(value: float | None) -> str:
    return "–" if value is None else fixed(value)


def _interval(row: dict) -> str:
    return "" if row["ci95"] is None else span(*map(fixed, row["ci95"]))


def describe(groups: list[dict]) -> dict:
    """The content of the JSON file: the numbers, and what the report shows of them."""
    return {"groups": groups, "finding": seeds_finding(groups), "tables": seeds_tables(groups)}


def planned(source: str, preset: str, seeds: int, splits: int) -> list[list[Training]]:
    """The trainings of each group."""
    default, outfits = (
        [Training(source, preset, split, 0, seed) for seed in range(seeds)]
        for split in ("identity", "outfit")
    )
    others = [Training(source, preset, "identity", number, 0) for number in range(1, splits)]
    return [group for group in (default, outfits, others) if group]


def measure_all(trainings: list[Training], processes: int) -> list[dict[str, np.ndarray]]:
    """`measure` of each training, several at once."""
    if processes == 1:
        return [measure(training) for training in trainings]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, end_with_parent) as pool, interrupts_blocked():
        return list(pool.map(measure, trainings))


def main() -> None:
    prog, summary = "python -m benchmarks.seeds", (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=prog, description=summary, allow_abbrev=False)
    add = parser.add_argument
    add("--source", choices=SOURCES, default="drawn")
    add("--preset", choices=tuple(PRESETS), default="fast")
    add("--seeds", type=int, default=3, help="trainings on a split (default: %(default)s)")
    add("--splits", type=int, default=3, help="splits by identity (default: %(default)s)")
    add("--processes", type=int, default=1, help="trainings at once (default: %(default)s)")
    add("--json", type=Path, metavar="PATH", required=True, help="the numbers are written there")
    options = parser.parse_args()
    if options.seeds < 2 or min(options.splits, options.processes) < 1:
        raise UserError("--seeds must be at least 2, --splits and --processes at least 1")
    create_sprites(options.source)
    plan = planned(options.source, options.preset, options.seeds, options.splits)
    trainings = [training for part in plan for training in part]
    measured = dict(zip(trainings, measure_all(trainings, options.processes), strict=True))
    content = describe([group(part, [measured[each] for each in part]) for part in plan])
    content["devices"] = sorted({str(each["device"]) for each in measured.values()})
    write_json(options.json, {**content, "code": origin(VERSION)})
    print("\n".join(content["finding"]))


if __name__ == "__main__":
    with cli_errors("benchmarks.seeds"):
        main()
