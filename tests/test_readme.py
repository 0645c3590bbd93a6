"""The README's tables are those of the committed runs. `python -m tests.test_readme` writes them anew."""

import json
import re

import pytest

from lib.config import ROOT
from lib.pipeline import NOTEBOOKS

README = ROOT / "README.md"
RUNS = {"drawn": "drawn sprites", "sprites": "2D Sprites"}


def committed_runs():
    return {run: json.loads((ROOT / "reports" / run / "results.json").read_text()) for run in RUNS}


def table(first, rows):
    return "\n".join(
        [f"| {first} | {' | '.join(RUNS.values())} |", "|---" * 3 + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def results_table(runs):
    def swap(name, *keys):
        cells = []
        for entry in runs.values():
            for key in keys:
                entry = entry[key]
            cells.append(f"{entry['psnr']:.1f} ({entry['mse']:.4f})")
        return [name, *cells]

    def probe(name, code, target):
        cells = []
        for results in runs.values():
            e = next(e for e in results["probes"] if (e["code"], e["target"], e["probe"]) == (code, target, "mlp"))
            cells.append(f"{100 * e['accuracy']:.1f} ({100 * e['chance']:.1f}–{100 * e['ceiling']:.1f})")
        return [name, *cells]

    predictors = [swap(name.replace("_", " "), "swap", "predictors", name) for name in ("pose_mean", "additive", "retrieval")]
    errors = [swap("**swap**", "swap", "test"), swap("plain reconstruction", "reconstruction", "test"), *predictors]
    targets = (("identity", "s"), ("identity", "z_mu"), ("pose", "z_mu"), ("pose", "s"))
    accuracies = [probe(f"{target} from {code.removesuffix('_mu')}", code, target) for target, code in targets]
    return (
        table("unseen identities, PSNR in dB (MSE)", errors)
        + "\n\n"
        + table("accuracy of an MLP probe, % (chance–ceiling)", accuracies)
    )


def timings_table(runs):
    times = [[name, *(f"{results['times'][name]:.0f} s" for results in runs.values())] for name in NOTEBOOKS]
    speed = ["training, pairs/s", *(f"{results['training']['pairs_per_second']:.0f}" for results in runs.values())]
    return table("2 CPU cores", [*times, speed])


TABLES = {"results": results_table, "timings": timings_table}


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
