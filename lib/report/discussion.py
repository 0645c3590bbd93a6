"""What the numbers of a run say together: the discussion and conclusion of the report, computed."""

from lib.report.numbers import CODE_NAMES, fixed, percent, share
from lib.report.summary import leak_rows


def discussion(results: dict) -> list[str]:
    """Paragraphs: where the error of swaps comes from, what leaks, what the method assumes, and
    what the reverse cycle does.
    """
    conclusion = results.get("comparison", {}).get("conclusion", [])
    paragraphs = [_error(results), _leaks(results), _assumption(results), conclusion]
    return [" ".join(sentences) for sentences in paragraphs if sentences]


def _error(results: dict) -> list[str]:
    if "swap" not in results:
        return []
    swap, decoded = results["swap"], results["reconstruction"]["test"]["psnr"]
    psnr, several = swap["test"]["psnr"], swap["several"]
    text = [
        f"A swap has {fixed(psnr)} dB and a reconstruction of the same images {fixed(decoded)} dB,"
        f" so exchanging the codes costs {fixed(decoded - psnr)} dB."
    ]
    if several["gain"]["ci95"][0] > 0:
        text.append(
            f"With s from {several['images']} images, swaps gain {fixed(several['gain']['db'])} dB:"
            " one image does not show all of a character."
        )
    best, begun = swap["best"]["best"]["psnr"], swap["best"]["swap"]["psnr"]
    text.append(
        f"The same decoder reaches at least {fixed(best)} dB with optimised codes, where swaps have"
        f" {fixed(begun)} dB. So the codes of a swap cost at least this difference: the encoder"
        " misses it, or the s image hides it."
    )
    by_distance = swap.get("by_distance", {})
    total = sum(error["identities"] for error in by_distance.values())
    text += [
        f"{error['identities']} of {total} test identities differ from a training identity in the"
        f" {name}, so their swaps need little that is new."
        for name, error in by_distance.items()
        if "alone" in name
    ]
    return text


def _leaks(results: dict) -> list[str]:
    found = {code: leak_rows(results["probes"], code) for code in ("z_mu", "z", "s")}
    shown = {code: rows for code, rows in found.items() if rows and rows[1]["value"] > 0}
    if not any(found.values()):
        return []
    text = [
        f"{CODE_NAMES[code]} leaks {share(mean['value'])} % on average, and the"
        f" {largest['target']} most ({share(largest['value'])} %)."
        for code, (mean, largest) in shown.items()
    ]
    silent = [CODE_NAMES[code] for code, rows in found.items() if rows and code not in shown]
    if silent:
        text.append(
            f"No probe proves a leak of {' or '.join(silent)}. That does not prove"
            " that there is none."
        )
    if "z_mu" in shown and "z" in silent:
        text.append(
            "So the noise of z hides what its mean tells: who takes the mean takes the leak."
        )
    return text


def _assumption(results: dict) -> list[str]:
    right = results["training"]["matched_same_pose"]
    if results["training"]["match_contrast"] is None:
        return []
    text = ["Matching assumes that characters share poses, which the published method does not."]
    if right is not None:
        text.append(f"Here {percent(right)} % of matched images do.")
    return text
