"""Compare methods: the same data, split, swaps and number of images, over several training seeds.

    .venv/bin/python -m benchmarks.study --sources sprites drawn --methods fast long \
        --json benchmarks/study.json

A run is one training of one method, and what was measured of it. A finished run stands in the JSON
file and is not repeated; a stopped one goes on from its checkpoint in `reports/study-*/`. A run
that fails is listed, and the others go on. METHODS names the settings of each method. Differences
between methods are paired by seed.
"""

import argparse
import csv
import dataclasses
import hashlib
import io
import json
import os
import traceback
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.executors import (
    OUTCOME,
    ClusterExecutor,
    Executor,
    LocalExecutor,
    Progress,
    progress_path,
    run_all,
)
from benchmarks.methods import METHODS, STUDIED, TRIAL, chosen_methods
from lib.config import PRESETS, HParams
from lib.data.images import to_uint8
from lib.data.sources import create_sprites
from lib.data.sprites import SOURCES, SPLITS, Sprites, load_sprites, split_sprites
from lib.evaluation import baselines, probes, swaps
from lib.evaluation.codes import encode_all
from lib.evaluation.intervals import t_interval, training_interval
from lib.method.runs import Run, new_run
from lib.method.training import fit
from lib.report.findings import REMEMBERING
from lib.report.numbers import (
    CODE_NAMES,
    LEAK_TARGETS,
    attribute_probes,
    chosen_probe,
    fixed,
    plain,
    psnr_interval,
    span,
)
from lib.report.results import origin
from lib.report.summary import leak_rows
from lib.report.tables import Table
from lib.system.devices import choose_device
from lib.system.errors import UserError, cli_errors
from lib.system.files import atomic_write, read_arrays, read_json, write_arrays, write_json
from lib.system.paths import run_dir

SOURCE_NAMES = {"sprites": "2D Sprites", "drawn": "drawn sprites"}
VERSION = 1  # see `lib.report.results.VERSION`
EXAMPLES, PICTURED = "examples.npz", 8  # swaps of each run that are kept as pictures
# the metrics in the tables, and their digits
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
        method = METHODS[self.method]
        settings = f"{VERSION} {self.hp} {method.learner} {method.weight}"
        digest = hashlib.sha256(settings.encode()).hexdigest()[:6]
        return "-".join(["study", *map(str, self), digest])

    @property
    def hp(self) -> HParams:
        return METHODS[self.method].hp


def execute(training: Training) -> dict[str, object]:
    """Train, or load what is trained, and measure.

    Returns: what the JSON file keeps of the run.
    """
    name, source, split, split_seed, seed = training
    method, sprites, hp = METHODS[name], load_sprites(source), training.hp
    parts = split_sprites(sprites, split, split_seed)
    watched = swaps.validation_swaps(sprites, parts["validation"], hp, split_seed)

    def follow(row: dict[str, float]) -> None:
        done = Progress(int(row["images"]), row["seconds"])
        write_json(progress_path(training), done._asdict())

    run = new_run(training.name, sprites, method.preset, seed, hp, split, split_seed)
    monitor = swaps.swap_monitor(sprites, watched)
    device = choose_device()
    run = fit(run, sprites, parts["train"], device, monitor, follow, method.make_learner)
    return {
        **training._asdict(),
        "settings": dataclasses.asdict(hp),
        "learner": [method.learner, method.weight],
        "data": sprites.fingerprint,
        "device": run.device,
        "seconds": run.seconds,
        "curve": [
            [row["images"], swaps.psnr(row["validation_swap"])]
            for row in run.history
            if "validation_swap" in row
        ],
        **measure(run, sprites, parts, method.only_validation),
        "code": origin(VERSION),
    }


def measure(
    run: Run, sprites: Sprites, parts: Mapping[str, np.ndarray], only_validation: bool
) -> dict[str, object]:
    """The metrics of a trained run: errors of swaps in dB, accuracies and leaks in %.

    Returns: {"metrics": {name: value}, "ci95": {name: [low, high]} of some of them, over so many
        "outfits"}.
    """
    hp, seed = run.hp, run.split_seed
    codes = encode_all(run, sprites)

    def decibels(which: swaps.Swaps, s_images: np.ndarray | None = None) -> float:
        predict = swaps.swap_predictor(run.model, codes, which, s_images)
        return swaps.psnr(swaps.errors_in_chunks(sprites, which, predict)[:, 0].mean())

    validation = swaps.sample_swaps(sprites, parts["validation"], hp.swap_samples, seed)
    found = {"validation swap, dB": decibels(validation)}
    if only_validation:
        return {"metrics": found, "ci95": {}, "outfits": 0}
    chosen = swaps.sample_swaps(sprites, parts["test"], hp.swap_samples, seed)
    predict = swaps.swap_predictor(run.model, codes, chosen)
    score, errors = swaps.swap_scores(sprites, chosen, predict)
    ci95 = {"swap, dB": psnr_interval(score)}
    found |= {
        "swap, dB": score["psnr"],
        "swap, SSIM": score["ssim"],
        "swap with s from four images, dB": decibels(chosen, swaps.several_s_images(chosen, seed)),
        "reconstruction, dB": decibels(chosen.reconstructions),
        "KL, nats": run.history[-1]["kl"],
    }
    if sprites.source == "drawn":  # of the archive, no picture is kept
        write_arrays(run.folder / EXAMPLES, pictures(sprites, chosen, predict))
    watched = swaps.validation_swaps(sprites, parts["validation"], hp, seed)["validation_swap"]
    neighbours = baselines.choose_neighbours(sprites, parts["train"], watched)
    simple = baselines.predictors(sprites, parts["train"], chosen, neighbours)
    for name in REMEMBERING:
        others = swaps.errors_in_chunks(sprites, chosen, simple[name])
        gain = swaps.paired_gain(sprites, chosen, errors, others)
        name = f"gain over {plain(name)}, dB"
        found[name], ci95[name] = gain["db"], gain["ci95"]
    few = chosen.first(hp.swap_samples // 2)
    for name, part in swaps.part_scores(sprites, few, predict).items():
        found[f"{name} nearer to the s image, %"] = 100 * part["score"]
    found |= read_codes(probes.fit_all(codes._asdict(), sprites, parts, hp, seed))
    outfits = len(np.unique(np.concatenate(chosen.outfits(sprites))))
    return {"metrics": found, "ci95": ci95, "outfits": outfits}


def pictures(
    sprites: Sprites, chosen: swaps.Swaps, predict: swaps.Predict
) -> dict[str, np.ndarray]:
    """uint8 images (PICTURED, 60, 60, 3) of the first swaps: what each begins with, and shows."""
    first = slice(0, PICTURED)
    shown = {name: sprites.images[index[first]] for name, index in chosen._asdict().items()}
    return {**shown, "swap": to_uint8(predict(first))}


def read_codes(entries: list[dict]) -> dict[str, float]:
    """{metric: %} the accuracies of probes, and leaks; without those that are no evidence."""
    asked = {
        "identity from s": ("s", "identity"),
        "pose from z (mean)": ("z_mu", "pose"),
        "pose from z (sampled)": ("z", "pose"),
        **{f"{target} from s": ("s", target) for target in LEAK_TARGETS["s"]},
    }
    for code in ("z_mu", "z"):
        for entry in attribute_probes(entries, code):
            asked[f"{entry['target']} from {CODE_NAMES[code]}"] = code, entry["target"]
    read = {name: chosen_probe(entries, *where) for name, where in asked.items()}
    found = {f"{name}, %": 100 * e["accuracy"] for name, e in read.items() if e["evidence"]}
    for code in ("z_mu", "z", "s"):
        for kind, row in zip(("mean", "largest"), leak_rows(entries, code), strict=True):
            found[f"{kind} leak of {CODE_NAMES[code]}, %"] = 100 * row["value"]
    return found


def is_current(stored: Mapping, training: Training, fingerprint: str) -> bool:
    """Whether a stored run has the present version, data and settings.

    A setting that is newer than the run had its default.
    """
    method = METHODS[training.method]
    known = {field.name: field.default for field in dataclasses.fields(HParams)}
    settings = {**known, **stored["settings"]} == dataclasses.asdict(training.hp)
    same_learner = stored["learner"] == [method.learner, method.weight]
    same_data = (stored["data"], stored["code"]["version"]) == (fingerprint, VERSION)
    return settings and same_learner and same_data


def work(training: Training) -> None:
    """One run: it writes outcome.json, and all that it prints into log.txt."""
    folder = run_dir(training.name)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "a") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            outcome = execute(training)
        except UserError as error:
            outcome = {"failed": str(error)}
        except Exception as error:
            traceback.print_exc()
            outcome = {"failed": f"{type(error).__name__}: {error} (see {folder / 'log.txt'})"}
    write_json(folder / OUTCOME, outcome)


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
    """{method: {seeds, metrics: {name: {mean, ci95, n, differences}}}} of the runs of one split.

    Intervals are over seeds, those of swaps and gains over outfits, too. The differences {other:
    {mean, ci95, n}} to the method's references are between runs with the same seed, with intervals
    over seeds.
    """
    by_method: dict[str, dict[int, Mapping]] = {}
    for run in runs:
        by_method.setdefault(run["method"], {})[run["seed"]] = run
    found = {}
    for method in filter(by_method.get, METHODS):
        of_seed, metrics = by_method[method], {}
        for name in dict.fromkeys(name for run in of_seed.values() for name in run["metrics"]):
            present = {k: run for k, run in of_seed.items() if name in run["metrics"]}
            metrics[name] = over_seeds(name, list(present.values()))
            values = {k: run["metrics"][name] for k, run in present.items()}
            differences = {
                other: paired
                for other in METHODS[method].references
                if (paired := difference(name, values, by_method.get(other, {})))
            }
            metrics[name]["differences"] = differences
        found[method] = {"seeds": sorted(of_seed), "metrics": metrics}
    return found


def over_seeds(name: str, runs: Sequence[Mapping]) -> dict[str, object]:
    """{mean, ci95, n} of a metric. No interval of a share leaves 0 to 100 %."""
    values = [run["metrics"][name] for run in runs]
    if name not in runs[0]["ci95"]:
        mean, *interval = t_interval(values)
        interval = np.clip(interval, 0, 100).tolist() if name.endswith("%") else interval
        return interval_entry(values, mean, *interval)
    intervals = [run["ci95"][name] for run in runs]
    return interval_entry(values, *training_interval(values, intervals, runs[0]["outfits"]))


def difference(
    name: str, values: Mapping[int, float], others: Mapping[int, Mapping]
) -> dict[str, object] | None:
    """Of {seed: value} of a metric to that of the other method's runs; None without a pair."""
    pairs = [
        value - others[seed]["metrics"][name]
        for seed, value in values.items()
        if name in others.get(seed, {}).get("metrics", {})
    ]
    return interval_entry(pairs, *t_interval(pairs)) if pairs else None


def interval_entry(
    values: Sequence[float], mean: float, low: float, high: float
) -> dict[str, object]:
    """A single value has no interval."""
    return {"mean": mean, "ci95": [low, high] if len(values) > 1 else None, "n": len(values)}


def shown(entry: Mapping | None, digits: int) -> str:
    if entry is None:
        return "–"
    mean, interval = fixed(entry["mean"], digits), entry["ci95"]
    return mean if interval is None else f"{mean} ({ends(interval, digits)})"


def ends(interval: Sequence[float], digits: int) -> str:
    return span(*(fixed(end, digits) for end in interval))


def metric_rows(methods: Collection[Mapping]) -> list[list[str]]:
    """A row for each metric of SHOWN, a column for each of the methods."""
    return [
        [name, *(shown(each["metrics"].get(name), digits) for each in methods)]
        for name, digits in SHOWN.items()
    ]


def study_tables(groups: Sequence[Mapping]) -> list[dict]:
    """A table for each group, a column for each method."""
    return [
        {
            "caption": f"Mean (95 %): {split_name(group)}.",
            "head": ["", *(heading(*each) for each in group["methods"].items())],
            "rows": metric_rows(group["methods"].values()),
        }
        for group in groups
    ]


def split_name(group: Mapping) -> str:
    number = f" {group['split_seed']}" if group["split_seed"] else ""
    return f"{SOURCE_NAMES[group['source']]}, split by {group['split']}{number}"


def heading(name: str, method: Mapping) -> str:
    seeds = len(method["seeds"])
    return f"“{name}”, {seeds} seed{'s' if seeds > 1 else ''}"


def presets_table(groups: Sequence[Mapping]) -> Table:
    """Presets `fast` and `long` on both sources, for the README."""
    columns = {
        f"{SOURCE_NAMES[group['source']]}, {heading(name, method)}": method
        for group in groups
        if (group["split"], group["split_seed"]) == ("identity", 0)
        for name, method in group["methods"].items()
        if name in PRESETS and name != TRIAL
    }
    return ["mean (95 %)", *columns], metric_rows(columns.values())


def study_finding(groups: Sequence[Mapping]) -> list[str]:
    """Each method's swaps, and by how much they differ from those of its references."""
    text = []
    for group in groups:
        for name, each in group["methods"].items():
            entry = each["metrics"]["swap, dB"]
            text.append(
                f"Swaps of {heading(name, each)}, reach {shown(entry, 1)} dB ({split_name(group)})."
            )
            for reference, paired in entry["differences"].items():
                text.append(_compared(name, reference, paired))
    return text


def _compared(name: str, reference: str, paired: Mapping) -> str:
    mean, interval = paired["mean"], paired["ci95"]
    if interval is None:
        return f"One pair of runs says nothing about its difference to “{reference}”."
    if min(interval) > 0 or max(interval) < 0:
        better = "better" if mean > 0 else "worse"
        size = f"{fixed(abs(mean), 2)} dB ({ends(sorted(map(abs, interval)), 2)})"
        return f"That is {size} {better} than “{reference}”."
    value = f"{fixed(mean, 2)} dB ({ends(interval, 2)})"
    return f"It is not shown that “{name}” and “{reference}” differ: {value}."


def describe(runs: Sequence[Mapping]) -> dict:
    """The content of the JSON file: all runs, and what the report shows of them."""
    groups = groups_of([run for run in runs if run["method"] in STUDIED])
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


def keep_pictures(training: Training, path: Path) -> None:
    """Add the swaps of a run, if it kept some, to those of other methods: {method: images}."""
    examples = run_dir(training.name) / EXAMPLES
    if examples.exists():
        kept = read_arrays(path) if path.exists() else {}
        found = read_arrays(examples)
        write_arrays(path, {**kept, training.method: found.pop("swap"), **found})


def make_executor(options: argparse.Namespace) -> Executor:
    if options.executor == "local":
        return LocalExecutor(work, options.processes or os.cpu_count() or 1)
    return ClusterExecutor(work, "slurm", run_dir("study-jobs"), options.parameters)


def main() -> None:
    prog, summary_line = "python -m benchmarks.study", (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=prog, description=summary_line, allow_abbrev=False)
    add = parser.add_argument
    add("--sources", nargs="+", choices=SOURCES, default=["drawn"])
    add("--methods", nargs="+", metavar="METHOD", default=[], help="default: all of the study")
    add("--search", nargs="+", metavar="METHOD", default=[], help="what chooses settings of rivals")
    add("--split", choices=SPLITS, default="identity")
    add("--split-seed", type=int, default=0)
    add("--seeds", type=int, default=3, help="trainings of each method (default: %(default)s)")
    add("--first-seed", type=int, default=0, help="(default: %(default)s)")
    add("--executor", choices=("local", "slurm"), default="local", help="default: %(default)s")
    add("--processes", type=int, help="local runs at once, one core each (default: the cores)")
    add("--parameters", type=json.loads, default={}, metavar="JSON", help="of jobs, for submitit")
    add("--json", type=Path, metavar="PATH", required=True, help="results; a CSV lies beside them")
    options = parser.parse_args()
    if options.seeds < 1 or (options.processes or 1) < 1:
        raise UserError("--seeds and --processes must be at least 1")
    if not isinstance(options.parameters, dict):
        raise UserError(f"--parameters takes a JSON object, not {options.parameters}")
    methods = chosen_methods(options.methods, options.search)
    prints = {source: create_sprites(source).fingerprint for source in options.sources}

    seeds = range(options.first_seed, options.first_seed + options.seeds)
    planned = [
        Training(method, source, options.split, options.split_seed, seed)
        for seed, source, method in product(seeds, options.sources, methods)
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
        if (training.split, training.split_seed, training.seed) == ("identity", 0, 0):
            keep_pictures(training, options.json.with_suffix(".npz"))

    print(f"{len(planned) - len(missing)} of {len(planned)} runs are finished", flush=True)
    failed = run_all(missing, make_executor(options), store) if missing else {}
    if kept:
        print("\n".join(describe(list(kept.values()))["finding"]))
    if failed:
        reasons = "; ".join(f"{training.name}: {why}" for training, why in failed.items())
        raise UserError(f"{len(failed)} of {len(planned)} runs failed: {reasons}")


if __name__ == "__main__":
    with cli_errors("benchmarks.study"):
        main()
