"""The notebooks: executed headlessly, and their outputs stored where readers find them."""

import contextlib
import os
import re
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import CellTimeoutError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from traitlets.config import Config

from lib.report.palette import palette_png
from lib.report.results import read_results
from lib.report.words import reword
from lib.system.errors import ELSEWHERE, NO_MEMORY, OUT_OF_MEMORY, UserError
from lib.system.files import atomic_write
from lib.system.paths import ROOT, shown_path

NO_LIMIT = ("paper", "long")  # presets whose training may take days
CELL_SECONDS = 4 * 3600  # of a cell, at most: enough for a slow laptop, and a stuck kernel ends
LONGEST_SOCKET = 80  # letters of a path; systems take 104 or 108, and the kernel adds some
PRIVATE = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
FOREIGN = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "PYTHONSTARTUP")
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Kernel(AsyncKernelManager):
    """Starts the interpreter that runs this, whichever kernels the user has registered."""

    kernel_spec = KernelSpec(
        # Else it says ERROR where the end of a notebook interrupts it. Cells show their errors.
        argv=[
            *(sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            "--log-level=CRITICAL",
        ],
        display_name="Python 3",
        language="python",
    )


def execute(name: str, folder: Path, parameters: dict, preset: str) -> float:
    """Run one notebook into `folder`, as .ipynb and .html; returns its seconds.

    Raises: UserError that names a failed cell.
    """
    executed, unfinished = folder / f"{name}.ipynb", folder / f"{name}.unfinished.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        _run_cells(name, unfinished, parameters, None if preset in NO_LIMIT else CELL_SECONDS)
    except papermill.PapermillExecutionError as error:
        raise _failed_cell(name, error, unfinished) from None
    except OSError as error:
        raise UserError(
            f"cannot write {shown_path(unfinished)} ({error.strerror or error}): {ELSEWHERE}"
        ) from None
    except CellTimeoutError:
        raise UserError(f"{name} took too long: run the same command again to go on") from None
    except RuntimeError:  # DeadKernelError, or a kernel that never answered
        raise UserError(
            f"{name} lost its kernel, perhaps for lack of memory: run the same command again to go"
            " on"
        ) from None
    seconds = round(time.monotonic() - started, 1)

    notebook = nbformat.read(unfinished, as_version=4)
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    _shrink_images(notebook)
    _reword(notebook, read_results(parameters["run"])["data"]["words"])
    with _private_settings():
        html, _ = HTMLExporter(template_name="lab").from_notebook_node(
            notebook, {"metadata": {"name": _title(notebook)}}
        )
    for path, text in {
        executed: nbformat.writes(notebook),
        executed.with_suffix(".html"): html,
    }.items():
        with atomic_write(path) as file:
            file.write(text.encode())
    unfinished.unlink()
    return seconds


def _run_cells(name: str, target: Path, parameters: dict, cell_seconds: int | None) -> None:
    def literal(path: Path) -> str:
        """A path that papermill, which formats paths, leaves as it is."""
        return str(path).replace("{", "{{").replace("}", "}}")

    with _private_settings() as folder:
        sockets = folder / "kernel"
        ipc = {"transport": "ipc", "ip": str(sockets)}  # no other user can open this folder
        papermill.execute_notebook(
            literal(ROOT / "notebooks" / f"{name}.ipynb"),
            literal(target),
            parameters,
            kernel_name="python3",
            kernel_manager_class=Kernel,
            cwd=ROOT / "notebooks",
            progress_bar=False,
            stderr_file=_Progress(sys.stderr),
            start_timeout=120,
            execution_timeout=cell_seconds,
            config=Config({"KernelManager": ipc if len(str(sockets)) < LONGEST_SOCKET else {}}),
        )


@contextlib.contextmanager
def _private_settings() -> Iterator[Path]:
    """An empty folder in place of the user's settings of IPython and Jupyter: no startup files, no
    templates, no configuration.
    """
    is_long = len(tempfile.gettempdir()) > LONGEST_SOCKET // 2
    base = "/tmp" if is_long and os.access("/tmp", os.W_OK) else None  # else that of TMPDIR
    with tempfile.TemporaryDirectory("", "cycle-vae-", base, ignore_cleanup_errors=True) as folder:
        before = _set_environment(dict.fromkeys(FOREIGN) | dict.fromkeys(PRIVATE, folder))
        try:
            yield Path(folder)
        finally:
            _set_environment(before)


def _set_environment(values: dict[str, str | None]) -> dict[str, str | None]:
    """Sets these variables, or unsets where None; returns what they were."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before


def _title(notebook: nbformat.NotebookNode) -> str:
    """The text of its first heading."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.search(r"^# (.+)", text, re.MULTILINE)[1]


def _failed_cell(name: str, error: papermill.PapermillExecutionError, copy: Path) -> UserError:
    if error.ename == "UserError":
        return UserError(f"{name}: {error.evalue}")
    if OUT_OF_MEMORY.search(f"{error.ename}: {error.evalue}"):
        return UserError(f"{name}: {NO_MEMORY}")
    traceback = ANSI_COLOUR.sub("", "\n".join(error.traceback)).splitlines()
    end = "\n".join(traceback[-6:])
    return UserError(
        f"{name} failed in its cell {error.exec_count} with {error.ename}: {error.evalue}\n{end}\n"
        f"The executed copy is {shown_path(copy)}."
    )


def _shrink_images(notebook: nbformat.NotebookNode) -> None:
    """Give every PNG output a palette: a third of the size."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                output.data["image/png"] = b64encode(palette_png(b64decode(png))).decode()


def _reword(notebook: nbformat.NotebookNode, words: Mapping[str, str]) -> None:
    """Have its texts use the words of the source."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = reword(cell.source, words)
        for output in cell.get("outputs", []):
            if text := output.get("data", {}).get("text/markdown"):
                output.data["text/markdown"] = reword(text, words)


def store_outputs(executed: Path, source: Path) -> None:
    """Copy the outputs of an executed copy into its source, whose cells stay as they are.

    The copy lies in the folder of its run, so the source needs another path to the explorer.
    """
    done = [
        cell
        for cell in nbformat.read(executed, as_version=4).cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    notebook, count = nbformat.read(source, as_version=4), 0
    for cell, executed_cell in zip(notebook.cells, done, strict=True):
        if cell.cell_type == "code":
            count += 1
            cell.outputs, cell.execution_count = executed_cell.outputs, count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
    with atomic_write(source) as file:
        text = nbformat.writes(notebook).rstrip("\n") + "\n"
        page = f"../reports/{executed.parents[1].name}/explorer.html"
        file.write(text.replace("../explorer.html", page).encode())


class _Progress:
    """Passes the progress bars of a kernel on: to a terminal as they are, to a log as lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        self.stream.write(text if self.stream.isatty() else text.replace("\r", "\n"))

    def flush(self) -> None:
        self.stream.flush()
