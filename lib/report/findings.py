"""Results and figures of a run to `results.json` and a typeset `report.pdf`; the text is
`reports/report.typ`.

Each notebook writes its own sections with `save_results`; `merge_results` joins them. A sentence
that draws a conclusion is computed here, once, from the numbers, and shown by the notebook and by
the report alike.
"""

from collections.abc import Iterable, Sequence

NAMES = {"sprites": "2D Sprites", "drawn": "the drawn sprites"}
WORKING_KL = 1.0  # nats: a z that carries less does not hold a pose


# times the mean step: where one of 11 steps takes more than a third of the way, the way is not even
JUMP = 4.0
NO_SHARE = "in no share that a probe could learn"
NOT_ATTRIBUTES = ("character", "identity", "action", "view", "frame", "pose")  # targets of probes


# rank correlation, from which on an error in pixels is said to tell of what the judge doubts
AGREES = 0.2
JUDGE = 0.01  # below the Bayes ceiling: the judge of swaps is trusted


# of the way from chance to what is possible, below which an attribute counts as held, or shown,
# little
HALF = 0.5
LEAK = 0.1  # of the way from chance to the ceiling, from which on a factor counts as given away


def data_finding(data: dict) -> str:
    """What the data allow any classifier to reach."""
    caps = {
        f"one of {data['characters']} characters": data["ceilings"]["character"],
        f"one of {data['identities']} identities": data["ceilings"]["identity"],
        f"one of {data['poses']} poses": data["ceilings"]["pose"],
    }
    capped = [
        f"{what} in more than {_percent(ceiling)}" for what, ceiling in caps.items() if ceiling < 1
    ]
    warning = (
        ""
        if data["as_published"] in (None, True)
        else "These are not the 119,616 images that were published. "
    )
    return (
        f"{warning}Of {data['images']:,} images {data['distinct_images']:,} are distinct, because"
        " characters that differ in the weapon alone look the same wherever it is hidden. From one"
        f" image nobody can name {' or '.join(capped)} of the images."
    )


def training_finding(training: dict) -> str:
    """Whether the model learned and what z carries."""
    kl = training["kl_nats"]
    first, final = (training[when]["reconstruction"] for when in ("first", "final"))
    text = (
        f"The squared error of an image went from {first:.0f}, over the first steps, to"
        f" {final:.0f}."
    )
    if kl < WORKING_KL:
        return (
            f"{text} z collapsed: it is charged {kl:.2f} nats an image, so it holds no pose: this"
            " run failed."
        )
    return (
        f"{text} z is charged {kl:.1f} nats an image, an upper bound on what a sample of it"
        f" carries; naming a pose takes {training['pose_nats']:.1f}."
    )


def match_finding(same_pose: float | None) -> str:
    """How far the poses that the training matched by itself are poses."""
    if same_pose is None:
        return "This run matched no images of different characters."
    return (
        "Of two images of different characters that the training held to be one pose,"
        f" {_percent(same_pose)} are, by the labels that it did not see."
    )


def swap_finding(swap: dict, reconstruction: dict) -> str:
    """On which side of the simple predictors the model stands, and what z brings along that it
    should not.
    """
    test, ssim, predictors = swap["test"]["psnr"], swap["test"]["ssim"], swap["predictors"]
    beaten = [name for name, error in predictors.items() if test > error["psnr"]]
    best = max(beaten, key=lambda name: predictors[name]["psnr"], default=None)
    retrieval = predictors["retrieval"]["psnr"]
    if test > retrieval:
        verdict = (
            f"It beats retrieval ({retrieval:.1f} dB): it composes characters and poses that it"
            " never saw together."
        )
        if ssim < (of := predictors["retrieval"]["ssim"]):
            verdict += (
                f" By structural similarity retrieval, which shows true sprites, is ahead ({of:.3f}"
                f" to {ssim:.3f})."
            )
    elif best is None:
        verdict = "It beats no simple predictor: this run did not learn to swap."
    else:
        verdict = (
            f"It beats {_plain(best)} ({predictors[best]['psnr']:.1f} dB) but not retrieval"
            f" ({retrieval:.1f} dB): by this measure it does not yet do better than remembering the"
            " nearest training character."
        )
    larger = {name: e for name, e in swap["by_attribute"].items() if e["ci95"][0] > 1}
    if larger:
        name, e = max(larger.items(), key=lambda item: item[1]["ratio"])
        brings = (
            f"The error depends most on the {_plain(name)}: where the two characters differ in it,"
            f" it is {e['ratio']:.2f} times (95 %: {e['ci95'][0]:.2f} to {e['ci95'][1]:.2f}) that"
            " where they do not."
        )
    else:
        brings = (
            "Of no attribute does the interval say that the error is larger where the two"
            " characters differ in it."
        )
    best_codes, (low, high) = swap["best"], _psnr_interval(swap["test"])
    return (
        f"On unseen identities a swap reaches {test:.1f} dB (95 %: {low:.1f} to {high:.1f}) against"
        f" the true sprite, a plain reconstruction {reconstruction['test']['psnr']:.1f} dB. On"
        f" {best_codes['best']['n']} of the swaps the best codes found for this decoder take"
        f" {best_codes['swap']['psnr']:.1f} to {best_codes['best']['psnr']:.1f} dB. {verdict}"
        f" {brings}"
    )


def prior_finding(prior: dict) -> str:
    """Whether a z from the prior is a pose of the data."""
    return (
        f"Of {prior['samples']['n']} sprites from z ~ N(0, I), {_percent(prior['as_near'])} are as"
        " near to a true image of their character as 19 of 20 swaps are; on average they lie at"
        f" {prior['samples']['psnr']:.1f} dB from the nearest, swaps at"
        f" {prior['swaps']['psnr']:.1f} dB."
    )


def interpolation_finding(interpolation: dict) -> str:
    """Whether the way between two sprites is even; 11 equal to a single jump on a path of 12
    images.
    """
    largest = {code: interpolation[f"largest_step_{code}"] for code in ("s", "z")}
    text = (
        f"Along a line in s the largest of 11 steps changes the image {largest['s']:.1f} times as"
        f" much as the mean step, along one in z {largest['z']:.1f} times (medians over"
        f" {interpolation['n']} pairs of test sprites)"
    )
    jumpy = [code for code, step in largest.items() if step > JUMP]
    verdict = f"a path in {' and in '.join(jumpy)} jumps" if jumpy else "neither path jumps"
    return (
        f"{text}: {verdict}; a step of more than {JUMP:.0f} times the mean is in"
        f" {_percent(interpolation['jumping_s'])} of the paths in s and"
        f" {_percent(interpolation['jumping_z'])} of those in z. A decoded end lies at"
        f" {interpolation['end_psnr']:.1f} dB from the nearest true image of its character, the"
        f" middle of a path in z at {interpolation['middle_psnr']:.1f} dB."
    )


def judge_finding(judge: dict) -> str:
    """What a judge that was trained on real images sees in the swaps, and what its verdict is
    worth.
    """
    truth, ceilings = judge["truth"], judge["ceilings"]
    short = {
        name: ceilings[name] - truth[name]
        for name in ceilings
        if name not in ("identity", "both", "pose_within_tolerance")
    }
    worst = max(short, key=short.get)
    worth = (
        "on true images it comes within a point of the ceiling in every attribute and the exact"
        " pose"
        if short[worst] < JUDGE
        else (
            f"on true images it is itself {100 * short[worst]:.1f} points below the ceiling in the"
            f" {_plain(worst)}, where its verdict is a lower bound"
        )
    )

    def sees(what: str) -> str:
        return f"{_percent(judge['swap'][what])} ({_percent(truth[what])})"

    chance = judge["baseline"]
    attributes = [name for name in chance if name not in ("identity", "pose")]
    little = [
        name
        for name in attributes
        if judge["swap"][name] - chance[name] < HALF * (truth[name] - chance[name])
    ]
    shown = [
        f"the {_plain(name)} (right in {_percent(judge['swap'][name])}, of true images in"
        f" {_percent(truth[name])}, chance {_percent(chance[name])})"
        for name in little
    ]
    hidden = f" Swaps show little of {', '.join(shown)}." if shown else ""
    told = [what for what, correlation in judge["rank_correlation"].items() if correlation > AGREES]
    agree = f"it tells of the {' and the '.join(told)}" if told else "it tells of neither"
    return (
        "A judge trained on true images sees the right identity, all but the weapon, in"
        f" {sees('identity')} of the swaps (of true images), the right pose, but for"
        f" {judge['tolerance_pixels']} pixels, in {sees('pose_within_tolerance')} and both in {sees('both')};"
        f" {worth}.{hidden} Retrieval has no test identity to give: there it sees the right one in"
        f" {_percent(judge['retrieval']['identity'])}. The error in pixels has a rank correlation"
        f" of {judge['rank_correlation']['identity']:.2f} with its doubt of the identity and of"
        f" {judge['rank_correlation']['pose']:.2f} with that of the pose: {agree}."
    )


def chosen_probe(probes: list[dict], code: str, target: str) -> dict:
    """The entry of the kind of probe that the validation images chose."""
    return next(e for e in probes if (e["code"], e["target"], e["chosen"]) == (code, target, True))


def by_attributes(probes: list[dict], code: str) -> dict:
    """The entry of the identity named attribute by attribute."""
    return next(e for e in probes if (e["code"], e["kind"]) == (code, "attributes"))


def attribute_probes(probes: list[dict], code: str) -> list[dict]:
    """The chosen entries of all attributes of the characters, read from a code."""
    return [
        e for e in probes if e["code"] == code and e["chosen"] and e["target"] not in NOT_ATTRIBUTES
    ]


def learnt(entry: dict) -> float | None:
    """The accuracy of a probe; None where it did not train, so that it is no evidence."""
    return entry["accuracy"] if entry["trained"] else None


def probe_finding(probes: list[dict]) -> str:
    """Who and which pose each code gives away, between chance and ceiling; identity also by its
    attributes.
    """

    def says(entry: dict) -> str:
        if not entry["trained"]:
            return NO_SHARE
        ceiling = f", ceiling {_percent(entry['ceiling'])}" if entry["ceiling"] < 0.9995 else ""
        return f"in {_percent(entry['accuracy'])} (chance {_percent(entry['baseline'])}{ceiling})"

    def read(code: str, target: str) -> str:
        return says(chosen_probe(probes, code, target))

    leaks = {
        code: [e for e in attribute_probes(probes, code) if leak(e) > LEAK]
        for code in ("z_mu", "z")
    }
    text = (
        f"s names the identity {read('s', 'identity')} of the images, the mean of z"
        f" {read('z_mu', 'identity')} or, attribute by attribute,"
        f" {says(by_attributes(probes, 'z_mu'))}. The mean of z names the pose"
        f" {read('z_mu', 'pose')}, a sample of z, which is what the decoder saw in training,"
        f" {read('z', 'pose')}. "
    )
    if leaks["z_mu"]:
        worst = max(leaks["z_mu"], key=leak)["target"]
        named = [_plain(e["target"]) for e in sorted(leaks["z"], key=leak, reverse=True)]
        text += (
            f"The mean of z is not free of who: most of all it gives away the {_plain(worst)},"
            f" {read('z_mu', worst)}; a sample of z gives away"
            f" {' and '.join(named) if named else 'no attribute'}. "
        )
    else:
        text += "No attribute is read from z beyond chance. "
    poor = [
        f"the {_plain(e['target'])}, {says(e)}"
        for e in attribute_probes(probes, "s")
        if leak(e) < HALF
    ]
    text += f"Of attributes, s hardly names {', '.join(poor)}. " if poor else ""
    holder = (
        "s is not free of the pose"
        if leak(chosen_probe(probes, "s", "pose")) > LEAK
        else "s is free of the pose"
    )
    return f"{text}{holder}: it names it {read('s', 'pose')}."


def protocol_finding(protocols: dict[str, dict]) -> str:
    """What the published protocol says of the same codes, and why that says little."""
    s, z = (protocols[code] for code in ("s", "z"))
    learnt = z["published"]["cross_entropy"] < z["published"]["uniform"]
    silence = (
        f"Its z probe ends at {z['published']['cross_entropy']:.2f} nats, where a uniform guess has"
        f" {z['published']['uniform']:.2f}: it "
        + ("learnt something." if learnt else "did not learn, so its silence says nothing of z.")
    )

    def named(target: str) -> str:
        return NO_SHARE if s[target] is None else f"in {_percent(s[target])}"

    return (
        f"By the published protocol, cut to {s['published']['epochs']} epochs on"
        f" {s['published']['images']:,} images, this model would score"
        f" {_percent(s['published']['accuracy'])} from s and {_percent(z['published']['accuracy'])}"
        " from z over characters. From s no classifier can have more than"
        f" {_percent(s['ceiling'])}, as equal images bear different names; ours names the character"
        f" {named('character')} of unseen poses (there the ceiling is"
        f" {_percent(s['character_ceiling'])}) and the identity {named('identity')}. {silence}"
    )


def prediction_finding(prediction: dict) -> str:
    """How far one code can be predicted from the other, and what the decoder makes of the
    prediction.
    """
    s, z, judged = prediction["s_from_z"], prediction["z_from_s"], prediction["judged"]
    return (
        f"Of the variance of s on unseen identities {_percent(max(0.0, s['r2']))} is predicted from"
        f" z, and of that of z {_percent(max(0.0, z['r2']))} from s. Decoded with the s that z"
        " predicts, the judge sees the right identity in"
        f" {_percent(judged['predicted_s']['identity'])} of the images (with their own s in"
        f" {_percent(judged['encoded']['identity'])}); with the z that s predicts, the right"
        f" pose, nearly, in {_percent(judged['predicted_z']['pose_within_tolerance'])}"
        f" ({_percent(judged['encoded']['pose_within_tolerance'])})."
    )


def block_finding(blocks: dict) -> str:
    """How far each code tells of one kind of factor alone."""
    pure, gaps = (
        blocks["disentanglement_by_code"],
        dict(zip(blocks["factors"], blocks["gap_by_factor"], strict=True)),
    )
    wrong = [_plain(name) for name, gap in gaps.items() if gap < 0]
    return (
        f"Of 1, the disentanglement of z is {pure['z']:.2f} and of s {pure['s']:.2f}; the code that"
        f" should hold a factor tells on average {100 * blocks['gap']:.0f} points more of its"
        " entropy than the other"
        + (f", but of {' and '.join(wrong)} the wrong code tells more." if wrong else ".")
    )


def headline(results: dict) -> list[dict]:
    """The report's first table: {what, value, ci95, floor, ceiling}, first in dB, the rest as
    shares.

    The floor of a swap is the mean image of the target's pose and its ceiling that of the best
    codes found (`lib.evaluation.swaps.best_error`); those of a probe are chance and the Bayes
    ceiling.
    """
    test, probes = results["swap"]["test"], results["probes"]
    rows = [
        {
            "what": "swap, PSNR in dB",
            "value": test["psnr"],
            "ci95": _psnr_interval(test),
            "floor": results["swap"]["predictors"]["pose_mean"]["psnr"],
            "ceiling": results["swap"]["best"]["best"]["psnr"],
        }
    ]
    asked = {
        "identity from s": chosen_probe(probes, "s", "identity"),
        "identity from z": chosen_probe(probes, "z_mu", "identity"),
        "identity from z, by attributes": by_attributes(probes, "z_mu"),
        "pose from z": chosen_probe(probes, "z_mu", "pose"),
        "pose from s": chosen_probe(probes, "s", "pose"),
    }
    for what, entry in asked.items():
        rows.append(
            {
                "what": what,
                "value": learnt(entry),
                "ci95": entry["ci95"],
                "floor": entry["baseline"],
                "ceiling": entry["ceiling"],
            }
        )
    return rows


def failures(results: dict) -> list[str]:
    """Why a run is no evidence of the method, a sentence each: the report begins with them."""
    swap, kl, said = results["swap"], results["training"]["kl_nats"], []
    if kl < WORKING_KL:
        said.append(f"z collapsed: it is charged {kl:.2f} nats an image, so it holds no pose.")
    if swap["test"]["psnr"] <= (floor := swap["predictors"]["pose_mean"]["psnr"]):
        said.append(
            f"s is ignored, or little was learnt: a swap ({swap['test']['psnr']:.1f} dB) comes no"
            f" nearer to the truth than the mean image of its pose ({floor:.1f} dB)."
        )
    for code, target, what in (("s", "identity", "who"), ("z_mu", "pose", "which pose")):
        entry = chosen_probe(results["probes"], code, target)
        if not entry["trained"]:
            said.append(
                f"Whether {code[0]} holds {what} is not known: no probe of the {target} trained."
            )
        elif leak(entry) < LEAK:
            said.append(
                f"{code[0]} hardly holds {what}: a probe names the {target} in"
                f" {_percent(entry['accuracy'])} of the images (chance"
                f" {_percent(entry['baseline'])})."
            )
    return said


def seeds_finding(groups: list[dict]) -> str:
    """What swaps reach over several trainings that differ in their seed, of each kind of run."""
    said = []
    for group in groups:
        swap = next(row for row in group["rows"] if row["what"] == "swap, dB")
        settings = "".join(f", {name} {value}" for name, value in group["overrides"].items())
        said.append(
            f"Over {len(group['seeds'])} seeds swaps of preset {group['preset']}{settings} on"
            f" {NAMES[group['source']]} reach {swap['mean']:.1f} dB (95 %: {swap['ci95'][0]:.1f} to"
            f" {swap['ci95'][1]:.1f})."
        )
    return " ".join(said)


def recipe_finding(table: list[dict]) -> str:
    """What the changes from the published recipe to ours gained together, which of them most, and
    which nothing.
    """
    changes = table[1:]
    most = max(changes, key=lambda row: row["gained"])
    nothing = [
        f"\u201c{row['change']}\u201d ({row['gained']:+.1f} dB)"
        for row in changes
        if row["gained"] <= 0
    ]
    text = (
        f"Together they take swaps from {table[0]['swap_psnr']:.1f} to {table[-1]['swap_psnr']:.1f}"
        f" dB; the largest step, of {most['gained']:.1f} dB, is \u201c{most['change']}\u201d."
    )
    return f"{text} In this time no gain came from {' or '.join(nothing)}." if nothing else text


def cost_finding(points: list[dict]) -> str:
    """What a training pair takes in preset `fast`, the first of the points, and how that changes
    from end to end of each setting.
    """
    base, changes = points[0], []
    settings = {
        "images": "images",
        "size": "pixels each way",
        "z_dim": "numbers in z",
        "s_dim": "numbers in s",
    }
    for name, what in {**settings, "batch_images": "images a step"}.items():
        varied = sorted(
            [base, *(p for p in points if p[name] != base[name])], key=lambda p: p[name]
        )
        low, high = varied[0], varied[-1]
        time, memory = (
            high["seconds_a_pair"] / low["seconds_a_pair"],
            high["peak_bytes"] / low["peak_bytes"],
        )
        changes.append(
            f"{time:.1f} times the time and {memory:.1f} times the memory from {low[name]:,} to"
            f" {high[name]:,} {what}"
        )
    most = max(points, key=lambda p: p["images"])
    return (
        f"A pair takes {1e3 * base['seconds_a_pair']:.1f} ms of training, in a process of"
        f" {base['peak_bytes'] / 2**30:.1f} GiB at most. It takes {', '.join(changes)}. For"
        f" {most['images']:,} images the matches are found in {most['match_seconds']:.0f} s, and"
        f" all are encoded in {most['encode_seconds']:.0f} s."
    )


def leak(entry: dict) -> float:
    """How far a probe comes on the way from chance (0) to the ceiling (1)."""
    way = entry["ceiling"] - entry["baseline"]
    return (entry["accuracy"] - entry["baseline"]) / way if entry["trained"] and way > 0 else 0.0


def _psnr_interval(score: dict) -> list[float]:
    """The 95 % interval of a swap's error in dB; that of its MSE ends where this one begins."""
    from lib.evaluation.swaps import (
        psnr,
    )  # here, as torch would add seconds to each import of this module

    return [psnr(mse) for mse in reversed(score["ci95"])]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
