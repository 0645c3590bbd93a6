"""What the study says: its tables, its claims with their verdicts, and its sentences.

A run is what `benchmarks.study` keeps of one training. A group is the runs on one split of one
source. Differences between methods are paired by seed.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.methods import (
    BASE,
    LONGEST,
    LONGEST_FORWARD,
    MAIN_WEIGHTS,
    METHODS,
    PRESET_METHODS,
    PUBLISHED_IMAGES,
    RATES,
    RIVALS,
    SEARCH_IMAGES,
    STUDIED,
    STUDY_IMAGES,
    searched_weight,
)
from lib.config import make_hparams
from lib.evaluation.intervals import t_interval, training_interval
from lib.report.numbers import capital, count, excludes_zero, fixed, listed, span
from lib.report.tables import Table

SOURCE_NAMES = {"sprites": "2D Sprites", "drawn": "drawn sprites"}
# the metrics of each table, and their digits
SWAP_METRICS = {
    "swap, dB": 1,
    "swap, SSIM": 3,
    "swap with s from four images, dB": 1,
    "reconstruction, dB": 1,
}
PRESET_METRICS = {
    **SWAP_METRICS,
    "gain over retrieval mean, dB": 1,
    "identity from s, %": 1,
    "pose from z (mean), %": 1,
    "pose from s, %": 1,
    "largest leak of z (mean), %": 0,
}
CODE_METRICS = {
    "identity from s, %": 1,
    "pose from z (mean), %": 1,
    "pose from s, %": 1,
    "mean leak of s, %": 0,
    "mean leak of z (mean), %": 0,
    "mean leak of z (sampled), %": 0,
}
SPLIT = ("source", "split", "split_seed")  # of a group
SWAP, LEAK, POSE = "swap, dB", "mean leak of z (mean), %", "pose from s, %"
SAMPLED_LEAK, POSE_FROM_Z = "mean leak of z (sampled), %", "pose from z (mean), %"
CHOSEN_BY = "validation swap, dB"
FOREST = (SWAP, POSE, LEAK)  # the differences that the figure shows
# the methods whose curves another figure shows
FOLLOWED = (*PRESET_METHODS, BASE, "published", "published-forward", LONGEST, LONGEST_FORWARD)
FEWEST = 3  # pairs of trainings without which no difference is tested


class Claim(NamedTuple):
    """A sentence about two methods: it holds if `metric` of the first is higher, or lower."""

    text: str
    method: str
    reference: str
    metric: str
    higher: bool


PLAIN = "unmatched"  # what rivals are compared with, too
# predictors that every training is compared with: an image of the right pose, and more than that
SIMPLE = {"pose-mean": "the mean image of the pose", "retrieval": "the nearest training character"}
PUBLISHED, LONGER = (
    f"with {100 * images / make_hparams('paper').images_seen:.0f} % of the published training"
    for images in (STUDY_IMAGES, PUBLISHED_IMAGES)
)
TIMES_LONGER = f"On {PUBLISHED_IMAGES // STUDY_IMAGES} times as many images"
# what a reverse cycle may change: the metric, its name, how a rise and a fall read, unit and digits
EFFECTS = {
    SWAP: ("swaps", ("improves", "worsens"), "dB", 2),
    LEAK: ("the mean leak of z (mean)", ("increases", "reduces"), "points", 1),
    SAMPLED_LEAK: ("the mean leak of z (sampled)", ("increases", "reduces"), "points", 1),
    POSE_FROM_Z: ("the pose from z (mean)", ("increases", "reduces"), "points", 1),
}
REVERSE = {
    PUBLISHED: ("published", "published-forward"),
    LONGER: (LONGEST, LONGEST_FORWARD),
    "on our networks (every fourth step)": ("unmatched-reverse", "unmatched"),
    "on our networks (every step)": ("unmatched-reverse-every-step", "unmatched"),
    "beside matching (every fourth step)": ("reverse", BASE),
    "beside matching (every step)": ("reverse-every-step", BASE),
}
CLAIMS = (
    *(
        Claim(f"The reverse cycle reduces what z leaks, {where}.", *pair, LEAK, False)
        for where, pair in REVERSE.items()
    ),
    *(
        Claim(
            f"The reverse cycle reduces what samples of z leak, {where}.",
            *pair,
            SAMPLED_LEAK,
            False,
        )
        for where, pair in REVERSE.items()
    ),
    *(
        Claim(f"The reverse cycle makes swaps better, {where}.", *pair, SWAP, True)
        for where, pair in REVERSE.items()
    ),
    Claim(
        "A reverse cycle with a gradient through the decoder is worse than one without.",
        *("undetached", "unmatched-reverse", SWAP, False),
    ),
    Claim(
        "A reverse cycle with a gradient through the decoder is worse than none.",
        *("undetached", PLAIN, SWAP, False),
    ),
    Claim("Without the exchange of s, s holds more of the pose.", "own-s", BASE, POSE, True),
    Claim("A z of 64 leaks more than one of 8.", "z-64", BASE, LEAK, True),
    Claim("A z of 512 leaks more than one of 8.", "z-512", BASE, LEAK, True),
    Claim("Without the KL term, z leaks more.", "no-kl", BASE, LEAK, True),
    Claim(
        "Swaps of “unmatched-reverse” are better than those of an adversary on swaps.",
        *("adversarial", "unmatched-reverse", SWAP, False),
    ),
    Claim(
        "“unmatched-reverse” leaks less into z than an adversary on swaps.",
        *("adversarial", "unmatched-reverse", LEAK, True),
    ),
    Claim("Matching makes swaps better.", "unmatched", BASE, SWAP, False),
    Claim("Matching reduces what z leaks.", "unmatched", BASE, LEAK, True),
    Claim(
        "Without the agreement of codes, s holds more of the pose.",
        *("no-agreement", BASE, POSE, True),
    ),
    *(
        Claim(f"Swaps are better than those of {METHODS[name].meaning}.", name, BASE, SWAP, False)
        for name in RIVALS
    ),
    # no rival has matching, so this is the fairer comparison
    *(
        Claim(
            f"Without matching, swaps are better than those of {METHODS[name].meaning}.",
            *(name, PLAIN, SWAP, False),
        )
        for name in RIVALS
    ),
)
HOLDS, OPPOSITE, UNKNOWN = "holds", "does not hold: the opposite", "cannot tell"
VERDICT_PHRASES = {HOLDS: "better", OPPOSITE: "worse", UNKNOWN: "not shown to differ"}


def group_runs(runs: Sequence[Mapping]) -> list[dict]:
    """{source, split, split_seed, methods} for each split of each source, see `summaries`."""
    splits = dict.fromkeys(tuple(run[name] for name in SPLIT) for run in runs)
    groups = []
    for split in splits:
        here = [run for run in runs if tuple(run[name] for name in SPLIT) == split]
        groups.append({**dict(zip(SPLIT, split, strict=True)), "methods": summaries(here)})
    return groups


def summaries(runs: Sequence[Mapping]) -> dict[str, dict]:
    """{method: {seeds, metrics: {name: {mean, ci95, n, differences}}}} of the runs of one split.

    Intervals are over seeds, those of swaps and gains over outfits, too. The differences {other:
    {mean, ci95, n}} to the method's references are between runs with the same seed, with intervals
    over seeds.
    """
    by_method: dict[str, dict[int, Mapping]] = {}
    for run in runs:
        by_method.setdefault(run["method"], {})[run["seed"]] = run
    found = {}
    for method in filter(by_method.get, METHODS):
        by_seed, metrics = by_method[method], {}
        for name in dict.fromkeys(name for run in by_seed.values() for name in run["metrics"]):
            present = {k: run for k, run in by_seed.items() if name in run["metrics"]}
            metrics[name] = over_seeds(name, list(present.values()))
            values = {k: run["metrics"][name] for k, run in present.items()}
            differences = {
                other: entry
                for other in references(method)
                if (entry := difference(name, values, by_method.get(other, {})))
            }
            metrics[name]["differences"] = differences
        found[method] = {"seeds": sorted(by_seed), "metrics": metrics}
    return found


def references(method: str) -> list[str]:
    """The methods that a method is compared with."""
    claimed = [claim.reference for claim in CLAIMS if claim.method == method]
    simple = [] if METHODS[method].predictor else SIMPLE
    return [name for name in dict.fromkeys([METHODS[method].reference, *claimed, *simple]) if name]


def over_seeds(name: str, runs: Sequence[Mapping]) -> dict[str, object]:
    """{mean, ci95, n} of a metric. No interval of a share leaves 0 to 100 %."""
    values = [run["metrics"][name] for run in runs]
    if name not in runs[0]["ci95"]:
        mean, *interval = t_interval(values)
        interval = np.clip(interval, 0, 100).tolist() if name.endswith("%") else interval
        return interval_entry(values, mean, *interval)
    intervals = [run["ci95"][name] for run in runs]
    return interval_entry(values, *training_interval(values, intervals, runs[0]["outfits"]))


def difference(
    name: str, values: Mapping[int, float], others: Mapping[int, Mapping]
) -> dict[str, object] | None:
    """Of {seed: value} of a metric to that of the other method's runs; None without a pair."""
    pairs = [
        value - others[seed]["metrics"][name]
        for seed, value in values.items()
        if name in others.get(seed, {}).get("metrics", {})
    ]
    return interval_entry(pairs, *t_interval(pairs)) if pairs else None


def interval_entry(
    values: Sequence[float], mean: float, low: float, high: float
) -> dict[str, object]:
    """A single value has no interval."""
    return {"mean": mean, "ci95": [low, high] if len(values) > 1 else None, "n": len(values)}


def shown(entry: Mapping | None, digits: int) -> str:
    if entry is None:
        return "–"
    mean, interval = fixed(entry["mean"], digits), entry["ci95"]
    return mean if interval is None else f"{mean} ({ends(interval, digits)})"


def ends(interval: Sequence[float], digits: int) -> str:
    return span(*(fixed(end, digits) for end in interval))


def paired(group: Mapping, method: str, reference: str, metric: str) -> Mapping | None:
    """The difference of a metric between two methods; None where either was not measured."""
    entry = group["methods"].get(method, {}).get("metrics", {}).get(metric, {})
    return entry.get("differences", {}).get(reference)


def tested(group: Mapping, method: str, reference: str, metric: str) -> Mapping | None:
    """As `paired`, but None for fewer than FEWEST pairs."""
    entry = paired(group, method, reference, metric)
    return entry if entry and entry["n"] >= FEWEST else None


def is_shown(entry: Mapping) -> bool:
    """Whether the interval of a difference excludes 0."""
    return excludes_zero(entry["ci95"])


def size(entry: Mapping, digits: int, unit: str) -> str:
    """A difference that is shown, without its sign."""
    interval = ends(sorted(map(abs, entry["ci95"])), digits)
    return f"{fixed(abs(entry['mean']), digits)} {unit} ({interval})"


def verdict(entry: Mapping, higher: bool) -> str:
    """Whether a claim holds."""
    if not is_shown(entry):
        return UNKNOWN
    return HOLDS if (entry["mean"] > 0) == higher else OPPOSITE


def claim_rows(groups: Sequence[Mapping]) -> list[list[str]]:
    """A row for each claim and group in which it was tested."""
    return [
        [
            claim.text,
            SOURCE_NAMES[group["source"]],
            f"“{claim.method}” less “{claim.reference}”, {claim.metric}",
            shown(entry, 2 if claim.metric.endswith("dB") else 1),
            verdict(entry, claim.higher),
        ]
        for claim in CLAIMS
        for group in groups
        if (entry := tested(group, claim.method, claim.reference, claim.metric))
    ]


def method_rows(groups: Sequence[Mapping]) -> list[list[str]]:
    """Name and meaning of every method that was measured."""
    measured = {name for group in groups for name in group["methods"]}
    return [[f"“{name}”", METHODS[name].meaning] for name in METHODS if name in measured]


def searched_runs(runs: Sequence[Mapping], rival: str) -> dict[str, float]:
    """{method: PSNR of validation swaps} of the trainings that chose the settings of a rival."""
    names = [name for name, method in METHODS.items() if method.chooses == rival]
    return {run["method"]: run["metrics"][CHOSEN_BY] for run in runs if run["method"] in names}


def search_table(runs: Sequence[Mapping]) -> dict:
    """How the settings of each rival were chosen; a rival without a search has no settings."""
    rows = []
    for rival in RIVALS:
        tried, chosen = searched_runs(runs, rival), ["–"] * 3
        if tried:
            best = max(tried, key=tried.__getitem__)
            weight = f"{MAIN_WEIGHTS[rival][0]} {searched_weight(METHODS[best]):g}"
            chosen = [f"{METHODS[best].hp.learning_rate:g}", weight, fixed(tried[best], 2)]
        rows.append([f"“{rival}”", METHODS[rival].meaning, str(len(tried)), *chosen])
    caption = (
        f"The settings of each rival, chosen on validation swaps by trainings of"
        f" {count(SEARCH_IMAGES)} images."
    )
    head = ["rival", "what it is", "trainings", "learning rate", "main weight", CHOSEN_BY]
    return {"caption": caption, "head": head, "rows": rows}


def value_rows(group: Mapping, metrics: Mapping[str, int], base: bool = False) -> list[list[str]]:
    """A row for each method that has one of the metrics; with its difference to BASE in dB."""
    rows = []
    for name, each in group["methods"].items():
        if not any(metric in each["metrics"] for metric in metrics):
            continue
        values = [shown(each["metrics"].get(m), digits) for m, digits in metrics.items()]
        if base:
            values.insert(1, shown(paired(group, name, BASE, SWAP), 2))
        seeds = "–" if METHODS[name].predictor else str(len(each["seeds"]))  # these have none
        rows.append([f"“{name}”", seeds, *values])
    return rows


def value_tables(group: Mapping) -> list[dict]:
    """{caption, head, rows} of the swaps of a group, and of its codes."""
    where, head = split_name(group), ["mean (95 %)", "seeds"]
    swap_head = [*head, *SWAP_METRICS]
    swap_head.insert(3, f"less “{BASE}”, dB")
    return [
        {
            "caption": f"Swaps: {where}.",
            "head": swap_head,
            "rows": value_rows(group, SWAP_METRICS, base=True),
        },
        {
            "caption": f"Codes: {where}.",
            "head": [*head, *CODE_METRICS],
            "rows": value_rows(group, CODE_METRICS),
        },
    ]


def compare(runs: Sequence[Mapping], groups: Sequence[Mapping]) -> dict[str, object]:
    """What notebook 06 and the report show: tables {caption, head, rows}, and what they say."""
    claims = claim_rows(groups)
    main = next((group for group in groups if group["source"] == "sprites"), groups[0])
    return {
        "brief": brief_answer(main),
        "conclusion": conclusion(main),
        "methods": {
            "caption": "The methods.",
            "head": ["method", "what it is"],
            "rows": method_rows(groups),
        },
        "search": search_table(runs),
        "values": [table for group in groups for table in value_tables(group)],
        "claims": {
            "caption": "Claims, and what the study says of them.",
            "head": ["claim", "source", "compared", "difference (95 %)", "verdict"],
            "rows": claims,
        },
        "finding": [
            *answer(groups),
            *(sentence for group in groups for sentence in surpassed(group)),
            *(sentence for group in groups for sentence in beside_rivals(group)),
            *(sentence for group in groups for sentence in beside_predictors(group)),
            *search_edges(runs),
            *devices(runs),
            verdicts(claims),
        ],
        "forest": {split_name(group): forest(group) for group in groups},
        "curves": {split_name(group): curves(runs, group) for group in groups},
    }


def verdicts(claims: Sequence[Sequence[str]]) -> str:
    """How many rows of `claim_rows` have each verdict."""
    found = [row[-1] for row in claims]
    return (
        f"Verdicts on {len(found)} claims: {found.count(HOLDS)} times “{HOLDS}”,"
        f" {found.count(OPPOSITE)} times “{OPPOSITE}”, {found.count(UNKNOWN)} times “{UNKNOWN}”."
    )


def curves(runs: Sequence[Mapping], group: Mapping) -> dict[str, list[list[float]]]:
    """{method: [images seen, PSNR of validation swaps]}, means over the seeds of a group."""
    here = [run for run in runs if all(run[name] == group[name] for name in SPLIT)]
    found = {name: [run["curve"] for run in here if run["method"] == name] for name in FOLLOWED}
    return {name: np.mean(each, axis=0).tolist() for name, each in found.items() if each}


def forest(group: Mapping) -> dict[str, dict[str, Mapping]]:
    """{metric: {method: its paired difference to BASE}} of the metrics in the figure."""
    return {
        metric: {
            name: entry
            for name in group["methods"]
            if name not in PRESET_METHODS and (entry := paired(group, name, BASE, metric))
        }
        for metric in FOREST
    }


def answer(groups: Sequence[Mapping]) -> list[str]:
    """Whether the reverse cycle does anything: a sentence for each setting and source."""
    return [
        f"On {SOURCE_NAMES[group['source']]}, {where}, the reverse cycle {_effects(effects)}."
        for group in groups
        for where, pair in REVERSE.items()
        if (effects := _tested_effects(group, *pair))
    ]


def _tested_effects(group: Mapping, method: str, reference: str) -> dict[str, Mapping]:
    """{metric: difference} of what a reverse cycle may change and what was tested."""
    found = {metric: tested(group, method, reference, metric) for metric in EFFECTS}
    return {metric: entry for metric, entry in found.items() if entry}


def _effects(effects: Mapping[str, Mapping]) -> str:
    changes, unchanged = [], []
    for metric, entry in effects.items():
        noun, verbs, unit, digits = EFFECTS[metric]
        if is_shown(entry):
            amount = size(entry, digits, unit)
            changes.append(f"{verbs[entry['mean'] < 0]} {noun} by {amount}")
        else:
            unchanged.append(f"{noun} ({shown(entry, digits)} {unit})")
    parts = [listed(changes)] if changes else []
    parts += [f"is not shown to change {listed(unchanged, 'or')}"] if unchanged else []
    return "; it ".join(parts)


def surpassed(group: Mapping) -> list[str]:
    """Which methods have better swaps than BASE, which worse, and of which it is not shown."""
    phrases = {
        HOLDS: f"better swaps than “{BASE}”",
        OPPOSITE: "worse swaps",
        UNKNOWN: "swaps whose difference is not shown",
    }
    found = by_verdict(group, forest(group)[SWAP], BASE)
    return [
        f"{capital(split_name(group))}: {phrase}: {quoted(found[kind])}."
        for kind, phrase in phrases.items()
        if found[kind]
    ]


def by_verdict(
    group: Mapping, methods: Iterable[str], reference: str
) -> dict[str, dict[str, Mapping]]:
    """{verdict: {method: difference}} on the claim that swaps are better than the reference's."""
    found: dict[str, dict[str, Mapping]] = {HOLDS: {}, OPPOSITE: {}, UNKNOWN: {}}
    for name in methods:
        if entry := tested(group, name, reference, SWAP):
            found[verdict(entry, higher=True)][name] = entry
    return found


def beside_rivals(group: Mapping) -> list[str]:
    """Which rivals have better or worse swaps than the method without matching, which none has."""

    def with_differences(entries: Mapping[str, Mapping]) -> str:
        return listed([f"“{name}” ({shown(entry, 2)} dB)" for name, entry in entries.items()])

    found = by_verdict(group, RIVALS, PLAIN)
    return _beside(group, f"swaps of rivals, compared with “{PLAIN}”", found, with_differences)


def beside_predictors(group: Mapping) -> list[str]:
    """Of which methods the swaps are better than those of a predictor without a network."""
    trained = [name for name in group["methods"] if not METHODS[name].predictor]
    text = []
    for predictor, meaning in SIMPLE.items():
        found = by_verdict(group, trained, predictor)
        text += _beside(group, f"swaps, compared with {meaning} (“{predictor}”)", found, quoted)
    return text


def _beside(
    group: Mapping,
    compared: str,
    found: Mapping[str, Mapping[str, Mapping]],
    named: Callable[[Mapping[str, Mapping]], str],
) -> list[str]:
    """A sentence on what `by_verdict` found, whose methods `named` lists; none without any."""
    parts = [f"{VERDICT_PHRASES[kind]}: {named(each)}" for kind, each in found.items() if each]
    return [f"{capital(split_name(group))}: {compared}, are {'; '.join(parts)}."] if parts else []


def quoted(names: Iterable[str]) -> str:
    return listed([f"“{name}”" for name in names])


def conclusion(group: Mapping) -> list[str]:
    """What the reverse cycle, and matching, do to the leak of z and to swaps of one source."""
    return [*on_the_reverse_cycle(group), *_with_more_images(group), *_of_matching(group)]


def on_the_reverse_cycle(group: Mapping) -> list[str]:
    """Where it reduces the leak of z, where that is not shown, and where it makes swaps better."""
    found = _reverse_effects(group)
    if not found:
        return []
    reduced, text = _shown_settings(found, LEAK, -1), []
    others = [where for where in found if where not in reduced]
    start = f"On {SOURCE_NAMES[group['source']]}, the reverse cycle"
    if reduced:
        text.append(f"{start} reduces the mean leak of z (mean) {_amounts(found, LEAK, reduced)}.")
        if set(reduced) <= set(_shown_settings(found, POSE_FROM_Z, -1)):
            text.append("There, z tells less of the pose, too.")
    if others:
        start = "It" if reduced else start
        text.append(f"{start} is not shown to reduce that leak {listed(others, 'or')}.")
    better, worse = (_shown_settings(found, SWAP, sign) for sign in (1, -1))
    text += [f"It makes swaps better {_amounts(found, SWAP, better)}."] if better else []
    text += [f"It makes swaps worse {_amounts(found, SWAP, worse)}."] if worse else []
    text += [] if better else ["It is not shown to make swaps better anywhere."]
    return text


def brief_answer(group: Mapping) -> list[str]:
    """As `on_the_reverse_cycle`, in few words, for an abstract that has just named the cycle."""
    found = _reverse_effects(group)
    if not found:
        return []
    reduced, start = _shown_settings(found, LEAK, -1), f"On {SOURCE_NAMES[group['source']]}, it"
    text = [f"{start} is not shown to reduce the mean leak of z (mean)."]
    if reduced:
        text = [f"{start} reduces the mean leak of z (mean) {_amounts(found, LEAK, reduced)}."]
        text += ["Elsewhere, that is not shown."] if len(reduced) < len(found) else []
    if _leaks_more(group):
        leak = group["methods"][LONGEST]["metrics"][LEAK]["mean"]
        text.append(f"{TIMES_LONGER}, the published method leaks {fixed(leak, 0)} % anyway.")
    better, worse = (_shown_settings(found, SWAP, sign) for sign in (1, -1))
    swaps = (
        f"The cycle is shown to improve swaps in {len(better) or 'none'} of {len(found)} settings"
    )
    if worse:
        most = min((found[where][SWAP] for where in worse), key=lambda entry: entry["mean"])
        swaps += f" and worsen them in {len(worse)}, by up to {size(most, 2, 'dB')}"
    return [*text, f"{swaps}."]


def _reverse_effects(group: Mapping) -> dict[str, dict[str, Mapping]]:
    """{setting: what the reverse cycle changes}, where its effect on the leak was tested."""
    found = {where: _tested_effects(group, *pair) for where, pair in REVERSE.items()}
    return {where: effects for where, effects in found.items() if LEAK in effects}


def _shown_settings(
    found: Mapping[str, Mapping[str, Mapping]], metric: str, sign: int
) -> list[str]:
    """Where the reverse cycle is shown to change a metric in this direction."""
    return [
        where
        for where, effects in found.items()
        if (e := effects.get(metric)) and is_shown(e) and sign * e["mean"] > 0
    ]


def _amounts(
    found: Mapping[str, Mapping[str, Mapping]], metric: str, settings: Sequence[str]
) -> str:
    """By how much the reverse cycle changes a metric in each of these settings."""
    _, _, unit, digits = EFFECTS[metric]
    return listed([f"{where} by {size(found[where][metric], digits, unit)}" for where in settings])


def _leaks_more(group: Mapping) -> Mapping | None:
    """By how much more the published method leaks after a longer training, if that is shown."""
    entry = tested(group, LONGEST, "published", LEAK)
    return entry if entry and is_shown(entry) and entry["mean"] > 0 else None


def _with_more_images(group: Mapping) -> list[str]:
    """How much more the published method leaks after a longer training, and without its cycle."""
    entry = _leaks_more(group)
    if not entry:
        return []
    names = LONGEST, "published", LONGEST_FORWARD
    long, short, alone = (
        group["methods"].get(name, {}).get("metrics", {}).get(LEAK) for name in names
    )
    text = [
        f"{TIMES_LONGER}, the mean of z of the published method leaks"
        f" {fixed(long['mean'], 0)} % instead of {fixed(short['mean'], 0)} %,"
        f" {size(entry, 0, 'points')} more, in spite of its reverse cycle."
    ]
    if alone and not tested(group, LONGEST, LONGEST_FORWARD, LEAK):
        trainings = "one training is" if alone["n"] == 1 else f"{alone['n']} trainings are"
        text.append(
            f"Without the reverse cycle, it leaks {fixed(alone['mean'], 0)} % there; {trainings}"
            " too few to test whether the cycle changes that."
        )
    return text


def _of_matching(group: Mapping) -> list[str]:
    swap, leak = (tested(group, PLAIN, BASE, metric) for metric in (SWAP, LEAK))
    if not swap or not leak or not (is_shown(swap) and is_shown(leak)):
        return []
    change, more = "worse" if swap["mean"] < 0 else "better", "more" if leak["mean"] > 0 else "less"
    return [
        f"Without matching, swaps are {size(swap, 1, 'dB')} {change}, and the mean of z leaks"
        f" {size(leak, 0, 'points')} {more}."
    ]


def search_edges(runs: Sequence[Mapping]) -> list[str]:
    """Which rivals were chosen at the end of what was tried: better settings may lie beyond."""
    fastest, at_end = [], []
    for rival, (_, weights) in MAIN_WEIGHTS.items():
        if tried := searched_runs(runs, rival):
            best = METHODS[max(tried, key=tried.__getitem__)]
            if best.hp.learning_rate == max(RATES):
                fastest.append(rival)
            if searched_weight(best) in (min(weights), max(weights)):
                at_end.append(rival)
    text = [f"The search chose the highest learning rate for {quoted(fastest)}."] if fastest else []
    if at_end:
        text.append(f"It chose the smallest or the largest weight for {quoted(at_end)}.")
    if text:
        text.append("Better settings of these may exist, so the study may show them too weak.")
    return text


def devices(runs: Sequence[Mapping]) -> list[str]:
    """Which methods were trained on another device than a CPU."""
    found: dict[str, list[str]] = {}
    for method in STUDIED:
        for device in sorted({run["device"] for run in runs if run["method"] == method} - {"cpu"}):
            found.setdefault(device, []).append(method)
    return [f"Trained on {device}: {quoted(names)}." for device, names in found.items()]


def split_name(group: Mapping) -> str:
    number = f" {group['split_seed']}" if group["split_seed"] else ""
    return f"{SOURCE_NAMES[group['source']]}, split by {group['split']}{number}"


def heading(name: str, method: Mapping) -> str:
    seeds = len(method["seeds"])
    return f"“{name}”, {seeds} seed{'s' if seeds > 1 else ''}"


def presets_table(groups: Sequence[Mapping]) -> Table:
    """A row for each metric, and a column for each preset on each source, in the main split."""
    columns = {
        f"{SOURCE_NAMES[group['source']]}, {heading(name, method)}": method
        for group in groups
        if (group["split"], group["split_seed"]) == ("identity", 0)
        for name, method in group["methods"].items()
        if name in PRESET_METHODS
    }
    return ["mean (95 %)", *columns], [
        [name, *(shown(each["metrics"].get(name), digits) for each in columns.values())]
        for name, digits in PRESET_METRICS.items()
    ]


def presets_finding(groups: Sequence[Mapping]) -> list[str]:
    """Each preset's swaps, and by how much they differ from those of its reference."""
    text = []
    for group in groups:
        for name in filter(group["methods"].get, PRESET_METHODS):
            each = group["methods"][name]
            entry = each["metrics"][SWAP]
            text.append(
                f"Swaps of {heading(name, each)}, reach {shown(entry, 1)} dB ({split_name(group)})."
            )
            reference = METHODS[name].reference
            if other := entry["differences"].get(reference):
                text.append(_compared(name, reference, other))
    return text


def _compared(name: str, reference: str, entry: Mapping) -> str:
    if entry["n"] < FEWEST:
        return f"Fewer than {FEWEST} pairs of runs do not test its difference to “{reference}”."
    if is_shown(entry):
        better = "better" if entry["mean"] > 0 else "worse"
        return f"That is {size(entry, 2, 'dB')} {better} than “{reference}”."
    value = f"{fixed(entry['mean'], 2)} dB ({ends(entry['ci95'], 2)})"
    return f"It is not shown that “{name}” and “{reference}” differ: {value}."


def describe(runs: Sequence[Mapping]) -> dict:
    """What the report shows of all runs; `comparison` only where methods were compared."""
    groups = group_runs([run for run in runs if run["method"] in STUDIED])
    head, rows = presets_table(groups)
    caption = "Presets on several seeds: mean (95 %)."
    content = {
        "runs": list(runs),
        "groups": groups,
        "finding": presets_finding(groups),
        "tables": [{"caption": caption, "head": head, "rows": rows}],
    }
    compared = [group for group in groups if any(forest(group).values())]
    if compared:
        content["comparison"] = compare(runs, compared)
    return content


def tidy(runs: Sequence[Mapping], fields: Sequence[str]) -> str:
    """CSV with a line for each metric of each run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, "metric", "value", "commit"])
    for run in runs:
        for metric, value in run["metrics"].items():
            settings = [run[name] for name in fields]
            writer.writerow([*settings, metric, f"{value:.6g}", run["code"]["commit"]])
    return text.getvalue()
