"""Compare methods: the same data, split, swaps and number of images, over several training seeds.

    .venv/bin/python -m benchmarks.study --sources sprites drawn --methods fast long \
        --json benchmarks/study.json

A run is one training of one method, and what was measured of it. A finished run stands in the JSON
file and is not repeated; a stopped one goes on from its checkpoint in `reports/study-*/`. A run
that fails is listed, and the others go on. Methods differ from `fast` in the settings that METHODS
names. Differences to `fast` are paired by seed.
"""

import argparse
import csv
import dataclasses
import hashlib
import io
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from lib.config import PRESETS, HParams, make_hparams
from lib.data.sources import create_sprites
from lib.data.sprites import SOURCES, SPLITS, Sprites, load_sprites, split_sprites
from lib.evaluation import baselines, probes, swaps
from lib.evaluation.codes import encode_all
from lib.evaluation.intervals import t_interval, training_interval
from lib.method.runs import Run, new_run
from lib.method.training import fit
from lib.report.findings import REMEMBERING
from lib.report.numbers import (
    LEAK_TARGETS,
    attribute_probes,
    chosen_probe,
    fixed,
    leak_shares,
    leaks,
    plain,
    psnr_interval,
    span,
)
from lib.report.results import origin
from lib.report.tables import Table
from lib.system.devices import choose_device
from lib.system.errors import UserError, cli_errors
from lib.system.files import atomic_write, read_json, write_json
from lib.system.paths import run_dir
from lib.system.processes import end_with_parent, interrupts_blocked

SOURCE_NAMES = {"sprites": "2D Sprites", "drawn": "drawn sprites"}
VERSION = 1  # see `lib.report.results.VERSION`
REFERENCE, TRIAL = "fast", "smoke"  # every method is compared with the first
POLL_SECONDS, SHOWN_SECONDS = 2.0, 300.0  # from one look at the runs, one table to the next


class Method(NamedTuple):
    """A row of the study: a preset, and what is changed in it."""

    meaning: str
    preset: str = "fast"
    overrides: Mapping[str, object] = {}


METHODS = {
    "fast": Method("preset fast"),
    "long": Method("preset long", "long"),
    "reverse": Method("with the reverse cycle", overrides={"reverse_weight": 10.0}),
    TRIAL: Method("preset smoke, to try this command", TRIAL),
}
# of the tables: the metric, and its name and digits
SHOWN = {
    "swap, dB": 1,
    "swap, SSIM": 3,
    "swap with s from four images, dB": 1,
    "reconstruction, dB": 1,
    "gain over retrieval mean, dB": 1,
    "identity from s, %": 1,
    "pose from z (mean), %": 1,
    "pose from s, %": 1,
    "largest leak of z (mean), %": 0,
}


class Training(NamedTuple):
    """One run of the study."""

    method: str
    source: str
    split: str
    split_seed: int
    seed: int

    @property
    def name(self) -> str:
        """Of its folder under reports/, another one for other settings."""
        digest = hashlib.sha256(f"{VERSION} {self.hp}".encode()).hexdigest()[:6]
        return "-".join(["study", *map(str, self), digest])

    @property
    def hp(self) -> HParams:
        method = METHODS[self.method]
        return make_hparams(method.preset, **method.overrides)


def execute(training: Training, threads: int) -> dict[str, object]:
    """Train, or load what is trained, and measure.

    Returns: what the JSON file keeps of the run.
    """
    torch.set_num_threads(threads)
    method, source, split, split_seed, seed = training
    sprites, hp = load_sprites(source), training.hp
    parts = split_sprites(sprites, split, split_seed)
    watched = swaps.validation_swaps(sprites, parts["validation"], hp, split_seed)

    def follow(row: dict[str, float]) -> None:
        done = Progress(int(row["images"]), row["seconds"])
        write_json(progress_path(training), done._asdict())

    run = new_run(training.name, sprites, METHODS[method].preset, seed, hp, split, split_seed)
    monitor = swaps.swap_monitor(sprites, watched)
    run = fit(run, sprites, parts["train"], choose_device(), monitor, follow)
    return {
        **training._asdict(),
        "settings": dataclasses.asdict(hp),
        "data": sprites.fingerprint,
        "device": run.device,
        "seconds": run.seconds,
        "curve": [
            [row["images"], swaps.psnr(row["validation_swap"])]
            for row in run.history
            if "validation_swap" in row
        ],
        **measure(run, sprites, parts),
        "code": origin(VERSION),
    }


def measure(
    run: Run, sprites: Sprites, parts: Mapping[str, np.ndarray]
) -> dict[str, dict[str, object]]:
    """The metrics of a trained run: errors of test swaps in dB, accuracies and leaks in %.

    Returns: {"metrics": {name: value}, "ci95": {name: [low, high]} of some of them, over so many
        "outfits"}.
    """
    model, hp, seed = run.model, run.hp, run.split_seed
    codes = encode_all(run, sprites)
    chosen = swaps.sample_swaps(sprites, parts["test"], hp.swap_samples, seed)
    predict = swaps.swap_predictor(model, codes, chosen)
    score, errors = swaps.swap_scores(sprites, chosen, predict)
    found = {"swap, dB": score["psnr"], "swap, SSIM": score["ssim"]}
    ci95 = {"swap, dB": psnr_interval(score)}

    def decibels(which: swaps.Swaps, predict: swaps.Predict) -> float:
        return swaps.psnr(swaps.errors_in_chunks(sprites, which, predict)[:, 0].mean())

    several = swaps.several_s_images(chosen, seed)
    four = swaps.swap_predictor(model, codes, chosen, several)
    found["swap with s from four images, dB"] = decibels(chosen, four)
    plain_swaps = chosen.reconstructions
    found["reconstruction, dB"] = decibels(
        plain_swaps, swaps.swap_predictor(model, codes, plain_swaps)
    )
    validation = swaps.sample_swaps(sprites, parts["validation"], hp.swap_samples, seed)
    found["validation swap, dB"] = decibels(
        validation, swaps.swap_predictor(model, codes, validation)
    )
    watched = swaps.validation_swaps(sprites, parts["validation"], hp, seed)["validation_swap"]
    neighbours = baselines.choose_neighbours(sprites, parts["train"], watched)
    simple = baselines.predictors(sprites, parts["train"], chosen, neighbours)
    for name in REMEMBERING:
        others = swaps.errors_in_chunks(sprites, chosen, simple[name])
        gain = swaps.paired_gain(sprites, chosen, errors, others)
        name = f"gain over {plain(name)}, dB"
        found[name], ci95[name] = gain["db"], gain["ci95"]
    for name, part in swaps.part_scores(
        sprites, chosen.first(hp.swap_samples // 2), predict
    ).items():
        found[f"{name} nearer to the s image, %"] = 100 * part["score"]
    found["KL, nats"] = run.history[-1]["kl"]
    found |= read_codes(probes.fit_all(codes._asdict(), sprites, parts, hp, seed))
    outfits = len(np.unique(np.concatenate(chosen.outfits(sprites))))
    return {"metrics": found, "ci95": ci95, "outfits": outfits}


def read_codes(entries: list[dict]) -> dict[str, float]:
    """{metric: %} the accuracies of probes, and leaks; without those that are no evidence."""
    asked = {
        "identity from s": ("s", "identity"),
        "pose from z (mean)": ("z_mu", "pose"),
        "pose from z (sampled)": ("z", "pose"),
        **{f"{target} from s": ("s", target) for target in LEAK_TARGETS["s"]},
    }
    for code, name in (("z_mu", "z (mean)"), ("z", "z (sampled)")):
        for entry in attribute_probes(entries, code):
            asked[f"{entry['target']} from {name}"] = code, entry["target"]
    read = {name: chosen_probe(entries, *where) for name, where in asked.items()}
    found = {f"{name}, %": 100 * e["accuracy"] for name, e in read.items() if e["evidence"]}
    for code, name in (("z_mu", "z (mean)"), ("z", "z (sampled)"), ("s", "s")):
        shares = leak_shares(leaks(entries, code)).values()
        found[f"mean leak of {name}, %"] = 100 * sum(shares) / len(shares)
        found[f"largest leak of {name}, %"] = 100 * max(shares)
    return found


def is_current(stored: Mapping, training: Training, fingerprint: str) -> bool:
    """Whether a stored run has the present version, data and settings.

    A setting that is newer than the run had its default.
    """
    known = {field.name: field.default for field in dataclasses.fields(HParams)}
    settings = {**known, **stored["settings"]} == dataclasses.asdict(training.hp)
    return settings and (stored["data"], stored["code"]["version"]) == (fingerprint, VERSION)


class Progress(NamedTuple):
    """How far a run is."""

    images: int = 0
    seconds: float = 0.0


def progress_path(training: Training) -> Path:
    return run_dir(training.name) / "progress.json"


def read_progress(training: Training) -> Progress:
    path = progress_path(training)
    return Progress(**read_json(path, "remove it")) if path.exists() else Progress()


def work(training: Training, threads: int) -> None:
    """A process of one run: it writes outcome.json, and all that it prints into log.txt."""
    end_with_parent()
    folder = run_dir(training.name)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "a") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            outcome = execute(training, threads)
        except UserError as error:
            outcome = {"failed": str(error)}
        except Exception as error:
            traceback.print_exc()
            outcome = {"failed": f"{type(error).__name__}: {error} (see {folder / 'log.txt'})"}
    write_json(folder / "outcome.json", outcome)


class LocalExecutor:
    """Gives each run a process with one thread; so many at once."""

    def __init__(self, processes: int, work: Callable[[Training, int], None] = work) -> None:
        self.pool, self.work = ThreadPoolExecutor(processes), work
        self.running: dict[Training, multiprocessing.Process] = {}

    def submit(self, training: Training) -> Future:
        return self.pool.submit(self._run, training)

    def _run(self, training: Training) -> dict[str, object]:
        path = run_dir(training.name) / "outcome.json"
        path.unlink(missing_ok=True)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=self.work, args=(training, 1), daemon=True)
        with interrupts_blocked():
            process.start()
        self.running[training] = process
        process.join()
        del self.running[training]
        if path.exists():
            return read_json(path, "remove it")
        return {"failed": f"its process ended with {process.exitcode}"}

    def stop(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self.running.values()):
            process.terminate()


def run_all(
    trainings: Sequence[Training], executor: LocalExecutor, store: Callable[[Training, dict], None]
) -> dict[Training, str]:
    """Run the trainings, `store` the outcome of each at once, and show the progress.

    Returns: why each run failed that did.
    """
    futures = {executor.submit(training): training for training in trainings}
    pending, failed, shown = set(futures), {}, -SHOWN_SECONDS
    total = sum(training.hp.images_seen for training in trainings)
    with tqdm(total=total, desc="study", unit="image", unit_scale=True, dynamic_ncols=True) as bar:
        try:
            while pending:
                done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    training, outcome = futures[future], future.result()
                    if "failed" in outcome:
                        failed[training] = outcome["failed"]
                    else:
                        store(training, outcome)
                if done or time.monotonic() - shown > SHOWN_SECONDS:
                    waiting = {futures[future] for future in pending} - set(executor.running)
                    bar.write(progress_table(trainings, executor.running, waiting, failed))
                    shown = time.monotonic()
                bar.update(sum(read_progress(training).images for training in trainings) - bar.n)
        finally:
            executor.stop()
    return failed


def progress_table(
    trainings: Sequence[Training],
    running: Collection[Training],
    waiting: Collection[Training],
    failed: Collection[Training],
) -> str:
    """A line for each run: its state and, while it trains, the minutes left."""
    lines = []
    for training in trainings:
        images, seconds = read_progress(training)
        state = "failed" if training in failed else "finished"
        state = "waiting" if training in waiting else state
        if training in running:
            left = training.hp.images_seen - images
            state = f"{images / training.hp.images_seen:4.0%}"
            state += f"  {left * seconds / images / 60:.0f} min left" if images else ""
            state = "measuring" if left <= 0 else state
        lines.append(f"{training.name:40s} {state}")
    return "\n".join(lines)


def groups_of(runs: Sequence[Mapping]) -> list[dict]:
    """{source, split, split_seed, methods} for each split of each source, see `summaries`."""
    fields = ("source", "split", "split_seed")
    splits = dict.fromkeys(tuple(run[name] for name in fields) for run in runs)
    groups = []
    for split in splits:
        here = [run for run in runs if tuple(run[name] for name in fields) == split]
        groups.append({**dict(zip(fields, split, strict=True)), "methods": summaries(here)})
    return groups


def summaries(runs: Sequence[Mapping]) -> dict[str, dict]:
    """{method: {seeds, metrics: {name: {mean, ci95, n, difference}}}} of the runs of one split.

    Intervals are over seeds, those of swaps and gains over outfits, too. The difference to
    REFERENCE {mean, ci95, n} is that of runs with the same seed, and its interval is over seeds.
    """
    by_method: dict[str, dict[int, Mapping]] = {}
    for run in runs:
        by_method.setdefault(run["method"], {})[run["seed"]] = run
    reference = by_method.get(REFERENCE, {})
    found = {}
    for method in filter(by_method.get, METHODS):
        of_seed, metrics = by_method[method], {}
        for name in dict.fromkeys(name for run in of_seed.values() for name in run["metrics"]):
            present = {k: run for k, run in of_seed.items() if name in run["metrics"]}
            metrics[name] = over_seeds(name, list(present.values()))
            paired = [k for k in present if name in reference.get(k, {}).get("metrics", {})]
            if method != REFERENCE and paired:
                differences = [
                    present[k]["metrics"][name] - reference[k]["metrics"][name] for k in paired
                ]
                metrics[name]["difference"] = interval_entry(differences, *t_interval(differences))
        found[method] = {"seeds": sorted(of_seed), "metrics": metrics}
    return found


def over_seeds(name: str, runs: Sequence[Mapping]) -> dict[str, object]:
    """{mean, ci95, n} of a metric."""
    values = [run["metrics"][name] for run in runs]
    if name not in runs[0]["ci95"]:
        return interval_entry(values, *t_interval(values))
    intervals = [run["ci95"][name] for run in runs]
    return interval_entry(values, *training_interval(values, intervals, runs[0]["outfits"]))


def interval_entry(
    values: Sequence[float], mean: float, low: float, high: float
) -> dict[str, object]:
    """A single value has no interval."""
    return {"mean": mean, "ci95": [low, high] if len(values) > 1 else None, "n": len(values)}


def shown(entry: Mapping | None, digits: int) -> str:
    if entry is None:
        return "–"
    if entry["ci95"] is None:
        return fixed(entry["mean"], digits)
    return f"{fixed(entry['mean'], digits)} ({span(*(fixed(x, digits) for x in entry['ci95']))})"


def study_tables(groups: Sequence[Mapping]) -> list[dict]:
    """For each group a table: a row for each metric of SHOWN, a column for each method."""
    return [
        {
            "caption": f"{split_name(group)}: mean (95 %).",
            "head": ["", *(heading(*each) for each in group["methods"].items())],
            "rows": [
                [name, *(shown(each["metrics"].get(name), digits) for each in methods)]
                for name, digits in SHOWN.items()
            ],
        }
        for group in groups
        if (methods := group["methods"].values())
    ]


def split_name(group: Mapping) -> str:
    number = f" {group['split_seed']}" if group["split_seed"] else ""
    return f"{SOURCE_NAMES[group['source']]}, split by {group['split']}{number}"


def heading(name: str, method: Mapping) -> str:
    seeds = len(method["seeds"])
    return f"`{name}`, {seeds} seed{'s' if seeds > 1 else ''}"


def presets_table(groups: Sequence[Mapping]) -> Table:
    """Presets `fast` and `long` on both sources, for the README."""
    columns = {
        f"{SOURCE_NAMES[group['source']]}, {heading(name, method)}": method["metrics"]
        for group in groups
        if (group["split"], group["split_seed"]) == ("identity", 0)
        for name, method in group["methods"].items()
        if name in PRESETS and name != TRIAL
    }
    rows = [
        [name, *(shown(metrics.get(name), digits) for metrics in columns.values())]
        for name, digits in SHOWN.items()
    ]
    return ["mean (95 %)", *columns], rows


def study_finding(groups: Sequence[Mapping]) -> list[str]:
    """Each method's swaps, and by how much they differ from those of REFERENCE."""
    text = []
    for group in groups:
        for name, each in group["methods"].items():
            entry = each["metrics"]["swap, dB"]
            text.append(
                f"Swaps of {heading(name, each)}, reach {shown(entry, 1)} dB ({split_name(group)})."
            )
            if difference := entry.get("difference"):
                text.append(_compared(name, difference))
    return text


def _compared(name: str, difference: Mapping) -> str:
    mean, interval = difference["mean"], difference["ci95"]
    if interval is None:
        return f"One pair of runs says nothing about its difference to `{REFERENCE}`."
    if min(interval) > 0 or max(interval) < 0:
        ends = span(*(fixed(x, 2) for x in sorted(map(abs, interval))))
        better = "better" if mean > 0 else "worse"
        return f"That is {fixed(abs(mean), 2)} dB ({ends}) {better} than `{REFERENCE}`."
    value = f"{fixed(mean, 2)} dB ({span(*(fixed(x, 2) for x in interval))})"
    return f"It is not shown that `{name}` and `{REFERENCE}` differ: {value}."


def describe(runs: Sequence[Mapping]) -> dict:
    """The content of the JSON file: all runs, and what the report shows of them."""
    groups = groups_of(runs)
    return {
        "runs": list(runs),
        "groups": groups,
        "finding": study_finding(groups),
        "tables": study_tables(groups),
        "code": origin(VERSION),
    }


def tidy(runs: Sequence[Mapping]) -> str:
    """CSV with a line for each metric of each run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Training._fields, "metric", "value", "commit"])
    for run in runs:
        for metric, value in run["metrics"].items():
            settings = [run[name] for name in Training._fields]
            writer.writerow([*settings, metric, f"{value:.6g}", run["code"]["commit"]])
    return text.getvalue()


def main() -> None:
    prog, summary_line = "python -m benchmarks.study", (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=prog, description=summary_line, allow_abbrev=False)
    add = parser.add_argument
    add("--sources", nargs="+", choices=SOURCES, default=["drawn"])
    add("--methods", nargs="+", choices=tuple(METHODS), default=[m for m in METHODS if m != TRIAL])
    add("--split", choices=SPLITS, default="identity")
    add("--split-seed", type=int, default=0)
    add("--seeds", type=int, default=3, help="trainings of each method (default: %(default)s)")
    add("--first-seed", type=int, default=0, help="(default: %(default)s)")
    add("--processes", type=int, help="runs at once, one core each (default: the cores)")
    add("--json", type=Path, metavar="PATH", required=True, help="results; a CSV lies beside them")
    options = parser.parse_args()
    processes = options.processes or os.cpu_count() or 1
    if min(options.seeds, processes) < 1:
        raise UserError("--seeds and --processes must be at least 1")
    for source in options.sources:
        create_sprites(source)
    prints = {source: load_sprites(source).fingerprint for source in options.sources}

    seeds = range(options.first_seed, options.first_seed + options.seeds)
    planned = [
        Training(method, source, options.split, options.split_seed, seed)
        for seed, source, method in product(seeds, options.sources, options.methods)
    ]
    kept = {}
    if options.json.exists():
        stored = read_json(options.json, "remove it, and measure all runs again")
        kept = {Training(*(run[name] for name in Training._fields)): run for run in stored["runs"]}
    missing = [
        training
        for training in planned
        if not (training in kept and is_current(kept[training], training, prints[training.source]))
    ]

    def store(training: Training, outcome: dict) -> None:
        kept[training] = outcome
        runs = [kept[each] for each in sorted(kept)]
        write_json(options.json, describe(runs))
        with atomic_write(options.json.with_suffix(".csv")) as file:
            file.write(tidy(runs).encode())

    print(f"{len(planned) - len(missing)} of {len(planned)} runs are finished", flush=True)
    failed = run_all(missing, LocalExecutor(processes), store) if missing else {}
    if kept:
        print("\n".join(describe(list(kept.values()))["finding"]))
    if failed:
        reasons = "; ".join(f"{training.name}: {why}" for training, why in failed.items())
        raise UserError(f"{len(failed)} of {len(planned)} runs failed: {reasons}")


if __name__ == "__main__":
    with cli_errors("benchmarks.study"):
        main()
