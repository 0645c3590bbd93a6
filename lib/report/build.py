"""Results and figures of a run to `results.json` and a typeset `report.pdf`; the text is
`reports/report.typ`.
"""

import shutil
from pathlib import Path

import typst

from lib.report.findings import cost_finding, failures, headline, recipe_finding, seeds_finding
from lib.report.results import read_results
from lib.system.errors import UserError
from lib.system.files import atomic_write, read_json, write_json
from lib.system.paths import ROOT, run_dir

ATTRIBUTION = {
    "sprites": (
        "Sprites: Liberated Pixel Cup (CC-BY-SA 3.0 and GPL 3.0), as published by Reed et al. (NIPS"
        " 2015)."
    ),
    "drawn": (
        "The sprites were drawn by this project's own code (lib/data/drawn.py); no foreign art is"
        " shown."
    ),
}


# measured once, for every report
BENCHMARKS = {
    name: ROOT / "benchmarks" / f"{name}.json" for name in ("seeds", "recipe", "speed", "cost")
}


def build_report(run: str) -> Path:
    """Join the results of all notebooks into results.json and typeset report.pdf from it and the
    figures.

    What `benchmarks/` measured, where it is present, becomes the report's appendix. Raises
    `UserError` where a notebook has not run or the text does not compile without warnings.
    """
    results = read_results(run)
    missing = [
        name
        for name in ("data", "training", "swap", "interpolation", "probes")
        if name not in results
    ]
    if missing:
        raise UserError(
            f"run '{run}' lacks the results {', '.join(missing)}: run its notebooks first,"
            f" ./run_all.sh --run {run}"
        )
    folder = run_dir(run)
    results["attribution"] = ATTRIBUTION[results["source"]]
    results["headline"] = headline(results)
    results["failures"] = failures(results)
    for name, path in BENCHMARKS.items():
        if path.exists():
            results[name] = read_json(
                path, f"remove it, or measure it again (python -m benchmarks.{name})"
            )
    shown = (
        ("seeds", "groups", seeds_finding),
        ("recipe", "table", recipe_finding),
        ("cost", "points", cost_finding),
    )
    for name, rows_of, finding in shown:
        if rows_of in results.get(
            name, ()
        ):  # else nothing was measured, or the comparison is still under way
            from lib.report import (
                figures,
            )  # here, as matplotlib would add seconds to each start of run_all.sh

            rows = results[name][rows_of]
            results["findings"][name] = finding(rows)
            if draw := getattr(figures, f"{name}_figure", None):
                figures.write_figure(folder / "figures" / f"{name}.svg", draw(rows))
    write_json(folder / "results.json", results)
    text = folder / "report.typ"
    shutil.copyfile(ROOT / "reports" / "report.typ", text)
    try:
        pdf, warnings = typst.compile_with_warnings(
            str(text), root=str(folder), ignore_system_fonts=True, timestamp=0
        )
    except typst.TypstError as error:
        raise UserError(f"report.typ does not compile: {error}") from error
    if warnings:
        raise UserError(f"report.typ compiles with a warning: {warnings[0].message}")
    text.unlink()
    with atomic_write(folder / "report.pdf") as file:
        file.write(pdf)
    return folder / "report.pdf"
