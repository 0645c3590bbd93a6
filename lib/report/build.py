"""Build `results.json` and `report.pdf` of a run; the text is `reports/report.typ`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import typst

from lib.report.descriptions import DESCRIPTIONS, SHOWING_IMAGES
from lib.report.discussion import discussion
from lib.report.results import origin, read_results
from lib.report.summary import abstract, failures, headline
from lib.report.tables import report_numbers, report_tables
from lib.report.words import reword
from lib.system.errors import UserError
from lib.system.files import atomic_write, read_json, write_json
from lib.system.paths import BENCHMARKS, ROOT, run_dir

SECTIONS = ("data", "training", "reconstruction", "interpolation", "probes")
# measured once; the appendix of every report
APPENDIX = ("study", "protocol", "speed", "load", "cost")
COMMITTED_DIR = ROOT / "reports" / "_committed"  # no run's folder: run names begin with a letter
README_FIGURES = ("mix.webp", "style_transfer_actions.png", "cycles.png", "probes.png")


def build_report(run: str) -> Path:
    """Join the results of all notebooks into results.json and typeset report.pdf from it.

    Returns: the path of report.pdf.
    Raises: `UserError` if a notebook has not run or the text does not compile without warnings.
    """
    results = read_results(run)
    missing = [name for name in SECTIONS if name not in results]
    if missing:
        raise UserError(
            f"run '{run}' lacks the results {', '.join(missing)}: run its notebooks first,"
            f" ./run_all.sh --run {run}"
        )
    folder = run_dir(run)
    results["code"] = origin()
    results["attribution"] = results["data"]["words"]["credit"]
    results["abstract"] = abstract(results)
    results["headline"] = headline(results)
    results["discussion"] = discussion(results)
    results["failures"] = failures(results)
    _add_benchmarks(results, folder / "figures")
    write_json(folder / "results.json", results)
    with atomic_write(folder / "report.pdf") as file:
        file.write(_typeset(folder, results))
    return folder / "report.pdf"


def store_committed(run: str) -> None:
    """Copy what git keeps of a finished run into reports/_committed.

    Of images that this project did not draw, it keeps numbers, and the report without pictures.
    """
    folder = run_dir(run)
    results = read_json(folder / "results.json", "run ./run_all.sh again")
    source, names = results["source"], ["results.json"]
    if source == "drawn":
        names += ["report.pdf", *(f"figures/{name}" for name in README_FIGURES)]
    files = {name: (folder / name).read_bytes() for name in names}
    if source != "drawn":
        files["report.pdf"] = _typeset(folder, results, hidden=SHOWING_IMAGES)
    for name, content in files.items():
        with atomic_write(COMMITTED_DIR / source / name) as file:
            file.write(content)


def _add_benchmarks(results: dict, figures: Path) -> None:
    """Copy the numbers, finding, tables and figure of every finished benchmark."""
    for name in APPENDIX:
        path = BENCHMARKS / f"{name}.json"
        if not path.exists():
            continue
        content = read_json(path, f"remove it, or measure it again (python -m benchmarks.{name})")
        if "finding" in content:  # else the benchmark is still running
            results["findings"][name] = content.pop("finding")
            content.pop("runs", None)  # of the study: its groups sum them up
            content.pop("comparison", None)  # notebook 06 stores it
            results[name] = content
            if (figure := path.with_suffix(".svg")).exists():
                figures.mkdir(exist_ok=True)
                shutil.copyfile(figure, figures / figure.name)


def _typeset(folder: Path, results: dict, hidden: Sequence[str] = ()) -> bytes:
    """report.typ as PDF, without the `hidden` figures.

    Its tables and single numbers are strings, formatted here.
    """
    strings = {
        "tables": report_tables(results),
        "numbers": report_numbers(results),
        "descriptions": {
            name: reword(text, results["data"]["words"]) for name, text in DESCRIPTIONS.items()
        },
        "hidden": list(hidden),
    }
    text, formatted = folder / "report.typ", folder / "report.json"
    shutil.copyfile(ROOT / "reports" / "report.typ", text)
    write_json(formatted, strings)
    try:
        pdf, warnings = typst.compile_with_warnings(
            str(text), root=str(folder), ignore_system_fonts=True, timestamp=0
        )
    except typst.TypstError as error:
        raise UserError(f"report.typ does not compile: {error}") from error
    if warnings:
        raise UserError(f"report.typ compiles with a warning: {warnings[0].message}")
    text.unlink()
    formatted.unlink()
    return pdf
