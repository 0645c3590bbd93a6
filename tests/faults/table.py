"""The table of faults: each test records its row; the session prints all, or writes Markdown."""

from pathlib import Path
from typing import NamedTuple

import pytest

PROPERTY = "fault"  # the report of a test carries its row under this name, from any worker
LONGEST_CELL = 170


def shorten(text: str) -> str:
    return text if len(text) < LONGEST_CELL else text[: LONGEST_CELL - 3] + "..."


class Row(NamedTuple):
    place: int  # of the test among those collected
    fault: str
    sentence: str
    status: str
    left: str
    recovered: str

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(shorten(cell) for cell in self[1:])


HEADER = Row(0, "fault", "sentence", "status", "what is left", "recovered").cells


def as_markdown(rows: list[Row]) -> str:
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells for row in rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def recorded_rows(reporter: pytest.TerminalReporter) -> list[Row]:
    reports = [report for outcome in reporter.stats.values() for report in outcome]
    called = [report for report in reports if getattr(report, "when", None) == "call"]
    return sorted(
        Row(*row) for report in called for name, row in report.user_properties if name == PROPERTY
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--markdown",
        type=Path,
        metavar="PATH",
        help="write the table of faults to PATH, not to the terminal",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = recorded_rows(terminalreporter)
    if not rows:
        return
    terminalreporter.section(f"{len(rows)} faults caused")
    path = terminalreporter.config.getoption("markdown")
    if path:
        path.write_text(as_markdown(rows) + "\n")
        terminalreporter.write_line(f"The table is in {path}.")
    else:
        terminalreporter.write_line(as_markdown(rows))
