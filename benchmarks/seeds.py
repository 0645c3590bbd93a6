"""What another training would change: whole runs that differ in their seed alone, and the interval
of their mean.

    ./run_all.sh --archive PATH --seed 1        # and so on .venv/bin/python -m benchmarks.seeds
    sprites sprites-fast-seed1 sprites-fast-seed2 --json seeds.json

A seed deals the split, the weights, the batches, the swaps and the probes anew. Runs of several
presets or sources may be named together: each kind gets a table of its own. Intervals are Student's
t over the seeds, so what another seed changes is in them.
"""

import argparse
from pathlib import Path

from lib.evaluation.intervals import t_interval
from lib.report.findings import attribute_probes, leak
from lib.system.errors import UserError, cli_errors
from lib.system.files import read_json, write_json
from lib.system.paths import run_dir

SETTINGS = ("source", "preset", "overrides")
JUDGED = {"identity": "identity", "pose_within_tolerance": "pose, nearly", "both": "both"}


def measured(results: dict) -> dict[str, float | None]:
    """What is compared of a run: {what: dB, or % where the name says so}; None where a probe did
    not train.

    What z tells of an attribute is in % of the way from chance to the ceiling.
    """
    swap, probes = results["swap"], results["probes"]
    psnrs = {
        "swap": swap["test"],
        "reconstruction": results["reconstruction"]["test"],
        "retrieval": swap["predictors"]["retrieval"],
    }
    of_codes = {row["what"]: row["value"] for row in results["headline"][1:]}
    of_codes |= {
        f"swaps judged right: {name}": results["judge"]["swap"][what]
        for what, name in JUDGED.items()
    }
    for code, name in (("z_mu", "mean"), ("z", "sample")):
        of_codes[f"the attribute told most by z ({name})"] = max(
            map(leak, attribute_probes(probes, code))
        )
    shares = {
        f"{what}, %": None if share is None else 100 * share for what, share in of_codes.items()
    }
    return {**{f"{name}, dB": e["psnr"] for name, e in psnrs.items()}, **shares}


def compare(runs: list[dict]) -> list[dict]:
    """A group for each kind of run, in their order: its `SETTINGS`, seeds, and rows {what, values
    (of each seed), mean, ci95}.

    A row in which a probe did not train has no mean. Raises `UserError` where two runs of a kind
    have one seed, or differ in their hyper-parameters, as those of different versions may.
    """
    kinds: dict[str, list[dict]] = {}
    for results in runs:
        kinds.setdefault(str([results[name] for name in SETTINGS]), []).append(results)
    groups = []
    for of_kind in kinds.values():
        of_kind.sort(key=lambda results: results["seed"])
        first, seeds = of_kind[0], [results["seed"] for results in of_kind]
        if len(set(seeds)) < len(seeds):
            raise UserError(
                f"two of the runs of {first['source']}, preset {first['preset']}, have the same"
                " seed: name one of them"
            )
        if any(
            results["training"]["hparams"] != first["training"]["hparams"] for results in of_kind
        ):
            raise UserError(
                f"the runs of {first['source']}, preset {first['preset']}, differ in their"
                " hyper-parameters: run them anew"
            )
        columns = [measured(results) for results in of_kind]
        rows = []
        for what in columns[0]:
            values = [column[what] for column in columns]
            mean, low, high = (None, None, None) if None in values else t_interval(values)
            if mean is not None and what.endswith("%"):
                low, high = max(low, 0.0), min(high, 100.0)
            rows.append({"what": what, "values": values, "mean": mean, "ci95": [low, high]})
        groups.append({**{name: first[name] for name in SETTINGS}, "seeds": seeds, "rows": rows})
    return groups


def main() -> None:
    prog, what = "python -m benchmarks.seeds", __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog=prog, description=what, allow_abbrev=False)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folders under reports/ of finished runs"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the numbers there")
    options = parser.parse_args()
    remedy = "name runs that ./run_all.sh finished"
    groups = compare(
        [read_json(run_dir(run) / "results.json", remedy) for run in dict.fromkeys(options.runs)]
    )
    for group in groups:
        print(
            f"{group['source']}, preset {group['preset']}, seeds"
            f" {', '.join(map(str, group['seeds']))}"
        )
        for row in group["rows"]:
            mean = (
                ""
                if row["mean"] is None
                else "{:7.1f} ({:.1f} to {:.1f})".format(row["mean"], *row["ci95"])
            )
            print(
                f"{row['what']:66}",
                *("      -" if v is None else f"{v:7.1f}" for v in row["values"]),
                mean,
            )
    if options.json:
        write_json(options.json, {"groups": groups})


if __name__ == "__main__":
    with cli_errors("benchmarks.seeds"):
        main()
