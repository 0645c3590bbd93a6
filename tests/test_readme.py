"""The README shows the numbers of the committed runs; `python -m tests.test_readme` renews them."""

import json
import re
import textwrap

import pytest

from benchmarks import comparison, cost, load, protocol, speed, study
from lib.report.descriptions import DESCRIPTIONS
from lib.report.findings import REMEMBERING
from lib.report.numbers import (
    CODE_NAMES,
    NO_EVIDENCE,
    chosen_probe,
    count,
    fixed,
    percent,
    plain,
    share,
    span,
)
from lib.report.results import VERSION
from lib.report.summary import leak_rows
from lib.report.tables import JUDGED, markdown
from lib.system.paths import NOTEBOOKS, ROOT

README = ROOT / "README.md"
RUNS = {"drawn": "drawn sprites", "sprites": "2D Sprites"}
PROBES = {
    "identity from s": ("s", "identity"),
    "pose from the mean of z": ("z_mu", "pose"),
    "pose from a sample of z": ("z", "pose"),
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


def gain(entry):
    return f"{fixed(entry['db'])} ({span(*map(fixed, entry['ci95']))})"


def accuracy(probes, code, target):
    e = chosen_probe(probes, code, target)
    read = percent(e["accuracy"]) if e["evidence"] else NO_EVIDENCE
    return f"{read} ({span(percent(e['baseline']), percent(e['ceiling']))})"


def leak(probes, code):
    mean, largest = leak_rows(probes, code)
    return f"{share(mean['value'])} / {share(largest['value'])} ({largest['target']})"


def parts(scores):
    """All but the weapon together, and the weapon."""
    least = min(e["score"] for name, e in scores.items() if name != "weapon")
    weapon = scores["weapon"]
    return f"{percent(least)} / {percent(weapon['score'])} ({span(*map(percent, weapon['ci95']))})"


def results_table(runs):
    errors = {
        "**swap**": lambda r: error(r["swap"]["test"]),
        "plain reconstruction": lambda r: error(r["reconstruction"]["test"]),
        **{
            plain(name): lambda r, name=name: error(r["swap"]["predictors"][name])
            for name in ("pose_mean", "additive", *REMEMBERING)
        },
        **{
            f"swap less {plain(name)}, paired (95 %)": (
                lambda r, name=name: gain(r["swap"]["gain"][name])
            )
            for name in REMEMBERING
        },
    }
    accuracies = {
        **{
            name: lambda r, asked=asked: accuracy(r["probes"], *asked)
            for name, asked in PROBES.items()
        }
    }
    leaked = {
        CODE_NAMES[code]: lambda r, code=code: leak(r["probes"], code)
        for code in ("z_mu", "z", "s")
    }
    shown = {
        "the other scored attributes, least / the weapon (95 %)": lambda r: parts(
            r["swap"]["parts"]
        )
    }
    kinds = ("swap", "reconstruction", "blurred", "truth", "retrieval")
    judged = {
        name: lambda r, key=key: " / ".join(percent(r["judge"][kind][key]) for kind in kinds)
        for key, name in JUDGED.items()
    }
    titles = (
        "unseen identities, PSNR in dB (MSE)",
        "probe accuracy, % (baseline–ceiling)",
        "leak, % of the way from baseline to ceiling (mean / largest)",
        "part nearer to the s image than to the z image, % of swaps",
        "judge's accuracy, % (swaps / reconstructions / blurred true / true images / retrieval)",
    )
    rows_of_each = zip(titles, (errors, accuracies, leaked, shown, judged), strict=True)
    return "\n\n".join(table(title, rows, runs) for title, rows in rows_of_each)


def timings_table(runs):
    times = {name: lambda r, name=name: f"{count(r['times'][name])} s" for name in NOTEBOOKS}
    times["02_train"] = lambda r: f"{count(r['training']['seconds'])} s (training)"
    times["training, pairs/s"] = lambda r: count(r["training"]["pairs_per_second"])
    return table("one CPU core each", times, runs)


def stored_groups():
    return json.loads((ROOT / "benchmarks" / "study.json").read_text())["groups"]


def study_table(_):
    return markdown(*comparison.presets_table(stored_groups()))


def answer(_):
    indents = {"initial_indent": "- ", "subsequent_indent": "  "}
    sentences = comparison.answer(stored_groups())
    return "\n".join(textwrap.fill(sentence, 100, **indents) for sentence in sentences)


TABLES = {
    "answer": answer,
    "results": results_table,
    "study": study_table,
    "timings": timings_table,
}


def section(name):
    return re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_committed_runs(name):
    text = README.read_text()
    assert section(name).search(text)
    assert section(name).sub(rf"\g<1>{TABLES[name](committed_runs())}\g<2>", text) == text


def test_its_pictures_are_described_as_in_the_report():
    pictures = re.findall(r"!\[([^\]]*)\]\(\S+/(\w+)\.(?:png|webp)\)", README.read_text())
    assert len(pictures) >= 3
    assert [text for text, name in pictures if text != DESCRIPTIONS[name]] == []


def test_its_links_lead_to_files():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def stored_results():
    """The stored numbers by their file, with the version that the code now has."""
    runs = {f"reports/_committed/{run}/results.json": VERSION for run in RUNS}
    modules = (cost, load, protocol, speed, study)
    names = {module: module.__name__.replace(".", "/") for module in modules}
    return runs | {f"{name}.json": module.VERSION for module, name in names.items()}


@pytest.mark.parametrize(("path", "version"), stored_results().items())
def test_stored_numbers_are_of_the_present_version(path, version):
    code = json.loads((ROOT / path).read_text())["code"]
    assert code["version"] == version, f"{path} is too old: renew it (CONTRIBUTING.md)"
    assert re.fullmatch(r"[0-9a-f]{40}\+?", code["commit"])


if __name__ == "__main__":
    written = README.read_text()
    for each, build in TABLES.items():
        written = section(each).sub(rf"\g<1>{build(committed_runs())}\g<2>", written)
    README.write_text(written)
