"""Causes each fault for real and checks what the user reads, the exit status, what is left, and that the same command recovers.

    ./run_tests.sh runs it; alone, after `source lib/system/environment.sh`: "$PYTHON" -m tests.faults [--markdown PATH] [GROUP ...]

The data are an archive of drawn sprites in the published format (`tests.archives`). A full or read-only disk is a tmpfs, which
takes root to mount; where that is refused, those rows say that they were not run.
"""

import argparse
import contextlib
import dataclasses
import functools
import http.server
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import escape as html_escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib.config import LOWEST, PRESETS, HParams, check_seed, make_hparams
from lib.data.archive import ARCHIVE, read_archive
from lib.data.sources import download_archive
from lib.system import paths
from lib.system.errors import UserError
from lib.system.paths import ROOT
from tests.archives import BAD_FILES, Mirror, bad_tars, write_archive, write_tar
from tests.system.test_setup import call, make_tree, require_tiny, start

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
NONE = "(none can be)"
MARKUP = "<img src=x onerror=alert(1)>"  # in the name of every archive
STOPPED = "stopped; the same command goes on from here"
SMALL = '--overrides={"architecture": "published", "batch_images": 16, "images_seen": 640}'
CHECKPOINT = 0.2  # seconds between two of such trainings
LITTLE = {
    "images_seen": 1_280,
    "batch_images": 16,
    "swap_samples": 100,
    "probe_images": 500,
    "probe_epochs": 1,
    "tsne_points": 100,
}
SECONDS = 200  # that anything may take


class Row(NamedTuple):
    fault: str
    sentence: str
    status: str
    left: str
    recovered: str


@dataclasses.dataclass
class Malicious:
    """A pickle that makes the file `touched` when it is loaded."""

    touched: Path

    def __reduce__(self):
        return os.system, (f"touch '{self.touched}'",)


class Ended(NamedTuple):
    status: int
    text: str

    @property
    def sentence(self) -> str:
        """The last line."""
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else ""


@dataclasses.dataclass
class Place:
    """A folder with data and reports of its own, and the commands as a user starts them there."""

    folder: Path
    archive: Path

    @property
    def environment(self) -> dict[str, str]:
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        own = {"CYCLE_VAE_DATA": self.data, "CYCLE_VAE_REPORTS": self.reports, "TMPDIR": self.folder / "tmp"}
        fixed = {"CYCLE_VAE_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT}
        return os.environ | {name: str(value) for name, value in (own | fixed).items()}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    def start(self, *command: object) -> subprocess.Popen:
        return subprocess.Popen(
            [str(part) for part in command],
            env=self.environment,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal, wherever this runs
        )

    def run(self, *command: object) -> Ended:
        process = self.start(*command)
        text, _ = process.communicate(timeout=SECONDS)
        return Ended(process.returncode, text)

    def run_all(self, run: str, *options: object) -> tuple[object, ...]:
        little = [f"--set={name}={value}" for name, value in LITTLE.items()]
        return ROOT / "run_all.sh", "--archive", self.archive, "--preset=smoke", *little, "--run", run, *options

    def launch(self, run: str, before: str = "") -> tuple[object, ...]:
        """A training of 40 steps, checkpointed every `CHECKPOINT` seconds, after the statement `before`."""
        code = f"import lib.method.training as t; t.CHECKPOINT_SECONDS, t.MONITORED_POINTS = {CHECKPOINT}, 1; {before}"
        code += "\nfrom lib.commands.train import main; main()"
        return sys.executable, "-P", "-c", code, "--source=sprites", "--preset=smoke", SMALL, run

    def python(self, code: str) -> tuple[object, ...]:
        """Statements as a command of this project."""
        return sys.executable, "-P", "-c", f"from lib.system.errors import command\nwith command('python'):\n    {code}"

    def done(self, *command: object) -> None:
        """Runs a command that must succeed."""
        ended = self.run(*command)
        assert ended.status == 0, ended.text[-1500:]

    def stopped(self, fault: str, ended: Ended, number: signal.Signals, recovered: str = "yes") -> Row:
        """The row of a command that the signal `number` ended, as it must."""
        if number == signal.SIGKILL:
            assert ended.status == -number, ended
            return Row(fault, NONE, str(ended.status), self.left(), recovered)
        expect(ended, 128 + number, STOPPED)
        return Row(fault, shown(ended.sentence), str(ended.status), self.left(), recovered)

    def create(self) -> tuple[object, ...]:
        """What notebook 1 does first: the data from the archive."""
        return self.python(f"from lib.data.sources import create_sprites; create_sprites('sprites', {str(self.archive)!r})")

    def make_data(self) -> None:
        self.done(*self.create())

    def stop_at(self, marker: str, number: signal.Signals, *command: object) -> Ended:
        """Sends the signal `number` when the command has said `marker`."""
        process, said = self.start(*command), ""
        watch = threading.Timer(SECONDS, process.kill)
        watch.start()
        while marker not in said and (piece := os.read(process.stdout.fileno(), 4096)):  # a progress bar ends no line
            said += piece.decode(errors="replace")
        process.send_signal(number)
        rest, _ = process.communicate(timeout=SECONDS)
        watch.cancel()
        assert marker in said, f"never said '{marker}': {said[-500:]}"
        self.wait_for_processes()
        return Ended(process.returncode, said + rest)

    def wait_for_processes(self) -> None:
        """Until none of this place is left, which takes a kernel a second after its parent was killed."""
        if not Path("/proc/self/environ").exists():
            time.sleep(5)
            return
        mark, until = f"CYCLE_VAE_REPORTS={self.reports}".encode(), time.monotonic() + 30
        while running := [p for p in Path("/proc").glob("[0-9]*") if mark in _content(p / "environ").split(b"\0")]:
            assert time.monotonic() < until, f"processes are left: {[_content(p / 'cmdline') for p in running]}"
            time.sleep(0.2)

    def left(self) -> str:
        """What lies in data and reports, after it was checked that whatever has its final name is whole."""
        found = []
        for path in sorted([*self.data.rglob("*"), *self.reports.rglob("*")]):
            if not path.is_file() or path.suffix == ".lock" or path.name.endswith(".partial") or "unfinished" in path.name:
                continue
            if path.suffix in (".json", ".ipynb"):
                json.loads(path.read_bytes())
            elif path.suffix == ".npz":
                np.load(path, allow_pickle=False)
            elif path.suffix == ".pt":
                torch.load(path, weights_only=True)
            elif path.suffix in ENDS:
                assert path.read_bytes().rstrip().endswith(ENDS[path.suffix]), f"{path} is not whole"
            found.append(path.name)
        kept = [name for name in ("sprites.npz", "checkpoint.pt", "model.pt", "results.json", "report.pdf") if name in found]
        return ", ".join(kept) or "nothing"


ENDS = {".pdf": b"%%EOF", ".png": b"IEND\xaeB`\x82", ".svg": b"</svg>", ".html": b"</html>"}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def shown(text: str, place: Place | None = None) -> str:
    text = text.replace(f"{place.folder}/", "") if place else text
    text = re.sub(r"/tmp/\S*/", ".../", text)
    return text if len(text) < 170 else text[:167] + "..."


def expect(ended: Ended, status: int, pattern: str) -> None:
    assert ended.status == status, f"status {ended.status}, not {status}: {ended.text[-800:]}"
    assert re.search(pattern, ended.sentence), f"not '{pattern}': {ended.text[-800:]}"
    assert "Traceback" not in ended.text, ended.text[-1500:]


def refused(call: Callable[[], object], pattern: str) -> str:
    """The one sentence with which a call refuses."""
    try:
        call()
    except UserError as error:
        sentence = str(error)
        assert re.search(pattern, sentence) and "\n" not in sentence, f"not '{pattern}': {sentence}"
        return sentence
    raise AssertionError("nothing was refused")


# Killed


def killed_pipeline(place: Place) -> Iterator[Row]:
    """Each signal in each stage of a run whose model collapses, then the same command to its end.

    Beside it goes the same run in a place of its own, where nothing ever stops it.
    """
    collapse = "--set", "reconstruction_weight=0"
    command = place.run_all("killed", *collapse)
    other = Place(place.folder / "never stopped", place.archive)
    aside = ThreadPoolExecutor(1)
    never = aside.submit(other.run, *other.run_all("killed", *collapse))
    aside.shutdown(wait=False)
    first = place.start(*command)
    assert "run 'killed'" in first.stdout.readline()
    first.send_signal(signal.SIGSTOP)
    second = place.run(*command)
    expect(second, 1, f"process {first.pid} is at work on run 'killed': wait until it is done, or name this one with --run")
    first.kill()
    first.communicate()
    place.wait_for_processes()
    yield Row("a second run of the same name at once", shown(second.sentence), "1", place.left(), "yes, once the first is gone")
    stages = {"archive": "reading the archive", "training": "training:", "notebook 3": "training the oracle"}
    for stage, marker in stages.items():
        for number in SIGNALS:
            notes = (stage, number) == ("training", signal.SIGINT)  # what the archive lacks, in its notebook 1
            if notes:  # a kernel outlives its killed parent by a second, in which it may have made the data
                (place.data / "sprites.npz").unlink(missing_ok=True)
            done = {"training": "02", "notebook 3": "03"}.get(stage, "01")  # where what is before is known to be done
            ended = place.stop_at(marker, number, *command, *() if number == signal.SIGINT else (f"--from={done}",))
            yield place.stopped(f"{number.name} in: {stage}", ended, number)
            if notes:
                html = (place.reports / "killed" / "notebooks" / "01_create_sprites.html").read_text()
                assert MARKUP not in html and html_escape(MARKUP) in html
                yield Row("markup in the name of the archive", "(shown as it is named)", "", "escaped HTML", "not needed")
    derived, touched = (
        {"judge": place.data / "sprites-oracle.pt", "codes": place.reports / "killed" / "codes.npz"},
        place.folder / "touched",
    )
    torch.save({"stamp": Malicious(touched)}, derived["judge"])
    np.savez(derived["codes"], stamp=np.array([Malicious(touched)], dtype=object))
    expect(place.run(*command), 0, "done: ")
    expect(never.result(), 0, "done: ")
    killed, unstopped = (json.loads((of.reports / "killed" / "results.json").read_text()) for of in (place, other))
    assert timeless(killed) == timeless(unstopped), "a run that was stopped nine times differs from one that never was"
    yield Row("all these, then the same command", "done: reports/killed/report.pdf", "0", place.left(), "equal results")
    assert not touched.exists() and torch.load(derived["judge"], weights_only=True)["weights"]
    assert np.load(derived["codes"], allow_pickle=False)["z"].any()
    for name, path in derived.items():
        yield Row(f"a malicious pickle as the {name} ({path.name})", "(made anew)", "0", "the new file", "equal results")
    failures = killed["failures"]
    assert re.search("z collapsed", failures[0]) and any("s is ignored, or little" in said for said in failures)
    said = shown("This run failed. " + " ".join(failures))
    yield Row("a collapsed model", said, "0", place.left(), "the report begins with it")

    pdf = place.reports / "killed" / "report.pdf"
    before = pdf.read_bytes()
    typeset = "from lib.report import build; build.build_report('killed')"
    for number in SIGNALS:
        kill = f"import os, typst; typst.compile_with_warnings = lambda *_, **__: os.kill(os.getpid(), {int(number)})"
        ended = place.run(*place.python(f"{kill}; {typeset}"))
        row = place.stopped(f"{number.name} in: typesetting", ended, number, "yes, the same bytes")
        assert pdf.read_bytes() == before
        place.done(*place.python(typeset))
        assert pdf.read_bytes() == before
        yield row
    if not may_mount(place.folder):
        return
    run = place.reports / "killed"
    shutil.move(run, place.folder / "kept")
    with small_disk(place.reports, "500m") as remount:
        shutil.copytree(place.folder / "kept", run)
        remount(f"size={sum(path.stat().st_blocks * 512 for path in run.rglob('*')) + 150_000}")
        ended = place.run(*place.python(typeset))
        assert pdf.read_bytes() == before
        row = full(place, "PDF", ended, place.left())
        remount("size=500m")
        place.done(*place.python(typeset))
        assert pdf.read_bytes() == before
        yield row


def timeless(results: dict) -> dict:
    """Results without what differs from run to run: its name and how long things took."""
    kept = {name: value for name, value in results.items() if name not in ("run", "times", "speed", "cost", "recipe")}
    kept["training"] = {k: v for k, v in kept["training"].items() if k not in ("seconds", "pairs_per_second")}
    return kept


def killed_training(place: Place) -> Iterator[Row]:
    """Each signal in a training that writes checkpoints; its losses must be those of one that was never stopped."""
    place.make_data()
    place.done(*place.launch("never"))
    history = {}
    for number in SIGNALS:
        checkpoint = place.reports / number.name / "checkpoint.pt"
        process, until = place.start(*place.launch(number.name)), time.monotonic() + SECONDS
        while not checkpoint.exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        text, _ = process.communicate(timeout=SECONDS)
        row = place.stopped(
            f"{number.name} in: training with checkpoints", Ended(process.returncode, text), number, "equal losses"
        )
        assert checkpoint.exists(), "it had finished"
        place.done(*place.launch(number.name))
        for name in (number.name, "never"):
            rows = torch.load(place.reports / name / "model.pt", weights_only=True)["history"]
            history[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        assert history[number.name] == history["never"]
        yield row
    write = "from pathlib import Path; from lib.system import files; files.write_json(Path('data/new.json'), {})"
    ended = place.run(*place.python(f"import os; os.replace = lambda *_: os.kill(os.getpid(), 9); {write}"))
    assert ended.status == -9 and not (place.data / "new.json").exists()
    (partial,) = place.data.glob(".new.json.*.partial")
    place.done(*place.python(write))
    assert not partial.exists() and (place.data / "new.json").exists()
    yield Row("SIGKILL between writing a file and naming it", NONE, "-9", "a partial name", "yes, and that is removed")


def killed_setup(place: Place) -> Iterator[Row]:
    """Each signal while pip waits for its index."""
    with silent_server() as address:
        for number in SIGNALS:
            tree = make_tree(place.folder / number.name)
            wheels = require_tiny(tree)
            process = start(tree, PIP_NO_INDEX="0", PIP_INDEX_URL=f"{address}/simple", PIP_RETRIES="0", new_group=True)
            until = time.monotonic() + SECONDS
            while not (tree / ".venv/bin/pip").exists() and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(1)
            os.killpg(process.pid, number)
            out, err = process.communicate(timeout=SECONDS)
            status = process.returncode
            assert status in (-number, 128 + number), (status, out, err)  # the shell is ended by it too, or ends for it
            assert number == signal.SIGKILL or "was stopped: start again" in err
            assert not (tree / ".venv/.complete").exists()
            code, out, _ = call(tree, PIP_FIND_LINKS=wheels)
            assert code == 0 and "ran" in out
            said = shown(err.strip().splitlines()[-1]) if err.strip() else NONE
            yield Row(f"{number.name} in: set-up", said, str(status), "an unfinished .venv", "yes, afresh")


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


# The disk


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of `size` at `path`, and a function that mounts it again with other options."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True, capture_output=True)
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


NO_SPACE = r"No space left on device.*: free space"


def full(place: Place, what: str, ended: Ended, left: str) -> Row:
    """The row of a command that found no space for `what`."""
    expect(ended, 1, NO_SPACE)
    return Row(f"disk full: {what}", shown(ended.sentence, place), "1", left, "yes")


def read_only(place: Place, what: str, remount: Callable[[str], None], *command: object) -> Row:
    """The row of a command on a disk that takes nothing."""
    remount("ro")
    ended = place.run(*command)
    expect(ended, 1, r"cannot write .*\(Read-only file system\): free")
    remount("rw")
    return Row(f"read-only {what}/", shown(ended.sentence, place), "1", place.left(), "yes")


def disk(place: Place) -> Iterator[Row]:
    """A full disk under data, checkpoint and figure; data and reports that cannot be written."""
    with small_disk(place.data, "500k") as remount:
        ended = place.run(*place.run_all("r"))
        assert not (place.data / "sprites.npz").exists()
        row = full(place, "data", ended, place.left())
        remount("size=100m")
        place.make_data()
        yield row
        (place.archive / "sprites_0.mat").touch()  # so that the data are to be made anew
        row = read_only(place, "data", remount, *place.create())
        place.make_data()
        yield row
    place.make_data()
    with small_disk(place.reports, "3m") as remount:
        ended, left = place.run(*place.launch("r")), place.left()
        row = full(place, "checkpoint", ended, left)
        remount("size=500m")
        place.done(*place.launch("r"))
        yield row
    with small_disk(place.reports, "60k") as remount:
        ended, left = place.run(*place.run_all("r")), place.left()
        row = full(place, "figure", ended, left)
        remount("size=500m")
        figure = place.python(
            "from matplotlib.figure import Figure; from lib.report.figures import save_figure; save_figure('r', 'f', Figure())"
        )
        place.done(*figure)
        yield row
        row = read_only(place, "reports", remount, *place.launch("r"))
        place.done(*figure)
        yield row


def may_mount(folder: Path) -> bool:
    try:
        with small_disk(folder / "mount", "1m"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


# Input


def archives(place: Place) -> Iterator[Row]:
    """Every damage of `tests.archives`, and three of them through the whole command."""
    for number, (fault, (damage, says)) in enumerate(BAD_FILES.items()):
        folder = place.folder / f"bad {number} ü" / "data" / "sprites"
        folder.mkdir(parents=True)
        for n in range(3):
            shutil.copy(place.archive / f"sprites_{n}.mat", folder)
        damage(folder / "sprites_1.mat")
        sentence = refused(functools.partial(read_archive, folder, progress=False, workers=1), re.escape(says))
        yield Row(f".mat: {fault}", shown(sentence, place), "", "nothing", "names the file")
        if number < 2:
            ended = place.run(ROOT / "run_all.sh", "--archive", folder, "--preset", "smoke", "--run", f"bad{number}")
            expect(ended, 1, re.escape(says))
            yield Row(f"run_all.sh on it: {fault}", shown(ended.sentence, place), "1", place.left(), "names the file")
    few = place.folder / "few"
    few.mkdir()
    for n in range(3):
        shutil.copy(place.archive / f"sprites_{n}.mat", few)
    for fault, (path, says) in bad_tars(few, place.folder).items():
        sentence = refused(functools.partial(read_archive, path, progress=False, workers=1), re.escape(says))
        yield Row(f"tar: {fault}", shown(sentence, place), "", "nothing", "names the file")
    good = [(name, (few / Path(name).name).read_bytes()) for name in ("../../sprites_0.mat", "/etc/sprites_1.mat")]
    climbing = write_tar(place.folder / "climbing ü.tar.gz", [*good, ("sprites_2.mat", "/etc/passwd")])
    before = sorted(place.folder.rglob("*"))
    assert read_archive(climbing, progress=False, workers=1).numbers.tolist() == [0, 1]
    assert sorted(place.folder.rglob("*")) == before
    yield Row(
        "tar: names that climb out, links", "(read, with a note of what is missing)", "", "nothing is written", "not needed"
    )
    (place.folder / "empty").mkdir()
    for fault, path, says in (
        ("an empty folder", place.folder / "empty", "holds no sprites_0.mat"),
        ("a file instead of a folder", Path(__file__), "is no tar file"),
        ("nothing of that name", place.folder / "absent", "there is no .*absent: give"),
    ):
        sentence = refused(functools.partial(read_archive, path, progress=False), says)
        yield Row(f"archive: {fault}", shown(sentence, place), "", "nothing", "names the place")


def checkpoints(place: Place) -> Iterator[Row]:
    """Models and checkpoints that are not this run's, or not what they seem."""
    place.make_data()
    place.done(*place.launch("good"))
    model = place.reports / "good" / "model.pt"
    state = torch.load(model, weights_only=True)
    touched = place.folder / "touched"

    def changed(**values: object) -> bytes:
        path = place.folder / "changed.pt"
        torch.save(state | values, path)
        return path.read_bytes()

    weights = {name: value for name, value in state["weights"].items() if "z_mu" not in name}
    faults = {
        "truncated": (model.read_bytes()[:100_000], "cannot be read"),
        "empty": (b"", "cannot be read"),
        "of another preset": (changed(preset="long"), "holds a run with preset long, not smoke"),
        "of another data set": (changed(data="other"), "holds a run with data other, not archive"),
        "of a newer version (hyper-parameters)": (changed(hp=state["hp"] | {"new": 1}), "is of another version"),
        "of a newer version (state)": (changed(new=1), "is of another version"),
        "of a newer version (networks)": (changed(weights=weights), "is of another version"),
        "a malicious pickle": (changed(step=Malicious(touched)), "cannot be read .UnpicklingError"),
    }
    for number, (fault, (content, says)) in enumerate(faults.items()):
        name = "model.pt" if number % 2 else "checkpoint.pt"
        (place.reports / "bad" / name).parent.mkdir(exist_ok=True)
        (place.reports / "bad" / name).write_bytes(content)
        ended = place.run(*place.launch("bad"))
        expect(ended, 1, f"lib.commands.train: .*{says}.*: (delete it|start afresh|name this one)")
        assert (place.reports / "bad" / name).read_bytes() == content and not touched.exists()
        shutil.rmtree(place.reports / "bad")
        yield Row(f"{name} {fault}", shown(ended.sentence, place), "1", "the file, as it was", "names the file")
    np.savez(place.folder / "pickled.npz", source=np.array([Malicious(touched)], dtype=object))
    shutil.copy(place.folder / "pickled.npz", place.data / "sprites.npz")
    ended = place.run(*place.launch("r"))
    expect(ended, 1, "sprites.npz is damaged: remove it, then run")
    assert not touched.exists()
    place.make_data()
    yield Row("a malicious pickle as sprites.npz", shown(ended.sentence, place), "1", "the file, as it was", "yes")


def numbers(place: Place) -> Iterator[Row]:
    """A loss that overflows after some good steps."""
    place.make_data()
    diverge = "rate = t.learning_rate; t.learning_rate = lambda step, hp: 1e30 if step == 20 else rate(step, hp)"
    ended = place.run(*place.launch("r", before=diverge))
    expect(ended, 1, r"the loss is not finite at step 2\d of run 'r': lower learning_rate .*; the last checkpoint is kept")
    kept = torch.load(place.reports / "r" / "checkpoint.pt", weights_only=True)
    assert 0 < kept["step"] <= 20 and all(value.abs().max() < 1e6 for value in kept["weights"].values())
    place.done(*place.launch("r"))
    yield Row("the loss overflows", shown(ended.sentence, place), "1", "the last good checkpoint", "yes")


def options(place: Place) -> Iterator[Row]:
    """Every hyper-parameter out of range, of the wrong type and misspelt; unknown parameters; notebooks out of order."""
    for field in dataclasses.fields(HParams):
        wrong = {"bool": "perhaps", "str": "none", "int": "1.5", "float": "much"}[field.type.__name__]
        said = refused(functools.partial(make_hparams, "fast", **{field.name: wrong}), f"^hyper-parameter {field.name} ")
        near = refused(functools.partial(make_hparams, "fast", **{f"{field.name}x": "1"}), rf"did you mean {field.name}\?")
        if field.name in LOWEST:
            said = refused(functools.partial(make_hparams, "fast", **{field.name: -1}), f"{field.name} must be at least")
            if field.type is float:
                refused(functools.partial(make_hparams, "fast", **{field.name: math.nan}), f"{field.name} must be")
    yield Row(
        f"each of {len(dataclasses.fields(HParams))} hyper-parameters of the wrong type or out of range",
        said,
        "",
        "nothing",
        "names it",
    )
    yield Row("the same, misspelt", shown(near), "", "nothing", "names the nearest")
    said = refused(functools.partial(check_seed, "two"), "^seed takes a whole number from 0, not 'two'")
    yield Row("a seed that is no number", said, "", "nothing", "names it")
    for fault, added, status, says in (
        ("a hyper-parameter misspelt", ["--set", "z_dims=8"], 1, r"no hyper-parameter 'z_dims' \(did you mean z_dim\?\)"),
        ("a preset misspelt", ["--preset", "fsat"], 2, f"invalid choice: 'fsat'.*{next(iter(PRESETS))}"),
        ("an unknown option", ["--sed", "1"], 2, "unrecognized arguments: --sed"),
        ("a seed below 0", ["--seed", "-1"], 1, "seed takes a whole number from 0, not '-1'"),
        ("a name that climbs out", ["--run", "../x"], 1, "'../x' cannot name a run"),
        (
            "a notebook before its predecessor",
            ["--run", "none", "--from", "03"],
            1,
            "03_style_transfer: run 'none' has no .*: run 02_train",
        ),
    ):
        ended = place.run(*place.run_all("r"), *added)
        expect(ended, status, says)
        yield Row(fault, shown(ended.sentence, place), str(status), "nothing", "not needed")
    for notebook, given, says in (
        ("01_create_sprites", ["-p", "sead", "3"], r"there is no parameter 'sead' \(did you mean seed\?\)"),
        ("02_train", ["-p", "source", "sprites"], "there is no .*sprites.npz yet: run notebooks/01_create_sprites.ipynb"),
        ("03_style_transfer", ["-p", "rnu", "a"], r"there is no parameter 'rnu' \(did you mean run\?\)"),
        ("04_interpolation", ["-p", "run", "none"], "run 'none' has no trained model .*: run 02_train.ipynb first"),
        ("05_latent_classifiers", ["-p", "run", "none"], "run 'none' has no trained model .*: run 02_train.ipynb first"),
    ):
        path = ROOT / "notebooks" / f"{notebook}.ipynb"
        ended = place.run(
            sys.executable, "-m", "papermill", path, place.folder / "out.ipynb", "--cwd", ROOT / "notebooks", *given
        )
        assert ended.status == 1 and re.search(f"UserError: {says}", ended.text), ended.text[-800:]
        yield Row(f"papermill {notebook} {' '.join(given)}", shown(ended.sentence, place), "1", "nothing", "names what to do")


def downloads(place: Place) -> Iterator[Row]:
    """Against servers on loopback."""
    good = write_tar(place.folder / "good.tar.gz", [("sprites_0.mat", os.urandom(600_000))]).read_bytes()
    target = place.data / "raw" / ARCHIVE
    part = target.with_name(f"{ARCHIVE}.part")

    def fetch(*addresses: str, timeout: float = 5) -> Path:
        paths.DATA = place.data
        return download_archive(addresses, progress=False, timeout=timeout)

    def row(fault: str, sentence: str) -> Row:
        there = [path.name for path in target.parent.iterdir()]
        assert all(name.endswith(".part") for name in there), there
        assert fetch(served(content=good)[1]).read_bytes() == good
        target.unlink()
        return Row(f"download: {fault}", shown(sentence), "", ", ".join(there) or "nothing", "yes")

    with contextlib.ExitStack() as stack:

        def served(**settings: object) -> tuple[type[Mirror], str]:
            handler = type("Handler", (settings.pop("kind", Mirror),), {"asked": [], **settings})
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return handler, f"http://127.0.0.1:{server.server_port}/a.tar.gz"

        class Redirect(Mirror):
            def do_GET(self):
                self.send_response(302)
                self.send_header("Location", type(self).content)
                self.end_headers()

        class Slow(Mirror):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(good)))
                self.end_headers()
                self.wfile.write(good[:300_000])
                time.sleep(3)

        yield row("refused", refused(lambda: fetch("http://127.0.0.1:9/a.tar.gz"), "Connection refused"))
        yield row("no answer, then slow", refused(lambda: fetch(served(kind=Slow)[1], timeout=0.5), "timed out"))
        handler, address = served(content=good, cuts=1)
        sentence = refused(
            lambda: fetch(address), f"broke off at {len(good) // 2:,} of {len(good):,} bytes.*try again to go on"
        )
        assert part.stat().st_size == len(good) // 2
        fetch(address)
        assert handler.asked == [None, f"bytes={len(good) // 2}-"] and target.read_bytes() == good
        target.unlink()
        yield row("cut in the middle, then resumed", sentence)
        yield row("not found", refused(lambda: fetch(served(code=404)[1]), "HTTP Error 404"))
        yield row(
            "wrong content", refused(lambda: fetch(served(content=b"<html>moved</html>")[1]), "something other than a .tar.gz")
        )
        part.write_bytes(bytes(len(good) + 9))
        yield row("wrong length: more is there than exists", refused(lambda: fetch(served(content=good)[1]), "416"))
        assert fetch(served(kind=Redirect, content=served(content=good)[1])[1]).read_bytes() == good
        target.unlink()
        yield Row("download: redirected", "(followed)", "", "the archive", "not needed")
        sentence = refused(lambda: fetch(served(kind=Redirect, content="file:///etc/passwd")[1]), "not allowed|failed")
        yield row("redirected to a file of this machine", sentence)


GROUPS = {  # the longest first: two go at once
    function.__name__: function
    for function in (
        killed_pipeline, disk, options, numbers, archives, checkpoints, killed_training, killed_setup, downloads,
    )
}  # fmt: skip


def cause(name: str, folder: Path, archive: Path) -> tuple[list[Row], str]:
    """The rows of a group, and why it ended before its end, if it did."""
    own = folder / name / f"archive ü {MARKUP}"
    shutil.copytree(archive, own)  # as some are changed
    rows, started = [], time.monotonic()
    if name == "disk" and not may_mount(folder / name):
        return [Row("disk full, read-only", "not run: mounting a small disk takes root", "", "", "")], ""
    try:
        for row in GROUPS[name](Place(folder / name, own)):
            rows.append(row)
    except Exception:
        return rows, f"{name}, after '{rows[-1].fault if rows else 'nothing'}': {traceback.format_exc()}"
    print(f"{name}: {len(rows)} faults in {time.monotonic() - started:.0f} s", flush=True)
    return rows, ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], default=[], help="those to cause (default: all)")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="write the table there, not to the terminal")
    chosen = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cycle-vae-faults-") as folder:
        archive = write_archive(Path(folder) / "published", 24)
        with ThreadPoolExecutor(2) as pool:
            names = [name for name in GROUPS if name in chosen.groups or not chosen.groups]
            outcomes = list(pool.map(lambda name: cause(name, Path(folder), archive), names))
    rows = [row for rows, _ in outcomes for row in rows]
    lines = [[name.replace("_", " ") for name in Row._fields], ["---"] * len(Row._fields), *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    if chosen.markdown:
        chosen.markdown.write_text(table + "\n")
    else:
        print(table)
    broken = [why for _, why in outcomes if why]
    print(*broken, sep="\n", file=sys.stderr)
    print(f"{len(rows)} faults caused, {len(broken)} groups failed in {time.monotonic() - started:.0f} s")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
