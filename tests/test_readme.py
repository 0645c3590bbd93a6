"""README and docs show the numbers of stored runs; `python -m tests.test_readme` renews them."""

import json
import re
import statistics
import textwrap

import pytest

from benchmarks import comparison, cost, load, protocol, speed, study
from benchmarks.methods import METHODS
from lib.config import make_hparams
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

README, RESULTS, OPTIONS = ROOT / "README.md", ROOT / "docs/results.md", ROOT / "docs/options.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LONGEST_README = 120  # lines
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


def familiar(results):
    identities = {name: e["identities"] for name, e in results["swap"]["by_distance"].items()}
    return f"{identities['skin alone']} of {sum(identities.values())}"


def leak(probes, code):
    mean, largest = leak_rows(probes, code)
    return f"{share(mean['value'])} / {share(largest['value'])} ({largest['target']})"


def parts(scores):
    """All but the weapon together, and the weapon."""
    least = min(e["score"] for name, e in scores.items() if name != "weapon")
    weapon = scores["weapon"]
    return f"{percent(least)} / {percent(weapon['score'])} ({span(*map(percent, weapon['ci95']))})"


def results_table(runs):
    """The rows that a reader of two minutes needs."""
    rows = {
        "**swap, PSNR in dB**": lambda r: fixed(r["swap"]["test"]["psnr"]),
        "plain reconstruction, dB": lambda r: fixed(r["reconstruction"]["test"]["psnr"]),
        "retrieval mean, dB": lambda r: fixed(r["swap"]["predictors"]["retrieval_mean"]["psnr"]),
        "SSIM of swaps / of retrieval mean": lambda r: " / ".join(
            fixed(e["ssim"], 3)
            for e in (r["swap"]["test"], r["swap"]["predictors"]["retrieval_mean"])
        ),
        "swap less retrieval mean, dB, paired (95 %)": (
            lambda r: gain(r["swap"]["gain"]["retrieval_mean"])
        ),
        **{
            f"{name}, accuracy in % (baseline–ceiling)": (
                lambda r, asked=asked: accuracy(r["probes"], *asked)
            )
            for name, asked in PROBES.items()
        },
        **{
            f"leak of {CODE_NAMES[code]}, %, mean / largest": (
                lambda r, code=code: leak(r["probes"], code)
            )
            for code in ("z_mu", "z", "s")
        },
        "unseen identities that differ from a training identity in the skin alone": familiar,
    }
    return table("unseen identities", rows, runs)


def details_tables(runs):
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
        name: lambda r, asked=asked: accuracy(r["probes"], *asked) for name, asked in PROBES.items()
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
    return table("notebook", times, runs)


def stored_study():
    return json.loads((ROOT / "benchmarks" / "study.json").read_text())


def study_table(_):
    return markdown(*comparison.presets_table(stored_study()["groups"]))


def answer(_):
    indents = {"initial_indent": "- ", "subsequent_indent": "  "}
    (group,) = (
        group
        for group in stored_study()["groups"]
        if (group["source"], group["split"], group["split_seed"]) == ("sprites", "identity", 0)
    )
    sentences = comparison.conclusion(group)
    return "\n".join(textwrap.fill(sentence, 100, **indents) for sentence in sentences)


def published(_):
    """How far the study trained preset `paper`, and what all of it would take at that rate."""
    runs = stored_study()["runs"]
    seconds = [run["seconds"] for run in runs if run["method"] == comparison.LONGEST]
    images, length = METHODS[comparison.LONGEST].hp.images_seen, make_hparams("paper").images_seen
    typical = statistics.median(seconds)
    hours = typical / 3_600 * length / images
    text = (
        f"The study trained `paper` on {count(images)} images, {share(images / length)} % of its"
        f" length, {len(seconds)} times, in {count(typical)} s (median) on a GPU that did other"
        " trainings at the same time."
        f" At that rate, all of it takes {fixed(hours)} hours."
    )
    return textwrap.fill(text, 100)


TABLES = {
    (README, "answer"): answer,
    (README, "results"): results_table,
    (RESULTS, "details"): details_tables,
    (RESULTS, "study"): study_table,
    (RESULTS, "timings"): timings_table,
    (OPTIONS, "published"): published,
}


def section(name):
    return re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)


def with_section(page, name):
    text, made = page.read_text(), TABLES[page, name](committed_runs())
    assert section(name).search(text), f"{page.name} has no section {name}"
    return section(name).sub(lambda found: f"{found[1]}{made}\n{found[2]}", text)


@pytest.mark.parametrize(("page", "name"), TABLES)
def test_the_tables_are_those_of_the_committed_runs(page, name):
    assert with_section(page, name) == page.read_text()


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= LONGEST_README


def test_the_pictures_are_described_as_in_the_report():
    text = "".join(page.read_text() for page in PAGES)
    pictures = re.findall(r"!\[([^\]]*)\]\(\S+/(\w+)\.(?:png|webp)\)", text)
    assert len(pictures) >= 3
    assert [text for text, name in pictures if text != DESCRIPTIONS[name]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_lead_to_files_and_headings(page):
    links = re.findall(r"\]\(([^):]+)\)", page.read_text())
    assert links
    for link in links:
        path, _, heading = link.partition("#")
        assert (page.parent / path).exists(), link
        if heading:
            heads = re.findall(r"^#+ (.+)$", (page.parent / path).read_text(), re.MULTILINE)
            names = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert heading in names, link


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
    for each, title in TABLES:
        each.write_text(with_section(each, title))
