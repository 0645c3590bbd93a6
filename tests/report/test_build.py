"""The joining of results, the typeset report, and what is committed of a run."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from lib.report import build, results
from lib.system import paths
from lib.system.errors import UserError

COMMITTED = paths.ROOT / "reports" / "_committed"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="3"><path d="M0 0h9v3z"/></svg>'


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path / "reports")
    return tmp_path / "reports"


def test_results_are_joined_and_hold_finite_numbers_only(reports):
    results.save_results("joined", "01_a", data={"images": 3}, findings={"data": "one"})
    results.save_results("joined", "02_b", training={"seconds": 1.5}, findings={"training": "two"})
    assert results.read_results("joined") == {
        "data": {"images": 3},
        "training": {"seconds": 1.5},
        "findings": {"data": "one", "training": "two"},
    }
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.save_results("joined", "03_c", swap={"mse": float("nan")})
    assert sorted(p.name for p in (reports / "joined" / "results").iterdir()) == [
        "01_a.json",
        "02_b.json",
    ]
    with pytest.raises(UserError, match="lacks the results reconstruction, interpolation, probes"):
        build.build_report("joined")


def finished_run(reports, source):
    """A run with the results of the committed one and with blank figures."""
    content = json.loads((COMMITTED / source / "results.json").read_text())
    for name in build.APPENDIX:
        content.pop(name, None)
        content["findings"].pop(name, None)
    results.save_results("typeset", "01_all", **content)
    figures = reports / "typeset" / "figures"
    figures.mkdir()
    text = (paths.ROOT / "reports" / "report.typ").read_text()
    for name in re.findall(r'(?:picture|drawn)\("([a-z_0-9]+)[".]', text):
        Image.new("RGB", (90, 30)).save(figures / f"{name}.png")
        (figures / f"{name}.svg").write_text(SVG)
    (figures / "mix.webp").touch()


@pytest.mark.parametrize("source", ["drawn", "sprites"])
@pytest.mark.parametrize("measured", ["all", "in part", "nothing"])
def test_the_report_is_typeset_with_what_the_benchmarks_measured(
    reports, tmp_path, monkeypatch, source, measured
):
    finished_run(reports, source)
    benchmarks = tmp_path / "benchmarks"
    benchmarks.mkdir()
    if measured != "nothing":
        for path in (paths.ROOT / "benchmarks").glob("*.*g*"):
            shutil.copy(path, benchmarks)
        for name in build.APPENDIX:
            content = json.loads((paths.ROOT / "benchmarks" / f"{name}.json").read_text())
            if name == "cost" and measured == "in part":
                del content["finding"]
            (benchmarks / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(build, "BENCHMARKS", benchmarks)
    assert build.build_report("typeset").stat().st_size > 50_000
    content = json.loads((reports / "typeset" / "results.json").read_text())
    shown = {"all": set(build.APPENDIX), "in part": {*build.APPENDIX} - {"cost"}, "nothing": set()}
    assert set(build.APPENDIX) & set(content) == shown[measured]
    assert set(build.APPENDIX) & set(content["findings"]) == shown[measured]
    assert sorted(p.name for p in (reports / "typeset").iterdir() if p.is_file()) == [
        "report.pdf",
        "results.json",
    ]


@pytest.mark.parametrize("source", ["drawn", "sprites"])
def test_of_real_art_no_picture_is_committed(reports, tmp_path, monkeypatch, source):
    monkeypatch.setattr(build, "COMMITTED_DIR", tmp_path / "committed")
    finished_run(reports, source)
    build.build_report("typeset")
    if source == "sprites":  # a picture that is read would fail
        for name in build.SHOWING_IMAGES:
            for path in (reports / "typeset" / "figures").glob(f"{name}.*"):
                path.write_bytes(b"no image")
    build.store_committed("typeset")
    stored = {p.relative_to(tmp_path / "committed") for p in (tmp_path / "committed").rglob("*.*")}
    art = {"figures/mix.webp", *(f"figures/{name}" for name in build.README_FIGURES)}
    expected = {"results.json", "report.pdf"} | (art if source == "drawn" else set())
    assert {str(path) for path in stored} == {f"{source}/{name}" for name in expected}


def test_building_starts_without_torch_and_matplotlib():
    code = "import sys, lib.report.build; print({'torch', 'matplotlib'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
