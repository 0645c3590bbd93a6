"""The README shows the numbers of the committed runs; `python -m tests.test_readme` renews them."""

import json
import re

import pytest

from benchmarks import seeds
from lib.report.descriptions import DESCRIPTIONS
from lib.report.numbers import (
    UNTRAINED,
    attribute_probes,
    by_attributes,
    chosen_probe,
    count,
    fixed,
    percent,
    plain,
    rescaled_accuracy,
    span,
)
from lib.report.tables import JUDGED, markdown
from lib.system.paths import NOTEBOOKS, ROOT

README = ROOT / "README.md"
RUNS = {"drawn": "drawn sprites", "sprites": "2D Sprites"}
PROBES = {
    "identity from s": ("s", "identity"),
    "identity from the mean of z": ("z_mu", "identity"),
    "identity from the mean of z, by attributes": ("z_mu", None),
    "identity from a sample of z, by attributes": ("z", None),
    "pose from the mean of z": ("z_mu", "pose"),
    "pose from a sample of z": ("z", "pose"),
    "pose from s": ("s", "pose"),
}


def committed_runs():
    folder = ROOT / "reports" / "_committed"
    return [json.loads((folder / run / "results.json").read_text()) for run in RUNS]


def table(first, rows, runs):
    """A row {name: function of a run's results}, a column for each run."""
    cells = [[name, *(show(results) for results in runs)] for name, show in rows.items()]
    return markdown([first, *RUNS.values()], cells)


def error(entry):
    return f"{fixed(entry['psnr'])} ({fixed(entry['mse'], 4)})"


def accuracy(probes, code, target):
    e = chosen_probe(probes, code, target) if target else by_attributes(probes, code)
    read = percent(e["accuracy"]) if e["trained"] else UNTRAINED
    return f"{read} ({span(percent(e['baseline']), percent(e['ceiling']))})"


def largest_leak(probes, code):
    worst = max(attribute_probes(probes, code), key=rescaled_accuracy)
    return f"{plain(worst['target'])}: {100 * rescaled_accuracy(worst):.0f} % of the range"


def results_table(runs):
    errors = {
        "**swap**": lambda r: error(r["swap"]["test"]),
        "plain reconstruction": lambda r: error(r["reconstruction"]["test"]),
        **{
            plain(name): lambda r, name=name: error(r["swap"]["predictors"][name])
            for name in ("pose_mean", "additive", "retrieval")
        },
    }
    accuracies = {
        **{
            name: lambda r, asked=asked: accuracy(r["probes"], *asked)
            for name, asked in PROBES.items()
        },
        "largest attribute leakage from the mean of z": lambda r: largest_leak(r["probes"], "z_mu"),
        "largest attribute leakage from a sample of z": lambda r: largest_leak(r["probes"], "z"),
    }
    kinds = ("swap", "reconstruction", "retrieval", "truth")
    judged = {
        name: lambda r, key=key: " / ".join(percent(r["judge"][kind][key]) for kind in kinds)
        for key, name in JUDGED.items()
    }
    titles = (
        "unseen identities, PSNR in dB (MSE)",
        "probe accuracy, % (baseline–ceiling)",
        "judge's accuracy, % (swaps / reconstructions / retrieval / true images)",
    )
    parts = zip(titles, (errors, accuracies, judged), strict=True)
    return "\n\n".join(table(title, rows, runs) for title, rows in parts)


def timings_table(runs):
    assert all(r["times"]["02_train"] > r["training"]["seconds"] for r in runs), "a resumed run"
    times = {name: lambda r, name=name: f"{count(r['times'][name])} s" for name in NOTEBOOKS}
    times["training, pairs/s"] = lambda r: count(r["training"]["pairs_per_second"])
    return table("2 CPU cores", times, runs)


def seeds_table(_):
    groups = json.loads((ROOT / "benchmarks" / "seeds.json").read_text())["groups"]
    return markdown(*seeds.summary_table(groups))


TABLES = {"results": results_table, "seeds": seeds_table, "timings": timings_table}


def section(name):
    return re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_committed_runs(name):
    text = README.read_text()
    assert section(name).search(text)
    assert section(name).sub(rf"\g<1>{TABLES[name](committed_runs())}\g<2>", text) == text


def test_its_pictures_are_described_as_in_the_report():
    pictures = re.findall(r"!\[([^\]]*)\]\(\S+/(\w+)\.png\)", README.read_text())
    assert len(pictures) >= 3
    assert [text for text, name in pictures if text != DESCRIPTIONS[name]] == []


def test_its_links_lead_to_files():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []


if __name__ == "__main__":
    written = README.read_text()
    for each, build in TABLES.items():
        written = section(each).sub(rf"\g<1>{build(committed_runs())}\g<2>", written)
    README.write_text(written)
