"""Numbers of a run, selected and formatted.

A number is rounded here, once, so that a sentence and a table show the same digits.
"""

from collections.abc import Sequence

CODE_NAMES = {
    "s": "s",
    "z_mu": "z (mean)",
    "z": "z (sampled)",
    "both": "s and z (mean)",
    "untrained": "untrained encoder",
    "pixels": "pixels",
}
CERTAIN = 0.9995  # a share that is printed as 100.0 %
NO_EVIDENCE = "no evidence"  # of a probe that did not train, or always gives the same answer


def fixed(value: float, digits: int = 1) -> str:
    return f"{value:z.{digits}f}"  # never -0.0


def percent(share: float) -> str:
    """A share of 0 to 1 in percent, without the sign."""
    return fixed(100 * share)


def share(value: float) -> str:
    """A share of 0 to 1 in whole percent, without the sign."""
    return fixed(100 * value, 0)


def count(number: float) -> str:
    return f"{number:,.0f}"


def plain(name: str) -> str:
    return name.replace("_", " ")


def listed(names: list[str], word: str = "and") -> str:
    """Names joined as in a sentence: "a, b and c"."""
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def capital(text: str) -> str:
    """The text with a capital letter at its start, as a sentence has."""
    return text[:1].upper() + text[1:]


def excludes_zero(interval: Sequence[float]) -> bool:
    """Whether a difference with this 95 % interval is shown."""
    low, high = interval
    return not low <= 0 <= high


def span(low: str, high: str) -> str:
    return f"{low} to {high}" if low.startswith("-") else f"{low}–{high}"


def psnr_interval(score: dict) -> list[float]:
    """The 95 % interval of an error in dB, from that of its MSE, whose ends change places."""
    from lib.evaluation.swaps import psnr  # here: torch would add seconds to each import

    return [psnr(mse) for mse in reversed(score["ci95"])]


def chosen_probe(probes: list[dict], code: str, target: str, split: str | None = None) -> dict:
    """The entry of the probe type that the validation images chose, of the first split if none."""
    return next(
        e
        for e in probes
        if (e["code"], e["target"], e["chosen"]) == (code, target, True)
        and split in (None, e["split"])
    )


def has_probe(probes: list[dict], target: str) -> bool:
    """Whether the target was probed: a source may not know it."""
    return any(e["target"] == target for e in probes)


def by_attributes(probes: list[dict], code: str) -> dict | None:
    """The entry of the identity classified attribute by attribute, if there is one."""
    return next((e for e in probes if (e["code"], e["kind"]) == (code, "attributes")), None)


def attribute_probes(probes: list[dict], code: str) -> list[dict]:
    """The chosen entries of all character attributes on one code."""
    return [
        e
        for e in probes
        if e["code"] == code
        and (e["chosen"], e["holder"]) == (True, "s")
        and e["target"] not in ("character", "identity")
    ]


def evident_accuracy(entry: dict | None) -> float | None:
    """The accuracy of a probe; None if it is no evidence, or absent."""
    return entry["accuracy"] if entry and entry["evidence"] else None


def rescaled(accuracy: float, entry: dict) -> float:
    """An accuracy on the scale of a probe: 0 at the majority-class baseline, 1 at the ceiling."""
    gap = entry["ceiling"] - entry["baseline"]
    return (accuracy - entry["baseline"]) / gap if gap > 0 else 0.0


def rescaled_accuracy(entry: dict) -> float:
    """The `rescaled` accuracy of a probe; 0 where it is no evidence."""
    return rescaled(entry["accuracy"], entry) if entry["evidence"] else 0.0


def strongest_leak(probes: list[dict], code: str, target: str) -> dict | None:
    """The best of all probes, of every kind and split, that prove that a code holds a target.

    None where none does. The others are no evidence that the code is free of it.
    """
    proven = [e for e in probes if (e["code"], e["target"], e["proven"]) == (code, target, True)]
    return max(proven, key=rescaled_accuracy, default=None)


def leaks(probes: list[dict], code: str) -> dict[str, dict | None]:
    """The `strongest_leak` of every target that a code should not hold."""
    targets = dict.fromkeys(e["target"] for e in probes if e["holder"] != code[0])
    names = [name for name in targets if name != "character"]
    names.sort(key=lambda name: name == "identity")  # last
    return {name: strongest_leak(probes, code, name) for name in names}


def leak_shares(found: dict[str, dict | None]) -> dict[str, float]:
    """The size of each of the `leaks`; 0 where none is proven."""
    return {target: rescaled_accuracy(e) if e else 0.0 for target, e in found.items()}
