"""Compare finished runs that differ only in their seed.

    ./run_all.sh --archive PATH --seed 1        # and so on
    .venv/bin/python -m benchmarks.seeds sprites sprites-fast-seed1 --json benchmarks/seeds.json

A seed sets the split, the weights, the batches, the swaps and the probes. Runs of several presets
or sources may be named together; each kind gets its own table. Intervals are Student's t over the
seeds, so they include the variation between trainings.
"""

import argparse
from pathlib import Path

from lib.evaluation.intervals import t_interval
from lib.report.numbers import attribute_probes, fixed, rescaled_accuracy, span
from lib.report.tables import JUDGED, Table
from lib.system.errors import UserError, cli_errors
from lib.system.files import read_json, write_json
from lib.system.paths import run_dir

SETTINGS = ("source", "preset", "overrides")
SOURCE_NAMES = {"sprites": "2D Sprites", "drawn": "the drawn sprites"}


def measured(results: dict) -> dict[str, float | None]:
    """The compared numbers of a run, {name: dB or %}; None if a probe did not train.

    Attribute leakage is in % of the range from baseline to ceiling.
    """
    swap, probes = results["swap"], results["probes"]
    psnr = {
        "swap, dB": swap["test"]["psnr"],
        "reconstruction, dB": results["reconstruction"]["test"]["psnr"],
        "retrieval, dB": swap["predictors"]["retrieval"]["psnr"],
    }
    shares = {row["what"]: row["value"] for row in results["headline"][1:]}
    shares |= {
        f"judge's accuracy on swaps: {name}": results["judge"]["swap"][key]
        for key, name in JUDGED.items()
    }
    shares |= {
        f"largest attribute leakage from z ({name})": max(
            map(rescaled_accuracy, attribute_probes(probes, code))
        )
        for code, name in (("z_mu", "mean"), ("z", "sample"))
    }
    in_percent = {
        f"{name}, %": None if share is None else 100 * share for name, share in shares.items()
    }
    return psnr | in_percent


def compare(runs: list[dict]) -> list[dict]:
    """A group for each kind of run: its `SETTINGS`, seeds, and rows of numbers.

    Returns: rows {what, values (of each seed), mean, ci95}; a row has no mean if a probe did not
        train.
    Raises: `UserError` if two runs of a kind have the same seed or different hyper-parameters.
    """
    kinds: dict[str, list[dict]] = {}
    for results in runs:
        kinds.setdefault(str([results[name] for name in SETTINGS]), []).append(results)
    groups = []
    for same_kind in kinds.values():
        same_kind.sort(key=lambda results: results["seed"])
        first, seeds = same_kind[0], [results["seed"] for results in same_kind]
        if len(set(seeds)) < len(seeds):
            raise UserError(
                f"two of the runs of {first['source']}, preset {first['preset']}, have the same"
                " seed: name one of them"
            )
        if any(
            results["training"]["hparams"] != first["training"]["hparams"] for results in same_kind
        ):
            raise UserError(
                f"the runs of {first['source']}, preset {first['preset']}, differ in their"
                " hyper-parameters: run them again"
            )
        columns = [measured(results) for results in same_kind]
        rows = []
        for name in columns[0]:
            values = [column[name] for column in columns]
            mean, low, high = (None, None, None) if None in values else t_interval(values)
            if mean is not None and name.endswith("%"):
                low, high = max(low, 0.0), min(high, 100.0)
            rows.append({"what": name, "values": values, "mean": mean, "ci95": [low, high]})
        groups.append({**{name: first[name] for name in SETTINGS}, "seeds": seeds, "rows": rows})
    return groups


def kind(group: dict) -> str:
    settings = "".join(f", {name} {value}" for name, value in group["overrides"].items())
    return f"preset {group['preset']}{settings} on {SOURCE_NAMES[group['source']]}"


def seeds_finding(groups: list[dict]) -> list[str]:
    """The PSNR of swaps over several seeds, for each kind of run."""
    text = []
    for group in groups:
        swap = next(row for row in group["rows"] if row["what"] == "swap, dB")
        low, high = map(fixed, swap["ci95"])
        text.append(
            f"Over {len(group['seeds'])} seeds, swaps of {kind(group)} reach {fixed(swap['mean'])}"
            f" dB on average (95 % interval {low} to {high})."
        )
    return text


def seeds_tables(groups: list[dict]) -> list[dict]:
    """A table for each group: the value of every seed, their mean and its interval."""
    return [
        {
            "caption": f"Unseen identities, {kind(group)}.",
            "head": ["", *(f"seed {seed}" for seed in group["seeds"]), "mean", "95 %"],
            "rows": [
                [row["what"], *map(_shown, row["values"]), _shown(row["mean"]), _interval(row)]
                for row in group["rows"]
            ],
        }
        for group in groups
    ]


def summary_table(groups: list[dict]) -> Table:
    """Mean and interval of every group beside each other, for the README."""
    head = [f"{kind(g)}, seeds {g['seeds'][0]} to {g['seeds'][-1]}" for g in groups]
    rows = [
        [rows[0]["what"], *(f"{_shown(row['mean'])} ({_interval(row)})" for row in rows)]
        for rows in zip(*(group["rows"] for group in groups), strict=True)
    ]
    return ["mean (95 % over seeds)", *head], rows


def _shown(value: float | None) -> str:
    return "–" if value is None else fixed(value)


def _interval(row: dict) -> str:
    return "" if row["mean"] is None else span(*map(fixed, row["ci95"]))


def describe(groups: list[dict]) -> dict:
    """The content of the JSON file: the numbers, and what the report shows of them."""
    return {"groups": groups, "finding": seeds_finding(groups), "tables": seeds_tables(groups)}


def main() -> None:
    prog, summary = "python -m benchmarks.seeds", (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=prog, description=summary, allow_abbrev=False)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folders under reports/ of finished runs"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the numbers there")
    options = parser.parse_args()
    remedy = "name runs that ./run_all.sh finished"
    groups = compare(
        [read_json(run_dir(run) / "results.json", remedy) for run in dict.fromkeys(options.runs)]
    )
    content = describe(groups)
    for table in content["tables"]:
        print(table["caption"])
        for name, *cells in (table["head"], *table["rows"]):
            print(f"{name:48}", *(f"{cell:>12}" for cell in cells))
    if options.json:
        write_json(options.json, content)


if __name__ == "__main__":
    with cli_errors("benchmarks.seeds"):
        main()
