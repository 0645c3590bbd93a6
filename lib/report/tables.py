"""Tables of a run as (head, rows) of strings, for the notebooks, the report and the README alike.

`markdown(*table)` shows one in a notebook; `report_tables` gives all of them to report.typ.
"""

from collections.abc import Iterable, Sequence

from lib.config import PRESETS, SETTINGS
from lib.data.stored import DIGIT_SOURCES
from lib.report.numbers import (
    CERTAIN,
    CODE_NAMES,
    NO_EVIDENCE,
    by_attributes,
    chosen_probe,
    count,
    fixed,
    percent,
    plain,
    rescaled,
    rescaled_accuracy,
    share,
    span,
)
from lib.report.numbers import leaks as proven_leaks

Table = tuple[list[str], list[list[str]]]
JUDGED = {
    "identity": "identity",
    "pose_within_tolerance": "pose within tolerance",
    "both": "identity and pose",
}


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def captioned(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, below its caption."""
    return f"**{caption}**\n\n{markdown(head, rows)}"


def hyper_parameters(hparams: dict, published: dict) -> Table:
    """Every hyper-parameter beside its published value, what it means, and why ours differs."""
    rows = [
        [
            name,
            _setting(value),
            _setting(published[name]),
            SETTINGS[name].metadata["meaning"],
            SETTINGS[name].metadata.get("why", "") if value != published[name] else "",
        ]
        for name, value in hparams.items()
    ]
    return ["hyper-parameter", "this run", "published", "meaning", "why"], rows


def changed_hyper_parameters(hparams: dict, published: dict) -> Table:
    """The hyper-parameters that differ from their published values."""
    head, rows = hyper_parameters(hparams, published)
    return head[:3], [row[:3] for row in rows if row[1] != row[2]]


def headline(rows: list[dict]) -> Table:
    """The rows of `lib.report.summary.headline`."""
    head = ["", "this run", "95 %", "floor", "ceiling"]
    return head, [_headline_row(row, fixed if "dB" in row["what"] else percent) for row in rows]


def _headline_row(row: dict, shown) -> list[str]:
    value, interval = row["value"], span(*map(shown, row["ci95"])) if row["ci95"] else ""
    read = [NO_EVIDENCE, ""] if value is None else [shown(value), interval]
    ceiling = f"≥ {shown(row['ceiling'])}" if "dB" in row["what"] else shown(row["ceiling"])
    name = f"{row['what']}: {row['target']}" if row.get("target") else row["what"]
    return [name, *read, shown(row["floor"]), ceiling]


def named_errors(swap: dict, reconstruction: dict) -> dict[str, dict]:
    """The errors of the stored sections by the names that the table shows."""
    return {
        **swap["predictors"],
        "swap": swap["test"],
        f"swap, mean s of {swap['several']['images']} images": swap["several"],
        "swap, s of training identities": swap["train_s_test_z"],
        "swap, z of training identities": swap["test_s_train_z"],
        "swap, training identities": swap["train"],
        "reconstruction": reconstruction["test"],
    }


def swap_errors(errors: dict[str, dict]) -> Table:
    """Errors {name: {mse, ci95, psnr, ssim, foreground_mse, n}}, a row each."""
    head = ["", "MSE", "95 %", "PSNR, dB", "SSIM", "foreground MSE", "n"]
    return head, [
        [
            plain(name),
            fixed(e["mse"], 5),
            span(*(fixed(end, 5) for end in e["ci95"])),
            fixed(e["psnr"]),
            fixed(e["ssim"], 3),
            fixed(e["foreground_mse"], 4),
            count(e["n"]),
        ]
        for name, e in errors.items()
    ]


def errors_by_pose(by_target: dict, by_s_image: dict) -> Table:
    """PSNR of swaps by action and view: of the target, and of the s image."""
    poses = [(factor, name) for factor, names in by_target.items() for name in names]
    rows = [
        [label, *(fixed(e[f][name]["psnr"]) if name in e[f] else "–" for f, name in poses)]
        for label, e in (("target", by_target), ("s image", by_s_image))
    ]
    return ["PSNR, dB", *(name for _, name in poses)], rows


def errors_by_attribute(by_attribute: dict) -> Table:
    """MSE of swaps where the two characters differ in an attribute and where they do not."""
    rows = [
        [
            plain(name),
            fixed(e["differs"]["mse"], 5),
            fixed(e["same"]["mse"], 5),
            fixed(e["ratio"], 2),
            span(*(fixed(end, 2) for end in e["ci95"])),
        ]
        for name, e in by_attribute.items()
    ]
    return ["MSE where A and B", "differ", "do not", "ratio", "95 %"], rows


def errors_by_distance(by_distance: dict) -> Table:
    """PSNR of swaps by the difference of the most similar training identity."""
    head = ["nearest training identity differs in", "test identities", "PSNR, dB", "swaps"]
    return head, [
        [name, count(e["identities"]), fixed(e["psnr"]), count(e["n"])]
        for name, e in by_distance.items()
    ]


def part_scores(parts: dict) -> Table:
    """Of swaps whose characters differ in an attribute, how many show that of the s image."""
    rows = [
        [plain(name), percent(e["score"]), span(*map(percent, e["ci95"])), count(e["n"])]
        for name, e in parts.items()
    ]
    return ["part nearer to the s image, %", "swaps", "95 %", "n"], rows


def judge(results: dict) -> Table:
    """The judge's accuracies in %, beside the majority-class baseline and the ceiling."""
    columns = {
        "swap": "swap",
        "reconstruction": "reconstruction",
        "train_reconstruction": "of training identities",
        "blurred": "blurred truth",
        "truth": "truth",
        "retrieval": "retrieval",
        "baseline": "baseline",
        "ceilings": "ceiling",
    }
    columns = {key: name for key, name in columns.items() if key in results}
    return ["%", *columns.values()], [
        [
            JUDGED.get(name, plain(name)),
            *(percent(results[key][name]) if name in results[key] else "–" for key in columns),
        ]
        for name in results["ceilings"]
    ]


def probe_accuracies(probes: list[dict]) -> Table:
    """Accuracy in %, with its 95 % interval, of the chosen probe on each code."""
    targets = dict.fromkeys((e["target"], e["split"]) for e in probes if e["chosen"])
    rows = {}
    for target, split in targets:
        name = f"{plain(target)}, {split}" if split == "unseen cells" else plain(target)
        rows[name] = [
            chosen_probe(probes, code, target, split) if _probed(probes, code, split) else None
            for code in CODE_NAMES
        ]
    if by_attributes(probes, "s"):
        rows["identity, by attributes"] = [by_attributes(probes, code) for code in CODE_NAMES]
    head = ["accuracy, % (95 %)", "baseline", *CODE_NAMES.values(), "ceiling"]
    return head, [
        [
            name,
            percent(entries[0]["baseline"]),
            *map(_accuracy, entries),
            percent(entries[0]["ceiling"]),
        ]
        for name, entries in rows.items()
    ]


def _probed(probes: list[dict], code: str, split: str) -> bool:
    return any((e["code"], e["split"]) == (code, split) for e in probes)


def leaks(probes: list[dict]) -> Table:
    """Of each code, every target that it should not hold: the strongest proven leak."""
    rows = []
    for code in ("z_mu", "z", "s"):
        for target, e in proven_leaks(probes, code).items():
            read = ["none proven"] + [""] * 5
            if e:
                scale = [rescaled(end, e) for end in e["ci95"]]
                read = [
                    share(rescaled_accuracy(e)),
                    span(*map(share, scale)),
                    percent(e["accuracy"]),
                    percent(e["baseline"]),
                    percent(e["ceiling"]),
                    f"{e['kind']}, {e['split']}",
                ]
            rows.append([CODE_NAMES[code], plain(target), *read])
    head = ["code", "target", "leak, %", "95 %", "accuracy, %", "baseline", "ceiling", "probe"]
    return head, rows


def _accuracy(entry: dict | None) -> str:
    if entry is None:
        return "–"
    if not entry["evidence"]:
        return NO_EVIDENCE
    ends = ("100" if end > CERTAIN else percent(end) for end in entry["ci95"])
    return f"{percent(entry['accuracy'])} ({span(*ends)})"


def nats(information: dict) -> Table:
    """A lower bound on the mutual information of code and target, and online code lengths."""
    rows = [
        [
            CODE_NAMES[code],
            target,
            NO_EVIDENCE if e["nats"] is None else fixed(e["nats"], 2),
            *(fixed(e["online"][name], 2) for name in ("nats", "uniform")),
        ]
        for code, targets in information.items()
        for target, e in targets.items()
    ]
    return ["code", "target", "information, nats", "online code", "uniform code"], rows


def selectivity(entries: list[dict]) -> Table:
    """Mean accuracy over the attributes, beside that on permuted labels."""
    rows = [
        [
            f"{CODE_NAMES[e['code']]}, {e['kind']}",
            *(percent(share) for share in (e["true"], e["control"], e["true"] - e["control"])),
        ]
        for e in entries
    ]
    return ["mean over attributes, %", "true labels", "permuted labels", "selectivity"], rows


def protocols(results: dict[str, dict]) -> Table:
    """Accuracies in % under the published protocol and ours, on the same codes.

    Without twins, our probe of the identity is that of the character. Not every source has
    attributes.
    """
    found = next(iter(results.values()))
    ours = "character" if "character" in found else "identity"
    read = {"ceiling": "its ceiling", ours: "ours", "character_ceiling": "our ceiling"}
    others = {"identity": "identity", "by_attributes": "identity, by attributes"}
    read |= {name: title for name, title in others.items() if name in found and name not in read}
    return ["%", "published", "nats (guess)", *read.values()], [
        [
            CODE_NAMES[code],
            percent(e["published"]["accuracy"]),
            f"{fixed(e['published']['cross_entropy'], 3)} ({fixed(e['published']['uniform'], 3)})",
            *(NO_EVIDENCE if e[name] is None else percent(e[name]) for name in read),
        ]
        for code, e in results.items()
    ]


PAPER_DIGITS = {"16 / 16": (98.35, 17.56), "64 / 64": (98.33, 26.55)}  # z / s, % from s and from z


def digit_accuracies(probes: list[dict], hparams: dict) -> Table:
    """Accuracy for the digit beside that of the paper, which used MNIST and its own classifiers.

    Source: Jha et al. (ECCV 2018), table 1.
    """
    ours = (chosen_probe(probes, code, "identity") for code in ("s", "z_mu", "z"))
    sizes = f"{hparams['z_dim']} / {hparams['s_dim']}"
    published = [
        ["paper, MNIST", size, fixed(s, 2), "", fixed(z, 2)]
        for size, (s, z) in PAPER_DIGITS.items()
    ]
    head = ["digit, %", "size of z / s", *(CODE_NAMES[code] for code in ("s", "z_mu", "z"))]
    return head, [*published, ["this run", sizes, *map(_accuracy, ours)]]


def predictions(prediction: dict) -> Table:
    """Errors of one code predicted from the other."""
    names = {"s_from_z": "s from z (mean)", "z_from_s": "z (mean) from s"}
    rows = [
        [
            names[key],
            fixed(prediction[key]["mse"], 4),
            fixed(prediction[key]["mse_of_mean"], 4),
            fixed(prediction[key]["r2"], 3),
        ]
        for key in names
    ]
    return ["", "MSE", "MSE of the mean", "R²"], rows


def decoded_predictions(prediction: dict) -> Table:
    """Images decoded from predicted codes: PSNR, and the judge's accuracies in %."""
    judged_keys = [key for key in JUDGED if key in prediction["judged"]["encoded"]]
    rows = [
        [
            {"encoded": "encoded s and z"}.get(name, plain(name)),
            fixed(prediction[name]["psnr"]),
            *(percent(judged[key]) for key in judged_keys),
        ]
        for name, judged in prediction["judged"].items()
    ]
    head = [f"{name}, %" for key, name in JUDGED.items() if key in judged_keys]
    return ["decoded from", "PSNR, dB", *head], rows


def report_tables(r: dict) -> dict[str, Table]:
    """Every table of report.typ, from the results of a run."""
    hparams = r["training"]["hparams"]
    return {
        "changes": changed_hyper_parameters(hparams, r["training"]["published"]),
        "headline": headline(r["headline"]),
        **_swap_tables(r),
        "judge": judge(r["judge"]),
        "probes": probe_accuracies(r["probes"]),
        "leaks": leaks(r["probes"]),
        "nats": nats(r["information"]),
        "selectivity": selectivity(r["selectivity"]),
        "protocols": protocols(r["protocols"]),
        "decoded": decoded_predictions(r["prediction"]),
        **(
            {"digits": digit_accuracies(r["probes"], hparams)}
            if r["source"] in DIGIT_SOURCES
            else {}
        ),
    }


def _swap_tables(r: dict) -> dict[str, Table]:
    """Those tables of errors that the source allows; without known poses, of reconstructions."""
    if "swap" not in r:
        return {"errors": swap_errors({"reconstruction": r["reconstruction"]["test"]})}
    swap = r["swap"]
    found = {"errors": swap_errors(named_errors(swap, r["reconstruction"]))}
    if swap.get("by_distance"):
        found["distance"] = errors_by_distance(swap["by_distance"])
    if swap.get("by_target"):
        found["where"] = errors_by_pose(swap["by_target"], swap["by_s_image"])
    if swap.get("parts"):
        found["parts"] = part_scores(swap["parts"])
    return found


def report_numbers(r: dict) -> dict[str, str]:
    """Every single number in the text of report.typ, formatted."""
    training, blocks = r["training"], r["blocks"]
    scores = ("disentanglement", "completeness", "informativeness", "gap") if blocks else ()
    splits = {
        f"{name}_identities": count(s["identities"]) for name, s in r["data"]["splits"].items()
    }
    # stored results may be older than a setting, which then was as published
    hparams = {**PRESETS["paper"], **training["hparams"]}
    settings = {f"hp_{name}": _setting(value) for name, value in hparams.items()}
    return {
        **settings,
        "images": count(r["data"]["images"]),
        "characters": count(r["data"]["characters"]),
        **splits,
        "random_split_leak": percent(r["data"]["random_split_leak"]),
        "match_from": percent(training["hparams"]["match_from"]),
        "agreement_from": percent(hparams["agreement_from"]),
        "parameters": count(sum(training["parameters"].values())),
        "pairs": count(training["pairs"]),
        "minutes": fixed(training["seconds"] / 60),
        "pairs_per_second": count(training["pairs_per_second"]),
        "kl": fixed(training["kl_nats"]),
        **(_swap_numbers(r["swap"]) if "swap" in r else {}),
        "judged": count(r["judge"]["n"]),
        "tolerance": count(r["judge"]["tolerance_pixels"]),
        "pixels": count(r["data"]["size"] ** 2),
        "published_epochs": count(r["protocols"]["s"]["published"]["epochs"]),
        "published_images": count(r["protocols"]["s"]["published"]["images"]),
        **{name: fixed(blocks[name], 2) for name in scores},
        **{
            f"r2_{name}": fixed(r["prediction"][name]["r2"], 3) for name in ("s_from_z", "z_from_s")
        },
    }


def _swap_numbers(swap: dict) -> dict[str, str]:
    return {
        "swaps": count(swap["test"]["n"]),
        "neighbours": count(swap["neighbours"]),
        "optimised": count(swap["best"]["best"]["n"]),
        "optimised_steps": count(swap["best"]["steps"]),
        "optimised_before": fixed(swap["best"]["swap"]["psnr"]),
        "optimised_after": fixed(swap["best"]["best"]["psnr"]),
    }


def _setting(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
