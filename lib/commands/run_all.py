"""`./run_all.sh`: the notebooks in order, without a browser, and then the report."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lib.config import PRESETS, check_processes, check_seed, make_hparams
from lib.data import mnist, sources
from lib.data.folder import POSES, SIZE, folder_stamp
from lib.data.splits import SPLITS
from lib.data.stored import SOURCES
from lib.report import build, results, study
from lib.system.arguments import Parser
from lib.system.errors import UserError, cli_errors
from lib.system.files import exclusive_lock
from lib.system.paths import NOTEBOOKS, ROOT, run_dir, run_name, shown_path
from lib.system.processes import allow_open_files

TRAINED = ("model.pt", "checkpoint.pt")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options of run_all.sh; an unknown one ends the process with a sentence and status 2."""
    parser = Parser(
        "run_all.sh",
        "Run the notebooks in order, then typeset report.pdf.",
        "--jupyter, alone, opens the notebooks in JupyterLab in the same environment."
        " swap MODEL A.png B.png OUT.png swaps two images; swap --help says more.",
    )
    helps = {
        "source": "drawn by code, 2D Sprites, digits of scikit-learn, MNIST, or a folder of yours"
        " (default: sprites where an archive is present, else drawn)",
        "archive": "the archive of 2D Sprites, or a folder with its files (default: data/raw)",
        "images": "your folder: PATH/<identity>/<image>.png, .jpg or .webp",
        "size": "pixels that each side of your images is scaled to (default: 64)",
        "background": "behind transparent and beside narrow images of yours (default: black)",
        "poses": "whether equal file names mean equal poses in your folder (default: names)",
        "download": "download the archive, or MNIST, into data/raw first",
        "preset": "hyper-parameters (default: %(default)s)",
        "split": "what is held out: identities, clusters of them (of sprites: outfits, identities"
        " in all skins), or images (default: identity; of digits and mnist: image)",
        "split-seed": "draws what is held out, the swaps and the probes (default: %(default)s)",
        "seed": "draws the weights and the batches (default: %(default)s)",
        "set": "a hyper-parameter; repeatable",
        "run": "folder under reports/ (default: named after the settings)",
        "device": "default: the first of cuda, mps and cpu",
        "processes": "train in N processes that share each batch (default: 1)",
        "from": "the notebook to start at",
        "fresh": "delete the results of the run of this name, and start again",
        "store-outputs": "also refresh notebooks/ and reports/_committed, to commit them",
    }

    def add(name: str, **settings: object) -> None:
        parser.add_argument(f"--{name}", help=helps[name], **settings)

    add("source", choices=SOURCES)
    add("archive", type=Path, metavar="PATH")
    add("images", type=_path, metavar="PATH")
    add("size", type=int, metavar="PIXELS")
    add("background", metavar="COLOUR")
    add("poses", choices=POSES)
    add("download", action="store_true")
    add("preset", choices=tuple(PRESETS), default="fast")
    add("split", choices=SPLITS)
    add("split-seed", type=int, default=0, metavar="N")
    add("seed", type=int, default=0, metavar="N")
    add("set", action="append", default=[], metavar="NAME=VALUE", dest="overrides")
    add("run", metavar="NAME")
    add("device", choices=("cpu", "cuda", "mps"))
    add("processes", type=int, default=1, metavar="N")
    add("from", dest="start", choices=[name[:2] for name in NOTEBOOKS], default="01")
    add("fresh", action="store_true")
    add("store-outputs", action="store_true")
    return parser.parse_args(arguments)


def _path(text: str) -> Path:
    """An empty one would be the working directory, as where a variable of the shell is unset."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: give the path of your images")
    return Path(text)


def run_all(options: argparse.Namespace) -> Path:
    """Run what the options ask for; returns the path of report.pdf. Raises UserError."""
    overrides = _check(options)
    allow_open_files()
    from lib.method.networks import check_size  # torch takes seconds to import
    from lib.system.devices import choose_device

    os.environ["CYCLE_VAE_DEVICE"] = str(choose_device(options.device))
    if options.download and options.source == "mnist":
        mnist.download_mnist()
    elif options.download:
        options.archive = sources.download_archive()
    if options.archive:
        os.environ["CYCLE_VAE_ARCHIVE"] = str(options.archive.absolute())
    folder = _folder(options)
    named = options.source or ("folder" if folder else "sprites" if options.archive else None)
    source = named or sources.default_source()
    if source == "drawn" and not options.source:
        _say("no archive of 2D Sprites is present: the sprites are drawn by code (--source drawn)")

    preset, seed, split, split_seed = (
        options.preset,
        options.seed,
        options.split or sources.default_split(source),
        options.split_seed,
    )
    stored = sources.stored_name(source, folder)
    if folder:  # what is wrong there is said before a notebook starts
        folder_stamp(**folder)
        check_size(make_hparams(preset, **overrides), folder.get("size", SIZE))
    held_out = "identity" if split == sources.default_split(source) else split
    run = options.run or run_name(stored, preset, seed, overrides, held_out, split_seed)
    settings = {
        "source": source,
        "folder": folder,
        "preset": preset,
        "split": split,
        "split_seed": split_seed,
        "seed": seed,
        "overrides": overrides,
        "run": run,
    }
    remedy = "wait until it is done, or name this one with --run"
    with exclusive_lock(run_dir(run), f"at work on run '{run}'", remedy):
        return _run(options, settings)


def _folder(options: argparse.Namespace) -> dict[str, object]:
    """The arguments of `lib.data.folder.read_folder` that the options give."""
    if options.images is None:
        return {}
    given = {name: getattr(options, name) for name in ("size", "background", "poses")}
    set_by_user = {name: value for name, value in given.items() if value is not None}
    return {"path": str(options.images.absolute()), **set_by_user}


def _check(options: argparse.Namespace) -> dict[str, str]:
    """The overrides of --set, after all options were checked."""
    overrides = {}
    for text in options.overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set takes NAME=VALUE, not '{text}'")
        overrides[name.strip()] = value.strip()
    hp = make_hparams(options.preset, **overrides)
    check_seed(options.seed)
    check_seed(options.split_seed, "split_seed")
    check_processes(options.processes, hp)
    if options.fresh and options.start != "01":
        raise UserError("--fresh starts again from the first notebook: leave out --from")
    if options.source in ("drawn", "digits", "folder") and (options.archive or options.download):
        raise UserError(
            f"--source {options.source} needs no archive: leave out --archive and --download, or"
            " say --source sprites"
        )
    if options.images is not None:
        if options.source not in (None, "folder"):
            raise UserError(f"--images is for --source folder, not for {options.source}")
        if options.archive or options.download:
            raise UserError("--images and --archive or --download name two sources: leave one out")
    given = [name for name in ("size", "background", "poses") if getattr(options, name) is not None]
    if given and options.images is None:
        raise UserError(f"--{given[0]} is for a folder of yours: give --images PATH, too")
    return {name: str(getattr(hp, name)) for name in overrides}


def _run(options: argparse.Namespace, settings: dict) -> Path:
    # jsonschema checks notebooks. With this package it builds a grammar of URLs for seconds.
    sys.modules.setdefault("rfc3987_syntax", None)
    from lib.commands import notebooks  # papermill takes seconds to import

    run, folder = settings["run"], run_dir(settings["run"])
    if options.start > "02":
        _check_same_settings(settings, "leave out --from")
    elif not options.fresh and any((folder / name).exists() for name in TRAINED):
        # before notebook 1 writes its results over those of the other run
        _check_same_settings(settings, "start afresh with --fresh")
    if options.fresh and folder.exists():
        shutil.rmtree(folder)
    described = "run '{run}' ({source}, preset {preset}, seed {seed}".format(**settings)
    usual = sources.default_split(settings["source"])
    if (settings["split"], settings["split_seed"]) != (usual, 0):
        described += ", split by {split}, split seed {split_seed}".format(**settings)
    _say(f"{described}) into {shown_path(folder)}")

    names = NOTEBOOKS if study.is_measured() else NOTEBOOKS[:-1]
    if names != NOTEBOOKS:
        _say(f"{NOTEBOOKS[-1]} is left out: benchmarks/study.json compares no methods")
    for number, name in enumerate(names, 1):
        if name[:2] < options.start:
            continue
        if number == 2 and options.processes > 1:
            _train(settings, options.processes)
        _say(f"{name} ({number} of {len(names)})")
        parameters = settings if number <= 2 else {"run": run}
        seconds = notebooks.execute(name, folder / "notebooks", parameters, options.preset)
        _save_time(run, name, seconds)
        _say(f"{name} took {seconds:.0f} s")
    pdf = build.build_report(run)

    if options.store_outputs:
        if settings["source"] == "drawn":
            for name in names:
                executed = folder / "notebooks" / f"{name}.ipynb"
                notebooks.store_outputs(executed, ROOT / "notebooks" / f"{name}.ipynb")
        else:
            _say("notebook outputs are not stored, since they show the art of the archive")
        build.store_committed(run)
    _say(f"done: {shown_path(pdf)}")
    return pdf


def _check_same_settings(settings: dict, remedy: str) -> None:
    stored = results.read_results(settings["run"])
    different = [
        f"{name} {stored[name]}, not {value}"
        for name, value in settings.items()
        if stored.get(name, value) != value
    ]
    if different:
        raise UserError(
            f"run '{settings['run']}' has {'; '.join(different)}: name another with --run, or"
            f" {remedy}"
        )


def _save_time(run: str, name: str, seconds: float) -> None:
    """Store how long a notebook took, unless it only loaded a training that took longer."""
    stored = results.read_results(run)
    times = stored.get("times", {})
    loaded = name == "02_train" and seconds < stored["training"]["seconds"]
    if name not in times or not loaded:
        results.save_results(run, "times", times={**times, name: seconds})


def _train(settings: dict, processes: int) -> None:
    """Train in several processes, so that notebook 2 finds the run finished."""
    _say(f"training in {processes} processes")
    names = ("preset", "split", "split_seed", "seed")
    stored = sources.stored_name(settings["source"], settings["folder"])
    command = [sys.executable, "-P", "-m", "lib.commands.train", settings["run"]]
    command += [f"--source={stored}"]
    command += [f"--{name.replace('_', '-')}={settings[name]}" for name in names]
    command += [f"--overrides={json.dumps(settings['overrides'])}", f"--processes={processes}"]
    if subprocess.run(command).returncode:
        raise UserError(
            "the training stopped for the reason above: run the same command again to resume"
        )


def _say(sentence: str) -> None:
    print(f"== {sentence}", flush=True)


def main() -> None:
    with cli_errors("run_all.sh"):
        run_all(parse_arguments(sys.argv[1:]))


if __name__ == "__main__":
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    main()
