"""Compare methods: the same data, split, swaps and number of images, over several training seeds.

    .venv/bin/python -m benchmarks.study --sources sprites drawn --methods fast long \
        --json benchmarks/study.json

A run is one training of one method, and what was measured of it. A finished run stands in the JSON
file and is not repeated; a stopped one goes on from its checkpoint in `reports/study-*/`. A run
that fails is listed, and the others go on. METHODS names the settings of each method. Differences
between methods are paired by seed.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.comparison import describe, tidy
from benchmarks.executors import (
    OUTCOME,
    ClusterExecutor,
    Executor,
    LocalExecutor,
    Progress,
    progress_path,
    run_all,
)
from benchmarks.methods import METHODS, chosen_methods
from lib.config import HParams
from lib.data.image_set import ImageSet
from lib.data.images import to_uint8
from lib.data.sources import create_images
from lib.data.splits import SPLITS, split_images
from lib.data.stored import SPRITE_SOURCES, load_images
from lib.evaluation import baselines, probes, swaps
from lib.evaluation.codes import encode_all
from lib.method.runs import Run, new_run
from lib.method.training import fit
from lib.report.findings import REMEMBERING
from lib.report.numbers import (
    CODE_NAMES,
    attribute_probes,
    chosen_probe,
    leaks,
    plain,
    psnr_interval,
)
from lib.report.results import origin
from lib.report.summary import leak_rows
from lib.system.arguments import Parser
from lib.system.devices import choose_device
from lib.system.errors import UserError, cli_errors
from lib.system.files import atomic_write, read_arrays, read_json, write_arrays, write_json
from lib.system.paths import run_dir

VERSION = 1  # see `lib.report.results.VERSION`
EXAMPLES, PICTURED = "examples.npz", 8  # swaps of each run that are kept as pictures


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
        settings = f"{VERSION} {self.hp} {method.key}"
        digest = hashlib.sha256(settings.encode()).hexdigest()[:6]
        return "-".join(["study", *map(str, self), digest])

    @property
    def hp(self) -> HParams:
        return METHODS[self.method].hp


def execute(training: Training) -> dict[str, object]:
    """Train, or load what is trained, and measure.

    Returns: what the JSON file keeps of the run.
    """
    method, dataset = METHODS[training.method], load_images(training.source)
    parts = split_images(dataset, training.split, training.split_seed)
    found = {"device": "cpu", "seconds": 0.0, "curve": []}
    if method.predictor:
        found |= measure_predictor(method.predictor, training, dataset, parts)
    else:
        run = train(training, dataset, parts)
        found = {"device": run.device, "seconds": run.seconds, "curve": curve(run)}
        found |= measure(run, dataset, parts, bool(method.chooses))
    return {
        **training._asdict(),
        "settings": dataclasses.asdict(training.hp),
        "learner": method.key,
        "data": dataset.fingerprint,
        **found,
        "code": origin(VERSION),
    }


def train(training: Training, dataset: ImageSet, parts: Mapping[str, np.ndarray]) -> Run:
    method, hp, seed = METHODS[training.method], training.hp, training.split_seed
    watched = swaps.validation_swaps(dataset, parts["validation"], hp, seed)

    def follow(row: dict[str, float]) -> None:
        done = Progress(int(row["images"]), row["seconds"])
        write_json(progress_path(training), done._asdict())

    run = new_run(training.name, dataset, method.preset, training.seed, hp, training.split, seed)
    monitor = swaps.swap_monitor(dataset, watched)
    device = choose_device(method.device)
    return fit(run, dataset, parts["train"], device, monitor, follow, method.make_learner)


def curve(run: Run) -> list[list[float]]:
    """[images, PSNR of validation swaps] of each measurement during the training."""
    rows = [row for row in run.history if "validation_swap" in row]
    return [[row["images"], swaps.psnr(row["validation_swap"])] for row in rows]


def measure(
    run: Run, dataset: ImageSet, parts: Mapping[str, np.ndarray], only_validation: bool
) -> dict[str, object]:
    """The metrics of a trained run: errors of swaps in dB, accuracies and leaks in %.

    Returns: {"metrics": {name: value}, "ci95": {name: [low, high]} of some of them, over so many
        "outfits"}.
    """
    hp, seed = run.hp, run.split_seed
    codes = encode_all(run, dataset)

    def decibels(which: swaps.Swaps, s_images: np.ndarray | None = None) -> float:
        predict = swaps.swap_predictor(run.model, codes, which, s_images)
        return swaps.psnr(swaps.errors_in_chunks(dataset, which, predict)[:, 0].mean())

    validation = swaps.sample_swaps(dataset, parts["validation"], hp.swap_samples, seed)
    found = {"validation swap, dB": decibels(validation)}
    if only_validation:
        return {"metrics": found, "ci95": {}, "outfits": 0}
    chosen, simple = test_swaps(dataset, parts, hp, seed)
    predict = swaps.swap_predictor(run.model, codes, chosen)
    scored, errors = score_swaps(dataset, chosen, predict)
    found |= scored["metrics"]
    found |= {
        "swap with s from four images, dB": decibels(
            chosen, swaps.several_s_images(dataset, chosen, seed)
        ),
        "reconstruction, dB": decibels(chosen.reconstructions),
        "KL, nats": run.history[-1]["kl"],
    }
    if dataset.source == "drawn":  # of the archive, no picture is kept
        write_arrays(run.folder / EXAMPLES, pictures(dataset, chosen, predict))
    for name in REMEMBERING:
        others = swaps.errors_in_chunks(dataset, chosen, simple[name])
        gain = swaps.paired_gain(dataset, chosen, errors, others)
        name = f"gain over {plain(name)}, dB"
        found[name], scored["ci95"][name] = gain["db"], gain["ci95"]
    few = chosen.first(hp.swap_samples // 2)
    for name, part in swaps.part_scores(dataset, few, predict).items():
        found[f"{name} nearer to the s image, %"] = 100 * part["score"]
    found |= read_codes(probes.fit_all(codes._asdict(), dataset, parts, hp, seed))
    return {**scored, "metrics": found}


def measure_predictor(
    name: str, training: Training, dataset: ImageSet, parts: Mapping[str, np.ndarray]
) -> dict[str, object]:
    """As `measure`, of a simple predictor: the errors of its swaps alone."""
    chosen, simple = test_swaps(dataset, parts, training.hp, training.split_seed)
    scored, _ = score_swaps(dataset, chosen, simple[name])
    if dataset.source == "drawn":
        folder = run_dir(training.name)
        write_arrays(folder / EXAMPLES, pictures(dataset, chosen, simple[name]))
    return scored


def test_swaps(
    dataset: ImageSet, parts: Mapping[str, np.ndarray], hp: HParams, seed: int
) -> tuple[swaps.Swaps, dict[str, swaps.Predict]]:
    """The test swaps, the same for every method, and what the simple predictors show."""
    chosen = swaps.sample_swaps(dataset, parts["test"], hp.swap_samples, seed)
    watched = swaps.validation_swaps(dataset, parts["validation"], hp, seed)["validation_swap"]
    neighbours = baselines.choose_neighbours(dataset, parts["train"], watched)
    return chosen, baselines.predictors(dataset, parts["train"], chosen, neighbours)


def score_swaps(
    dataset: ImageSet, chosen: swaps.Swaps, predict: swaps.Predict
) -> tuple[dict[str, object], np.ndarray]:
    """What `measure` returns of the errors of swaps alone, and the errors."""
    score, errors = swaps.swap_scores(dataset, chosen, predict)
    metrics = {"swap, dB": score["psnr"], "swap, SSIM": score["ssim"]}
    outfits = len(np.unique(np.concatenate(chosen.clusters(dataset))))
    intervals = {"swap, dB": psnr_interval(score)}
    return {"metrics": metrics, "ci95": intervals, "outfits": outfits}, errors


def pictures(
    dataset: ImageSet, chosen: swaps.Swaps, predict: swaps.Predict
) -> dict[str, np.ndarray]:
    """uint8 images (PICTURED, 60, 60, 3) of the first swaps: what each begins with, and shows."""
    first = slice(0, PICTURED)
    shown = {name: dataset.images[index[first]] for name, index in chosen._asdict().items()}
    return {**shown, "swap": to_uint8(predict(first))}


def read_codes(entries: list[dict]) -> dict[str, float]:
    """{metric: %} the accuracies of probes, and leaks; without those that are no evidence."""
    asked = {
        "identity from s": ("s", "identity"),
        "pose from z (mean)": ("z_mu", "pose"),
        "pose from z (sampled)": ("z", "pose"),
        **{f"{target} from s": ("s", target) for target in leaks(entries, "s")},
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
    same_learner = stored["learner"] == method.key
    same_data = (stored["data"], stored["code"]["version"]) == (fingerprint, VERSION)
    return settings and same_learner and same_data


def read_runs(path: Path) -> dict[Training, dict]:
    """The stored runs. Raises: UserError for a file that is none of a study."""
    stored = read_json(path, "remove it, and measure all runs again")
    try:
        return {Training(*(run[name] for name in Training._fields)): run for run in stored["runs"]}
    except (KeyError, TypeError):
        raise UserError(f"{path} is not of a study: name another file, or remove it") from None


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


def keep_pictures(training: Training, path: Path) -> None:
    """Add the swaps of a run, if it kept some, to those of other methods, in their order.

    The file has {method: images}, and what all swaps begin with (see `pictures`).
    """
    examples = run_dir(training.name) / EXAMPLES
    if examples.exists():
        kept = read_arrays(path) if path.exists() else {}
        found = read_arrays(examples)
        kept[training.method] = found.pop("swap")
        write_arrays(path, {**found, **{name: kept[name] for name in METHODS if name in kept}})


def make_executor(options: argparse.Namespace) -> Executor:
    if options.executor == "local":
        return LocalExecutor(work, options.processes or os.cpu_count() or 1)
    return ClusterExecutor(work, "slurm", run_dir("study-jobs"), options.parameters)


def main() -> None:
    parser = Parser("python -m benchmarks.study", __doc__)
    add = parser.add_argument
    add("--sources", nargs="+", choices=SPRITE_SOURCES, default=["drawn"])
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
    prints = {source: create_images(source).fingerprint for source in options.sources}

    seeds = range(options.first_seed, options.first_seed + options.seeds)
    planned = [
        Training(method, source, options.split, options.split_seed, seed)
        for seed, source, method in product(seeds, options.sources, methods)
    ]
    kept = {}
    if options.json.exists():
        kept = read_runs(options.json)
    missing = [
        training
        for training in planned
        if not (training in kept and is_current(kept[training], training, prints[training.source]))
    ]

    def store(training: Training, outcome: dict) -> None:
        kept[training] = outcome
        runs = [kept[each] for each in sorted(kept)]
        write_json(options.json, {**describe(runs), "code": origin(VERSION)})
        with atomic_write(options.json.with_suffix(".csv")) as file:
            file.write(tidy(runs, Training._fields).encode())
        if (training.split, training.split_seed, training.seed) == ("identity", 0, 0):
            keep_pictures(training, options.json.with_suffix(".npz"))

    print(f"{len(planned) - len(missing)} of {len(planned)} runs are finished", flush=True)
    failed = run_all(missing, make_executor(options), store) if missing else {}
    if kept:
        said = describe(list(kept.values()))
        print("\n".join([*said["finding"], *said.get("comparison", {}).get("finding", [])]))
    if failed:
        reasons = "; ".join(f"{training.name}: {why}" for training, why in failed.items())
        raise UserError(f"{len(failed)} of {len(planned)} runs failed: {reasons}")


if __name__ == "__main__":
    with cli_errors("benchmarks.study"):
        main()
