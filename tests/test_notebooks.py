"""The notebooks as committed: executed in order on the default run, readable where they are, with
outputs to check.
"""

import json
import re

import pytest

from lib.config import make_hparams
from lib.system.paths import NOTEBOOKS, ROOT

LONGEST_CELL = 25  # lines
PATHS = [ROOT / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS]


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def test_they_are_numbered_in_order():
    assert sorted((ROOT / "notebooks").glob("*.ipynb")) == PATHS


@pytest.mark.parametrize("path", PATHS, ids=NOTEBOOKS)
def test_it_was_executed_from_top_to_bottom_without_an_error(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [
        output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"
    ]


@pytest.mark.parametrize("path", PATHS, ids=NOTEBOOKS)
def test_it_stores_the_parameters_of_the_default_run(path):
    tagged = [cell for cell in code_cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    values: dict = {}
    exec(source(tagged[0]), values)
    parameters = {name: value for name, value in values.items() if not name.startswith("__")}
    if path.name < "03":
        assert parameters == {
            "source": "drawn",
            "folder": {},
            "preset": "fast",
            "split": "identity",
            "split_seed": 0,
            "seed": 0,
            "overrides": {},
            "run": "drawn",
        }
        make_hparams(parameters["preset"], **parameters["overrides"])
    else:
        assert parameters == {"run": "drawn"}


@pytest.mark.parametrize("path", PATHS, ids=NOTEBOOKS)
def test_cells_that_nbval_checks_have_an_output_to_check(path):
    checked = [cell for cell in code_cells(path) if "NBVAL_CHECK_OUTPUT" in source(cell)]
    assert checked and all(cell["outputs"] for cell in checked)


@pytest.mark.parametrize("path", PATHS, ids=NOTEBOOKS)
def test_it_says_what_a_notebook_of_this_report_says(path):
    text = "\n".join(source(cell) for cell in json.loads(path.read_text())["cells"])
    for part in ("**Question.**", "## Setup", "## Findings", "## Limits", "## Versions"):
        assert part in text


@pytest.mark.parametrize("path", PATHS, ids=NOTEBOOKS)
def test_no_cell_is_long(path):
    long = {cell["id"]: len(cell["source"]) for cell in code_cells(path)}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_CELL} == {}


@pytest.mark.parametrize("path", PATHS, ids=NOTEBOOKS)
def test_it_holds_no_path_of_a_machine(path):
    assert not re.findall(
        r"(?<![\w.])/(?:root|home|Users|tmp|work|private|mnt)/\w+", path.read_text()
    )
