"""The one command of the README on preset smoke, down to the typeset report, and what it executed.

Selected by `pytest -m smoke`. Cells that are marked NBVAL_CHECK_OUTPUT print the same in any run of
the drawn sprites; in the copies that this run executed they must give the output that is committed.
"""

import json
import os
import re
import subprocess

import nbformat
import pytest

from lib.system.paths import NOTEBOOKS, ROOT

pytestmark = pytest.mark.smoke

CHECKED, PARAMETERS_GIVEN = "NBVAL_CHECK_OUTPUT", "injected-parameters"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of the run's report."""
    folder = tmp_path_factory.mktemp("smoke")
    folders = {"CYCLE_VAE_DATA": str(folder / "data"), "CYCLE_VAE_REPORTS": str(folder / "reports")}
    environment = os.environ | folders
    command = ["./run_all.sh", "--source", "drawn", "--preset", "smoke", "--run", "smoke"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said[-6000:]
    (folder / "said.txt").write_text(said)
    return folder / "reports" / "smoke"


def code_cells(path):
    """The code cells of a notebook but for the one of parameters that papermill adds."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    return [cell for cell in cells if PARAMETERS_GIVEN not in cell.metadata.get("tags", [])]


def printed(cell):
    """What a cell gives as text: each stream's, and of each result in every form but an image."""
    texts = {}
    for output in cell.outputs:
        if output.output_type == "stream":
            texts[output.name] = texts.get(output.name, "") + output.text
        for kind, content in output.get("data", {}).items():
            if not kind.startswith("image/"):
                texts.setdefault(kind, []).append(content)
    return texts


def test_it_says_nothing_of_errors(report):
    said = (report.parents[1] / "said.txt").read_text()
    assert "done: " in said and not re.search("error|warning|interrupt", said, re.IGNORECASE)


def test_its_results_are_finite_numbers(report):
    def refuse(constant):
        pytest.fail(f"results.json holds {constant}")

    assert json.loads((report / "results.json").read_text(), parse_constant=refuse)


def test_its_pdf_is_complete(report):
    pdf = (report / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"%%EOF" in pdf[-1024:] and len(pdf) > 50_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_notebook_was_executed_to_the_end_without_an_error(report, name):
    committed = code_cells(ROOT / "notebooks" / f"{name}.ipynb")
    executed = code_cells(report / "notebooks" / f"{name}.ipynb")
    assert [cell.source for cell in executed] == [cell.source for cell in committed]
    assert all(cell.execution_count for cell in executed)
    outputs = [output for cell in executed for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_its_page_has_a_title_and_describes_every_picture(report, name):
    page = (report / "notebooks" / f"{name}.html").read_text()
    title = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells[0].source
    assert f"<title>{title.splitlines()[0].removeprefix('# ')}</title>" in page
    pictures = re.findall(r"<img[^>]*>", page)
    assert pictures and [p[:80] for p in pictures if not re.search('alt="[^"]{20,}"', p)] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_marked_so_give_the_output_that_is_committed(report, name):
    committed = code_cells(ROOT / "notebooks" / f"{name}.ipynb")
    executed = code_cells(report / "notebooks" / f"{name}.ipynb")
    pairs = [p for p in zip(committed, executed, strict=True) if CHECKED in p[0].source]
    assert pairs
    for stored, rerun in pairs:
        assert printed(rerun) == printed(stored)
