"""The README's tables are those of the committed runs. `python -m tests.test_readme` writes them
anew.
"""

import json
import re

import pytest

from lib.report.build import BENCHMARKS
from lib.report.findings import attribute_probes, by_attributes, chosen_probe
from lib.report.findings import leak as leaked
from lib.system.paths import NOTEBOOKS, ROOT

README = ROOT / "README.md"
RUNS = {"drawn": "drawn sprites", "sprites": "2D Sprites"}


def committed_runs():
    return {run: json.loads((ROOT / "reports" / run / "results.json").read_text()) for run in RUNS}


def table(first, rows):
    return "\n".join(
        [
            f"| {first} | {' | '.join(RUNS.values())} |",
            "|---" * 3 + "|",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def results_table(runs):
    def swap(name, *keys):
        cells = []
        for entry in runs.values():
            for key in keys:
                entry = entry[key]
            cells.append(f"{entry['psnr']:.1f} ({entry['mse']:.4f})")
        return [name, *cells]

    def probe(name, entry_of):
        cells = []
        for results in runs.values():
            e = entry_of(results["probes"])
            accuracy = f"{100 * e['accuracy']:.1f}" if e["trained"] else "did not train"
            cells.append(f"{accuracy} ({100 * e['baseline']:.1f}–{100 * e['ceiling']:.1f})")
        return [name, *cells]

    def chosen(name, code, target):
        return probe(name, lambda probes: chosen_probe(probes, code, target))

    def leak(name, code):
        cells = []
        for results in runs.values():
            worst = max(attribute_probes(results["probes"], code), key=leaked)
            cells.append(
                f"{worst['target'].replace('_', ' ')}: {100 * leaked(worst):.0f} % of the way from"
                " chance to ceiling"
            )
        return [name, *cells]

    def judged(name, what):
        cells = []
        for results in runs.values():
            judge = results["judge"]
            cells.append(
                " / ".join(
                    f"{100 * judge[of][what]:.1f}"
                    for of in ("swap", "reconstruction", "retrieval", "truth")
                )
            )
        return [name, *cells]

    predictors = [
        swap(name.replace("_", " "), "swap", "predictors", name)
        for name in ("pose_mean", "additive", "retrieval")
    ]
    errors = [
        swap("**swap**", "swap", "test"),
        swap("plain reconstruction", "reconstruction", "test"),
        *predictors,
    ]
    accuracies = [
        chosen("identity from s", "s", "identity"),
        chosen("identity from the mean of z", "z_mu", "identity"),
        probe(
            "identity from the mean of z, by attributes",
            lambda probes: by_attributes(probes, "z_mu"),
        ),
        probe(
            "identity from a sample of z, by attributes", lambda probes: by_attributes(probes, "z")
        ),
        chosen("pose from the mean of z", "z_mu", "pose"),
        chosen("pose from a sample of z", "z", "pose"),
        chosen("pose from s", "s", "pose"),
        leak("the attribute that the mean of z gives away most", "z_mu"),
        leak("the attribute that a sample of z gives away most", "z"),
    ]
    return (
        table("unseen identities, PSNR in dB (MSE)", errors)
        + "\n\n"
        + table(
            "accuracy of the probe that validation images chose, % (chance–ceiling)", accuracies
        )
        + "\n\n"
        + table(
            "what a judge sees, % (of swaps / reconstructions / retrieval / true images)",
            [
                judged("the right identity", "identity"),
                judged("the right pose, nearly", "pose_within_tolerance"),
                judged("both", "both"),
            ],
        )
    )


def timings_table(runs):
    assert all(
        results["times"]["02_train"] > results["training"]["seconds"] for results in runs.values()
    ), "a resumed run"
    times = [
        [name, *(f"{results['times'][name]:.0f} s" for results in runs.values())]
        for name in NOTEBOOKS
    ]
    speed = [
        "training, pairs/s",
        *(f"{results['training']['pairs_per_second']:.0f}" for results in runs.values()),
    ]
    return table("2 CPU cores", [*times, speed])


def seeds_table(_):
    groups = json.loads(BENCHMARKS["seeds"].read_text())["groups"]
    kinds = [
        f"{RUNS[of['source']]}, `{of['preset']}`, seeds {of['seeds'][0]} to {of['seeds'][-1]}"
        for of in groups
    ]
    rows = [
        [
            row["what"],
            *(
                "{mean:.1f} ({ci95[0]:.1f} to {ci95[1]:.1f})".format(**of["rows"][k])
                for of in groups
            ),
        ]
        for k, row in enumerate(groups[0]["rows"])
    ]
    return "\n".join(
        f"| {' | '.join(cells)} |"
        for cells in (["mean (95 % over seeds)", *kinds], ["---"] * (1 + len(kinds)), *rows)
    )


TABLES = {"results": results_table, "seeds": seeds_table, "timings": timings_table}


def section(name):
    return re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_committed_runs(name):
    text = README.read_text()
    assert section(name).search(text)
    assert section(name).sub(rf"\g<1>{TABLES[name](committed_runs())}\g<2>", text) == text


if __name__ == "__main__":
    written = README.read_text()
    for each, build in TABLES.items():
        written = section(each).sub(rf"\g<1>{build(committed_runs())}\g<2>", written)
    README.write_text(written)
