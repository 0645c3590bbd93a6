"""Numbers of a run, selected and formatted.

A number is rounded here, once, so that a sentence and a table show the same digits.
"""

CODE_NAMES = {
    "s": "s",
    "z_mu": "z (mean)",
    "z": "z (sampled)",
    "both": "s and z (mean)",
    "untrained": "untrained encoder",
    "pixels": "pixels",
}
NOT_ATTRIBUTES = ("character", "identity", "action", "view", "frame", "pose")  # targets of probes
CERTAIN = 0.9995  # a share that is printed as 100.0 %
UNTRAINED = "did not train"


def fixed(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}"


def percent(share: float) -> str:
    """A share of 0 to 1 in percent, without the sign."""
    return fixed(100 * share)


def count(number: float) -> str:
    return f"{number:,.0f}"


def plain(name: str) -> str:
    return name.replace("_", " ")


def listed(names: list[str]) -> str:
    """Names joined as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def span(low: str, high: str) -> str:
    return f"{low}–{high}"


def psnr_interval(score: dict) -> list[float]:
    """The 95 % interval of an error in dB, from that of its MSE, whose ends change places."""
    from lib.evaluation.swaps import psnr  # here: torch would add seconds to each import

    return [psnr(mse) for mse in reversed(score["ci95"])]


def chosen_probe(probes: list[dict], code: str, target: str) -> dict:
    """The entry of the probe type that the validation images chose."""
    return next(e for e in probes if (e["code"], e["target"], e["chosen"]) == (code, target, True))


def by_attributes(probes: list[dict], code: str) -> dict:
    """The entry of the identity classified attribute by attribute."""
    return next(e for e in probes if (e["code"], e["kind"]) == (code, "attributes"))


def attribute_probes(probes: list[dict], code: str) -> list[dict]:
    """The chosen entries of all character attributes on one code."""
    return [
        e for e in probes if e["code"] == code and e["chosen"] and e["target"] not in NOT_ATTRIBUTES
    ]


def trained_accuracy(entry: dict) -> float | None:
    """The accuracy of a probe; None if it did not train, since it is then no evidence."""
    return entry["accuracy"] if entry["trained"] else None


def rescaled_accuracy(entry: dict) -> float:
    """The accuracy of a probe, rescaled: 0 at the majority-class baseline, 1 at the ceiling."""
    gap = entry["ceiling"] - entry["baseline"]
    return (entry["accuracy"] - entry["baseline"]) / gap if entry["trained"] and gap > 0 else 0.0
