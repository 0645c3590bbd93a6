"""Each signal in each stage of a run whose model collapses, then the same command to its end.

The results must be those of the same run in a place of its own, where nothing ever stops it.
"""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
import pytest

from tests.faults.conftest import ARCHIVE_NAME
from tests.faults.disks import check_full, small_disk
from tests.faults.place import (
    SIGNALS,
    Ended,
    MaliciousPickle,
    Place,
    check_refused,
    check_stopped,
    finish,
    shown,
)

pytestmark = pytest.mark.faults

COLLAPSE = ("--set", "reconstruction_weight=0")
# what the command says there, and the notebook to start at where those before it are done
STAGES = {
    "archive": ("reading the archive", "01"),
    "training": ("training:", "02"),
    "notebook 3": ("training the judge", "03"),
}
AT_WORK = (
    "process {} is at work on run 'killed': wait until it is done, or name this one with --run"
)
DONE = "done: "
Z_COLLAPSED, S_IGNORED = "z collapsed", "s is ignored, or the model learned little"
TYPESET = "from lib.report import build; build.build_report('killed')"


@dataclasses.dataclass
class StoppedRun:
    """The run that is stopped again and again."""

    place: Place
    command: tuple[object, ...]
    stages: set[str] = dataclasses.field(default_factory=set)  # in which it was stopped so far
    notes: str = ""  # notebook 1 as HTML, when it read the archive and noted what it lacks

    @property
    def folder(self) -> Path:
        return self.place.reports / "killed"

    @property
    def notebook_1(self) -> Path:
        return self.folder / "notebooks" / "01_create_sprites.html"

    def stop(self, stage: str, number: signal.Signals) -> Ended:
        marker, notebook = STAGES[stage]
        start = ("--from", notebook) if stage in self.stages else ()
        reads_archive = stage == "training" and not start
        if reads_archive:
            (self.place.data / "sprites.npz").unlink(missing_ok=True)
        self.stages.add(stage)
        ended = self.place.stop_at(marker, number, *self.command, *start)
        if reads_archive:
            self.notes = self.notebook_1.read_text()
        return ended


@dataclasses.dataclass
class FinishedRun:
    """The same run at its end, on the way to which it met malicious pickles."""

    place: Place
    ended: Ended
    never_stopped: Ended
    results: dict
    expected: dict  # the results of the run that was never stopped
    derived: dict[str, Path]
    touched: Path  # what the pickles make where they are loaded

    @property
    def folder(self) -> Path:
        return self.place.reports / "killed"

    @property
    def pdf(self) -> Path:
        return self.folder / "report.pdf"


@pytest.fixture(scope="module")
def never_stopped(place: Place) -> Iterator[subprocess.Popen]:
    """The same run in a place of its own, which goes on beside the tests that stop the other."""
    other = Place(place.folder / "never stopped", place.archive)
    process = other.start(*other.report_command("killed", *COLLAPSE))
    yield process
    process.kill()


@pytest.fixture(scope="module")
def run(place: Place, never_stopped: subprocess.Popen) -> StoppedRun:
    return StoppedRun(place, place.report_command("killed", *COLLAPSE))


@pytest.fixture(scope="module")
def finished(run: StoppedRun, never_stopped: subprocess.Popen) -> FinishedRun:
    place, touched = run.place, run.place.folder / "touched"
    run.folder.mkdir(parents=True, exist_ok=True)
    place.data.mkdir(exist_ok=True)
    derived = {"judge": place.data / "sprites-judge.npz", "codes": run.folder / "codes.npz"}
    for path in derived.values():
        np.savez(path, stamp=np.array([MaliciousPickle(touched)], dtype=object))
    ended, other_ended = place.run(*run.command), finish(never_stopped)
    results, expected = (
        json.loads((folder / "reports" / "killed" / "results.json").read_text())
        for folder in (place.folder, place.folder / "never stopped")
    )
    return FinishedRun(place, ended, other_ended, results, expected, derived, touched)


def timeless(results: dict) -> dict:
    """Results without what differs from run to run: its name and how long things took."""
    outside = ("run", "times", "speed", "load", "cost")
    kept = {name: value for name, value in results.items() if name not in outside}
    timed = ("seconds", "pairs_per_second")
    kept["training"] = {k: v for k, v in kept["training"].items() if k not in timed}
    return kept


def test_a_second_run_of_the_same_name(run, record):
    first = run.place.start(*run.command)
    assert "run 'killed'" in first.stdout.readline()
    first.send_signal(signal.SIGSTOP)
    second = run.place.run(*run.command)
    check_refused(second, 1, AT_WORK.format(first.pid))
    first.kill()
    first.communicate()
    run.place.wait_for_processes()
    record(
        "a second run of the same name at once",
        shown(second.sentence),
        1,
        run.place.left(),
        "yes, once the first is gone",
    )


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_in_a_stage(run, record, stage, number):
    ended = run.stop(stage, number)
    sentence = check_stopped(ended, number)
    record(f"{number.name} in: {stage}", sentence, ended.status, run.place.left(), "yes")


def test_markup_in_the_name_of_the_archive(run, record):
    markup = ARCHIVE_NAME[ARCHIVE_NAME.index("<") :]
    assert markup not in run.notes and escape(markup) in run.notes
    record(
        "markup in the name of the archive",
        "(shown as it is named)",
        "",
        "escaped HTML",
        "not needed",
    )


def test_stopped_in_every_stage_it_has_the_results_of_a_run_that_never_was(finished, record):
    check_refused(finished.ended, 0, DONE)
    check_refused(finished.never_stopped, 0, DONE)
    assert timeless(finished.results) == timeless(finished.expected)
    record(
        "all these, then the same command",
        "done: reports/killed/report.pdf",
        0,
        finished.place.left(),
        "equal results",
    )


@pytest.mark.parametrize("name", ["judge", "codes"])
def test_a_malicious_pickle_is_never_loaded(finished, record, name):
    path = finished.derived[name]
    assert not finished.touched.exists()
    if name == "judge":
        assert np.load(path, allow_pickle=False)["heads.0.bias"].any()
    else:
        assert np.load(path, allow_pickle=False)["z"].any()
    assert timeless(finished.results) == timeless(finished.expected)
    fault = f"a malicious pickle as the {name} ({path.name})"
    record(fault, "(made again)", 0, "the new file", "equal results")


def test_a_collapsed_model(finished, record):
    failures = finished.results["failures"]
    assert re.search(Z_COLLAPSED, failures[0])
    assert any(S_IGNORED in sentence for sentence in failures)
    record(
        "a collapsed model",
        "This run failed. " + " ".join(failures),
        0,
        finished.place.left(),
        "the report begins with it",
    )


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_while_the_report_is_typeset(finished, record, number):
    place, before = finished.place, finished.pdf.read_bytes()
    kill = f"lambda *_, **__: os.kill(os.getpid(), {int(number)})"
    ended = place.run(
        *place.python_command(f"import os, typst; typst.compile_with_warnings = {kill}; {TYPESET}")
    )
    sentence, left = check_stopped(ended, number), place.left()
    assert finished.pdf.read_bytes() == before
    place.run_successfully(*place.python_command(TYPESET))
    assert finished.pdf.read_bytes() == before
    fault = f"{number.name} in: typesetting"
    record(fault, sentence, ended.status, left, "yes, the same bytes")


def test_a_full_disk_while_the_report_is_typeset(finished, record):
    place, before = finished.place, finished.pdf.read_bytes()
    kept = place.folder / "kept"
    shutil.copytree(finished.folder, kept)
    with small_disk(place.reports, "500m") as remount:
        shutil.copytree(kept, finished.folder)
        used = sum(path.stat().st_blocks * 512 for path in finished.folder.rglob("*"))
        remount(f"size={used + 150_000}")
        ended = place.run(*place.python_command(TYPESET))
        check_full(ended)
        assert finished.pdf.read_bytes() == before
        left = place.left()
        remount("size=500m")
        place.run_successfully(*place.python_command(TYPESET))
        assert finished.pdf.read_bytes() == before
    record("disk full: PDF", shown(ended.sentence), 1, left, "yes")
