"""What the report begins with: its first table, and why a run failed."""

from lib.report.findings import LEAK, WORKING_KL, collapse
from lib.report.numbers import (
    by_attributes,
    chosen_probe,
    fixed,
    percent,
    psnr_interval,
    rescaled_accuracy,
    trained_accuracy,
)


def headline(results: dict) -> list[dict]:
    """The report's first table: {what, value, ci95, floor, ceiling}, first in dB, then as shares.

    The floor of a swap is the mean image of the target's pose; its ceiling is that of optimised
    codes (`lib.evaluation.swaps.best_error`). Those of a probe are the majority-class baseline and
    the Bayes ceiling.
    """
    test, probes = results["swap"]["test"], results["probes"]
    swap = {
        "what": "swap, PSNR in dB",
        "value": test["psnr"],
        "ci95": psnr_interval(test),
        "floor": results["swap"]["predictors"]["pose_mean"]["psnr"],
        "ceiling": results["swap"]["best"]["best"]["psnr"],
    }
    asked = {
        "identity from s": chosen_probe(probes, "s", "identity"),
        "identity from z": chosen_probe(probes, "z_mu", "identity"),
        "identity from z, by attributes": by_attributes(probes, "z_mu"),
        "pose from z": chosen_probe(probes, "z_mu", "pose"),
        "pose from s": chosen_probe(probes, "s", "pose"),
    }
    read = [
        {
            "what": name,
            "value": trained_accuracy(entry),
            "ci95": entry["ci95"],
            "floor": entry["baseline"],
            "ceiling": entry["ceiling"],
        }
        for name, entry in asked.items()
    ]
    return [swap, *read]


def failures(results: dict) -> list[str]:
    """Why a run is no evidence about the method; the report begins with these sentences."""
    swap, kl, text = results["swap"], results["training"]["kl_nats"], []
    test, floor = swap["test"]["psnr"], swap["predictors"]["pose_mean"]["psnr"]
    if kl < WORKING_KL:
        text.append(collapse(kl))
    if test <= floor:
        text.append(
            f"s is ignored, or the model learned little: swaps ({fixed(test)} dB) are no closer to"
            f" the true images than the mean image of the pose ({fixed(floor)} dB)."
        )
    for code, target in (("s", "identity"), ("z_mu", "pose")):
        entry = chosen_probe(results["probes"], code, target)
        if not entry["trained"]:
            text.append(f"It is unknown whether {code[0]} encodes the {target}: no probe trained.")
        elif rescaled_accuracy(entry) < LEAK:
            text.append(
                f"{code[0]} hardly encodes the {target}: probe accuracy is"
                f" {percent(entry['accuracy'])} % (baseline {percent(entry['baseline'])} %)."
            )
    return text
