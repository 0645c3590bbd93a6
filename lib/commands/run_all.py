"""`./run_all.sh`: the five notebooks in order, headlessly, and then the report."""

import argparse
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TextIO

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from traitlets.config import Config

from lib.config import PRESETS, check_seed, make_hparams
from lib.data import sources
from lib.report import build, results
from lib.system.devices import choose_device
from lib.system.errors import ELSEWHERE, UserError, cli_errors
from lib.system.files import atomic_write, exclusive_lock
from lib.system.paths import ROOT, run_dir, run_name

NOTEBOOKS = (
    "01_create_sprites",
    "02_train",
    "03_style_transfer",
    "04_interpolation",
    "05_latent_classifiers",
)
CELL_SECONDS = {
    "paper": None,
    "long": None,
}  # the longest that a cell may take: no limit for a training of hours,


ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
DEFAULT_CELL_SECONDS = (
    4 * 3600
)  # else long enough for a slow laptop, short enough that a hanging kernel ends


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options of run_all.sh; an unknown one ends the process with a sentence and status 2."""
    parser = argparse.ArgumentParser(
        prog="run_all.sh",
        description=(
            "Re-run the whole report: five notebooks in order, then report.pdf. Killed, it goes on."
        ),
        epilog=(
            "With --jupyter alone it opens the notebooks in JupyterLab instead, in the same"
            " environment."
        ),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--source",
        choices=("drawn", "sprites"),
        help="drawn by code, or 2D Sprites (default: sprites where an archive is present)",
    )
    add(
        "--archive",
        type=Path,
        metavar="PATH",
        help="the archive, or a folder that holds it extracted (default: data/raw)",
    )
    add("--download", action="store_true", help="fetch the archive into data/raw first")
    add(
        "--preset",
        choices=tuple(PRESETS),
        default="fast",
        help="hyper-parameters (default: %(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seeds split, weights, batches and probes (default: %(default)s)",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="overrides",
        help="a hyper-parameter; repeatable",
    )
    add("--run", metavar="NAME", help="folder under reports/ (default: named after the settings)")
    add(
        "--device",
        choices=("cpu", "cuda", "mps"),
        help="default: the first of cuda, mps, cpu that is here",
    )
    add(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="train in N processes that share each batch (default: 1)",
    )
    add(
        "--from",
        dest="start",
        choices=[name[:2] for name in NOTEBOOKS],
        default="01",
        help="the notebook to start at",
    )
    add(
        "--fresh",
        action="store_true",
        help="forget what the run of this name has done and start again",
    )
    add(
        "--store-outputs",
        action="store_true",
        help="also refresh notebooks/ and reports/_committed, to commit them",
    )
    return parser.parse_args(arguments)


def run_all(options: argparse.Namespace) -> Path:
    """Run what the options ask for and return the path of report.pdf. Raises `UserError`."""
    overrides = {}
    for text in options.overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set takes NAME=VALUE, not '{text}'")
        overrides[name.strip()] = value.strip()
    make_hparams(options.preset, **overrides)
    if options.processes < 1:
        raise UserError(f"--processes takes a whole number from 1, not {options.processes}")
    check_seed(options.seed)
    if options.fresh and options.start != "01":
        raise UserError("--fresh starts again from the first notebook: leave out --from")
    if options.source == "drawn" and (options.archive or options.download):
        raise UserError(
            "--source drawn needs no archive: leave out --archive and --download, or say --source"
            " sprites"
        )
    os.environ["CYCLE_VAE_DEVICE"] = str(choose_device(options.device))
    if options.download:
        options.archive = sources.download_archive()
    if options.archive:
        os.environ["CYCLE_VAE_ARCHIVE"] = str(options.archive.resolve())
    source = options.source or ("sprites" if options.archive else sources.default_source())
    if source == "drawn" and not options.source:
        _say("no archive of 2D Sprites is present: the sprites are drawn by code (--source drawn)")
    run = options.run or run_name(source, options.preset, options.seed, overrides)
    with exclusive_lock(
        run_dir(run),
        f"at work on run '{run}'",
        "wait until it is done, or name this one with --run",
    ):
        return _run(options, source, overrides, run)


def _run(options: argparse.Namespace, source: str, overrides: dict[str, str], run: str) -> Path:
    folder = run_dir(run)
    settings = {
        "source": source,
        "preset": options.preset,
        "seed": options.seed,
        "overrides": overrides,
        "run": run,
    }
    if options.start > "02":
        stored = results.read_results(run)
        differing = [
            f"{name} {stored[name]}, not {value}"
            for name, value in settings.items()
            if stored.get(name, value) != value
        ]
        if differing:
            raise UserError(
                f"run '{run}' has {'; '.join(differing)}: name another with --run, or leave out"
                " --from"
            )
    if options.fresh and folder.exists():
        shutil.rmtree(folder)
    _say(
        f"run '{run}' ({source}, preset {options.preset}, seed {options.seed}) into"
        f" {_shown(folder)}"
    )
    for number, name in enumerate(NOTEBOOKS, 1):
        if name[:2] >= options.start:
            parameters = settings if number <= 2 else {"run": run}
            if number == 2 and options.processes > 1:
                _train(settings, options.processes)
            _say(f"{name} ({number} of {len(NOTEBOOKS)})")
            seconds = _execute(
                name,
                folder / "notebooks",
                parameters,
                CELL_SECONDS.get(options.preset, DEFAULT_CELL_SECONDS),
            )
            done = results.read_results(run)
            times = done.get("times", {})
            if name not in times or not _reused_training(name, seconds, done):
                results.save_results(run, "times", times={**times, name: seconds})
            _say(f"{name} took {seconds:.0f} s")
    pdf = build.build_report(run)
    if options.store_outputs:
        if source == "drawn":
            for name in NOTEBOOKS:
                _store_outputs(
                    folder / "notebooks" / f"{name}.ipynb", ROOT / "notebooks" / f"{name}.ipynb"
                )
        else:
            _say("notebook outputs are not stored, since they show the art of the archive")
        build.store_committed(run)
    _say(f"done: {_shown(pdf)}")
    return pdf


def _train(settings: dict, processes: int) -> None:
    """Train as torchrun would, so that notebook 2 finds the run finished. Raises `UserError` where
    a process failed.
    """
    _say(f"training in {processes} processes")
    os.environ.setdefault(
        "TORCH_CPP_LOG_LEVEL", "ERROR"
    )  # else a warning that the forward cycle leaves no parameter unused
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        run_id=settings["run"],
    )
    logging.getLogger("torch.distributed.elastic").setLevel(
        logging.CRITICAL
    )  # the process that failed says why
    try:
        options = [f"--{name}={settings[name]}" for name in ("source", "preset", "seed")]
        options.append(f"--overrides={json.dumps(settings['overrides'])}")
        elastic_launch(config, sys.executable)(
            "-m", "lib.commands.train", settings["run"], *options
        )
    except SignalException as stopped:
        raise KeyboardInterrupt(stopped.sigval) from None
    except ChildFailedError as error:
        stopped = f"{len(error.failures)} of {processes} processes"
        raise UserError(
            f"the training stopped in {stopped}, for the reason above: the same command goes on"
            " from there"
        ) from None


def main() -> None:
    with cli_errors("run_all.sh"):
        run_all(parse_arguments(sys.argv[1:]))


def _execute(name: str, folder: Path, parameters: dict, cell_seconds: int | None) -> float:
    """Run one notebook into `folder`, as .ipynb and .html, and return its seconds. Raises
    `UserError` naming a failed cell.
    """
    executed, unfinished = folder / f"{name}.ipynb", folder / f"{name}.unfinished.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        # The kernel's sockets lie in a folder that no other user of the machine can open, and leave
        # nothing in the notebooks'.
        with tempfile.TemporaryDirectory(prefix="cycle-vae-") as sockets:
            papermill.execute_notebook(
                ROOT / "notebooks" / f"{name}.ipynb",
                unfinished,
                parameters,
                kernel_name="python3",
                cwd=ROOT / "notebooks",
                progress_bar=False,
                stderr_file=_Progress(sys.stderr),
                start_timeout=120,
                execution_timeout=cell_seconds,
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            )
    except papermill.PapermillExecutionError as error:
        if error.ename == "UserError":
            raise UserError(f"{name}: {error.evalue}") from None
        tail = "\n".join(ANSI_COLOUR.sub("", "\n".join(error.traceback)).splitlines()[-6:])
        raise UserError(
            f"{name} failed in its cell {error.exec_count} with {error.ename}:"
            f" {error.evalue}\n{tail}\nThe executed copy is {_shown(unfinished)}."
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write {_shown(unfinished)} ({error.strerror or error}): {ELSEWHERE}"
        ) from None
    except (CellTimeoutError, DeadKernelError) as error:
        what = (
            "took too long"
            if isinstance(error, CellTimeoutError)
            else "ended its kernel, perhaps for want of memory"
        )
        raise UserError(f"{name} {what}: run the same command again to go on from there") from None
    seconds = round(time.monotonic() - started, 1)
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(
        nbformat.read(unfinished, as_version=4), {}
    )
    _shrink_pictures(notebook)
    html, _ = HTMLExporter(template_name="lab").from_notebook_node(notebook)
    for path, text in (
        (executed, nbformat.writes(notebook)),
        (executed.with_suffix(".html"), html),
    ):
        with atomic_write(path) as file:
            file.write(text.encode())
    unfinished.unlink()
    return seconds


def _shrink_pictures(notebook: nbformat.NotebookNode) -> None:
    """Give every PNG output a palette, which makes it a third of the size."""
    from lib.report.figures import palette_png  # here: matplotlib would slow down each start

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                output.data["image/png"] = b64encode(palette_png(b64decode(png))).decode()


def _reused_training(name: str, seconds: float, results: dict) -> bool:
    """Whether a notebook took less time than its training, which was then finished before: no time
    to report.
    """
    return name == "02_train" and seconds < results["training"]["seconds"]


def _store_outputs(executed: Path, source: Path) -> None:
    """Copy the outputs of an executed copy into the notebook it was made from, whose cells stay as
    they are.
    """
    done = [
        cell
        for cell in nbformat.read(executed, as_version=4).cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    notebook = nbformat.read(source, as_version=4)
    code = [
        (cell, old)
        for cell, old in zip(notebook.cells, done, strict=True)
        if cell.cell_type == "code"
    ]
    for count, (cell, old) in enumerate(code, 1):
        cell.outputs, cell.execution_count = old.outputs, count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    with atomic_write(source) as file:
        file.write((nbformat.writes(notebook).rstrip("\n") + "\n").encode())


class _Progress:
    """The kernel's progress bars, passed on to a terminal as they are and to a log as lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        self.stream.write(text if self.stream.isatty() else text.replace("\r", "\n"))

    def flush(self) -> None:
        self.stream.flush()


def _say(sentence: str) -> None:
    print(f"== {sentence}", flush=True)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    main()
