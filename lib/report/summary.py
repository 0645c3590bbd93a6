"""What the report begins with: its first table, and why a run failed."""

from lib.report.findings import LEAK, WORKING_KL, collapse, reconstruction_finding
from lib.report.numbers import (
    CODE_NAMES,
    chosen_probe,
    evident_accuracy,
    excludes_zero,
    fixed,
    has_probe,
    leak_shares,
    leaks,
    listed,
    percent,
    plain,
    psnr_interval,
    rescaled,
    rescaled_accuracy,
    share,
    span,
)


def headline(results: dict) -> list[dict]:
    """The report's first table: {what, value, ci95, floor, ceiling}, first in dB, then as shares.

    The floor of a swap is the mean image of the target's pose; its ceiling, of which a lower bound
    is known, is that of optimised codes (`lib.evaluation.swaps.best_error`). Those of a probe are
    the majority-class baseline and the Bayes ceiling. A leak is a share of the way between them.
    """
    probes = results["probes"]
    if "swap" not in results:
        return headline_probes(probes)
    test = results["swap"]["test"]
    swap = {
        "what": "swap, PSNR in dB",
        "value": test["psnr"],
        "ci95": psnr_interval(test),
        "floor": results["swap"]["predictors"]["pose_mean"]["psnr"],
        "ceiling": results["swap"]["best"]["best"]["psnr"],
    }
    return [swap, *headline_probes(probes)]


def headline_probes(probes: list[dict]) -> list[dict]:
    """What each code should hold, and the leaks of each."""
    asked = {"identity from s": chosen_probe(probes, "s", "identity")}
    if has_probe(probes, "pose"):
        asked["pose from z (mean)"] = chosen_probe(probes, "z_mu", "pose")
        asked["pose from z (sampled)"] = chosen_probe(probes, "z", "pose")
    read = [
        {
            "what": name,
            "value": evident_accuracy(entry),
            "ci95": entry["ci95"],
            "floor": entry["baseline"],
            "ceiling": entry["ceiling"],
        }
        for name, entry in asked.items()
    ]
    return [*read, *(row for code in ("z_mu", "z", "s") for row in leak_rows(probes, code))]


def leak_rows(probes: list[dict], code: str) -> list[dict]:
    """Rows of the headline for the mean and the largest leak of a code, if any can be measured."""
    found = leaks(probes, code)
    if not found:
        return []
    shares = leak_shares(found)
    worst = max(shares, key=shares.get)
    name, entry = CODE_NAMES[code], found[worst]
    average = sum(shares.values()) / len(shares)
    mean = {"what": f"leak of {name}, mean of {len(shares)}", "value": average}
    largest = {"what": f"leak of {name}, largest", "value": shares[worst]}
    largest["target"] = plain(worst) if entry else "none proven"
    interval = [rescaled(end, entry) for end in entry["ci95"]] if entry else None
    ends = {"floor": 0.0, "ceiling": 1.0}
    return [{**mean, "ci95": None, **ends}, {**largest, "ci95": interval, **ends}]


def abstract(results: dict) -> list[str]:
    """What is asked, what the study found, what this run leaks, and then how good its swaps are."""
    data, hp = results["data"], results["training"]["hparams"]
    how = ["with matched images of different characters"] if hp["match_from"] < 1 else []
    how += ["without that cycle"] if not hp["reverse_weight"] else []
    text = [
        "The cycle-consistent VAE (Jha et al., 2018) learns codes of character (s) and pose (z)"
        " from pairs of images.",
        "Does its reverse cycle do anything?",
        *results.get("comparison", {}).get("brief", []),
        f"We train it on {data['words']['title']}{', ' if how else ''}{listed(how)}.",
    ]
    largest = {code: leak_rows(results["probes"], code)[1:] for code in ("z_mu", "s")}
    most = [
        f"{share(row['value'])} % in {CODE_NAMES[code]} ({row['target']})"
        for code, rows in largest.items()
        for row in rows
    ]
    text += [f"The largest leaks are {listed(most)}."] if most else []
    if "swap" not in results:
        return [*text, *reconstruction_finding(results["reconstruction"])]
    ends = span(*map(fixed, psnr_interval(results["swap"]["test"])))
    psnr, gain = results["swap"]["test"]["psnr"], results["swap"]["gain"]["retrieval_mean"]
    beside = "not shown to differ from"
    if excludes_zero(gain["ci95"]):
        between = span(*map(fixed, sorted(map(abs, gain["ci95"]))))
        side = "above" if gain["db"] > 0 else "below"
        beside = f"{fixed(abs(gain['db']))} dB ({between}) {side}"
    return [
        *text,
        f"Swaps of unseen identities reach {fixed(psnr)} dB ({ends}), {beside} the mean of"
        " the nearest training characters.",
    ]


def _no_swaps(test: float, floor: float) -> list[str]:
    if test > floor:
        return []
    return [
        f"s is ignored, or the model learned little: swaps ({fixed(test)} dB) are no closer to"
        f" the true images than the mean image of the pose ({fixed(floor)} dB)."
    ]


def failures(results: dict) -> list[str]:
    """Why a run is no evidence about the method; the report begins with these sentences."""
    swap, kl, text = results.get("swap"), results["training"]["kl_nats"], []
    if kl < WORKING_KL:
        text.append(collapse(kl))
    if swap:
        text += _no_swaps(swap["test"]["psnr"], swap["predictors"]["pose_mean"]["psnr"])
    held = [("s", "identity"), ("z_mu", "pose")]
    for code, target in held if has_probe(results["probes"], "pose") else held[:1]:
        entry = chosen_probe(results["probes"], code, target)
        if not entry["evidence"]:
            text.append(
                f"It is unknown whether {code[0]} encodes the {target}: the chosen probe is no"
                " evidence."
            )
        elif rescaled_accuracy(entry) < LEAK:
            text.append(
                f"{code[0]} hardly encodes the {target}: probe accuracy is"
                f" {percent(entry['accuracy'])} % (baseline {percent(entry['baseline'])} %)."
            )
    return text
