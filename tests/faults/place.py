"""A place with data and reports of its own, the commands as a user starts them there, and how they
end.
"""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib.system.errors import UserError
from lib.system.paths import ROOT

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
STOPPED = "stopped; the same command goes on from here"
NO_SENTENCE = "(none can be)"  # of a command that SIGKILL ended
LONGEST_COMMAND = 600  # seconds, on a machine that does much else
SMALL_RUN = {  # hyper-parameters of a run of the whole report
    "images_seen": 160,
    "match_characters": 8,
    "batch_images": 8,
    "swap_samples": 100,
    "probe_images": 500,
    "probe_epochs": 1,
    "protocol_images": 500,
    "protocol_epochs": 1,
    "tsne_points": 100,
}
SMALL_TRAINING = {  # of 25 steps
    "architecture": "published",
    "batch_images": 8,
    "images_seen": 200,
    "match_characters": 8,
}
CHECKPOINT_SECONDS = 0.2  # between two checkpoints of such a training
LAST_BYTES = {".pdf": b"%%EOF", ".png": b"IEND\xaeB`\x82", ".svg": b"</svg>", ".html": b"</html>"}
NOTED_FILES = ("sprites.npz", "checkpoint.pt", "model.pt", "results.json", "report.pdf")


class Ended(NamedTuple):
    """A command that has ended: its status, and all that it said."""

    status: int
    text: str

    @property
    def sentence(self) -> str:
        """The last line."""
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else ""


@dataclasses.dataclass
class MaliciousPickle:
    """A pickle that makes the file `touched` when it is loaded."""

    touched: Path

    def __reduce__(self):
        return os.system, (f"touch '{self.touched}'",)


@dataclasses.dataclass
class Place:
    """A folder with data and reports of its own, and the commands as a user starts them there."""

    folder: Path
    archive: Path
    settings: dict[str, object] = dataclasses.field(default_factory=dict)  # more of its environment

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @property
    def environment(self) -> dict[str, str]:
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        folders = {
            "CYCLE_VAE_DATA": self.data,
            "CYCLE_VAE_REPORTS": self.reports,
            "TMPDIR": temporary,
        }
        fixed = {"CYCLE_VAE_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT}
        named = folders | fixed | self.settings
        return os.environ | {name: str(value) for name, value in named.items()}

    def start(self, *command: object) -> subprocess.Popen:
        return subprocess.Popen(
            [str(part) for part in command],
            env=self.environment,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal
        )

    def run(self, *command: object) -> Ended:
        return finish(self.start(*command))

    def run_successfully(self, *command: object) -> None:
        ended = self.run(*command)
        assert ended.status == 0, ended.text[-1500:]

    def report_command(self, run: str, *options: object) -> tuple[object, ...]:
        """`run_all.sh` on the archive, made small."""
        small = [f"--set={name}={value}" for name, value in SMALL_RUN.items()]
        return (
            ROOT / "run_all.sh",
            "--archive",
            self.archive,
            "--preset=smoke",
            *small,
            "--run",
            run,
            *options,
        )

    def training_command(self, run: str, before: str = "") -> tuple[object, ...]:
        """A training of 25 steps with many checkpoints, after the statement `before`."""
        settings = f"runs.CHECKPOINT_SECONDS = {CHECKPOINT_SECONDS}; runs.MONITORED_POINTS = 1"
        code = f"from lib.method import runs; {settings}; {before}"
        code += "\nfrom lib.commands.train import main; main()"
        overrides = f"--overrides={json.dumps(SMALL_TRAINING)}"
        return (
            sys.executable,
            "-P",
            "-c",
            code,
            "--source=sprites",
            "--preset=smoke",
            overrides,
            run,
        )

    def python_command(self, statements: str) -> tuple[object, ...]:
        """Statements as a command of this project."""
        code = "from lib.system.errors import cli_errors"
        code += f"\nwith cli_errors('python'):\n    {statements}"
        return sys.executable, "-P", "-c", code

    def data_command(self) -> tuple[object, ...]:
        """What notebook 1 does first: the data from the archive."""
        create = f"create_images('sprites', {str(self.archive)!r})"
        return self.python_command(f"from lib.data.sources import create_images; {create}")

    def make_data(self) -> None:
        self.run_successfully(*self.data_command())

    def stop_at(self, marker: str, number: signal.Signals, *command: object) -> Ended:
        """Sends the signal `number` when the command has said `marker`."""
        process, said = self.start(*command), ""
        watch = threading.Timer(LONGEST_COMMAND, process.kill)
        watch.start()
        # read piecewise, as a progress bar ends no line
        while marker not in said and (piece := os.read(process.stdout.fileno(), 4096)):
            said += piece.decode(errors="replace")
        process.send_signal(number)
        ended = finish(process)
        watch.cancel()
        assert marker in said, f"never said '{marker}': {said[-500:]}"
        self.wait_for_processes()
        return Ended(ended.status, said + ended.text)

    def wait_for_processes(self) -> None:
        """Until no process of this place is left, as a kernel outlives its parent by a second."""
        if not Path("/proc/self/environ").exists():
            time.sleep(5)
            return
        mark = f"CYCLE_VAE_REPORTS={self.reports}".encode()
        deadline = time.monotonic() + 30
        while running := [
            p for p in Path("/proc").glob("[0-9]*") if mark in _content(p / "environ").split(b"\0")
        ]:
            assert time.monotonic() < deadline, (
                f"left: {[_content(p / 'cmdline') for p in running]}"
            )
            time.sleep(0.2)

    def left(self) -> str:
        """The files of note in data and reports, where whatever has its final name is complete."""
        names = set()
        for path in [*self.data.rglob("*"), *self.reports.rglob("*")]:
            unfinished = path.suffix in (".lock", ".partial") or "unfinished" in path.name
            if path.is_file() and not unfinished:
                check_complete(path)
                names.add(path.name)
        return ", ".join(name for name in NOTED_FILES if name in names) or "nothing"

    def shown(self, text: str) -> str:
        return shown(text.replace(f"{self.folder}/", ""))


def finish(process: subprocess.Popen) -> Ended:
    try:
        text, _ = process.communicate(timeout=LONGEST_COMMAND)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ended(process.returncode, text)


def check_complete(path: Path) -> None:
    if path.suffix in (".json", ".ipynb"):
        json.loads(path.read_bytes())
    elif path.suffix == ".npz":
        np.load(path, allow_pickle=False)
    elif path.suffix == ".pt":
        torch.load(path, weights_only=True)
    elif path.suffix in LAST_BYTES:
        assert path.read_bytes().rstrip().endswith(LAST_BYTES[path.suffix]), f"{path} is cut off"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def shown(text: str) -> str:
    """A sentence without the places of temporary files."""
    return re.sub(r"/tmp/\S*/", ".../", text)


def check_refused(ended: Ended, status: int, pattern: str) -> None:
    """The command ended with this status, and its last line matches; no usage is before it."""
    assert ended.status == status, f"status {ended.status}, not {status}: {ended.text[-800:]}"
    assert re.search(pattern, ended.sentence), f"not '{pattern}': {ended.text[-800:]}"
    assert "Traceback" not in ended.text, ended.text[-1500:]
    assert "usage: " not in ended.text, ended.text[-1500:]


def check_stopped(ended: Ended, number: signal.Signals) -> str:
    """The signal ended the command as it must. Returns the sentence that the user reads."""
    if number == signal.SIGKILL:
        assert ended.status == -number, ended
        return NO_SENTENCE
    check_refused(ended, 128 + number, STOPPED)
    return shown(ended.sentence)


def refusal(call: Callable[[], object], pattern: str) -> str:
    """The one sentence with which a call refuses."""
    try:
        call()
    except UserError as error:
        sentence = str(error)
        assert re.search(pattern, sentence) and "\n" not in sentence, f"not '{pattern}': {sentence}"
        return sentence
    raise AssertionError("nothing was refused")
