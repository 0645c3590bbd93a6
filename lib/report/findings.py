"""Conclusions of a run, computed from its results: each finding is a list of short sentences.

Notebooks show them as bullets, the report as a paragraph. A sentence changes with its numbers.
"""

from lib.report.numbers import (
    CERTAIN,
    CODE_NAMES,
    attribute_probes,
    chosen_probe,
    count,
    excludes_zero,
    fixed,
    has_probe,
    leak_shares,
    leaks,
    listed,
    percent,
    plain,
    psnr_interval,
    rescaled_accuracy,
    share,
    span,
)

PREDICTORS = {
    "black": "a black image",
    "mean": "the mean image",
    "pose_mean": "the mean image of the pose",
    "additive": "the additive predictor",
    "retrieval": "retrieval",
    "retrieval_mean": "the mean of the nearest training characters",
}
REMEMBERING = ("retrieval", "retrieval_mean")  # predictors that show training characters
WORKING_KL = 1.0  # nats: a z that carries less does not encode a pose
JUMP = (
    4.0  # steps above this multiple of the mean are jumps: more than a third of a path of 11 steps
)
AGREES = 0.2  # rank correlation from which pixel error and the judge's loss are said to correlate
JUDGE = 0.01  # the judge is trusted if it is less than this below the Bayes ceiling
READABLE = 0.05  # by which the judge must beat the baseline on true images to say anything
HALF = 0.5  # of the range from baseline to ceiling: a code or swap below it carries little
LEAK = 0.1  # of the same range: a code below it hardly encodes what it should
LEARNED = 0.01  # nats by which a classifier must beat a uniform guess on test images
GOOD_CONTRAST = 0.5  # of matches; drawn sprites have 0.85, unrelated digits 0.2
PART = 0.95  # a part that is right in fewer swaps is named
MOSTLY = 0.5  # of samples of the prior near true images: a generative model of poses


def bullets(findings: dict[str, list[str]]) -> str:
    """The sentences of all findings as a Markdown list."""
    return "\n".join(f"- {sentence}" for finding in findings.values() for sentence in finding)


def data_finding(data: dict) -> list[str]:
    """The accuracy that the data allow any classifier."""
    classes = {"character": "characters", "identity": "identities", "pose": "poses"}
    capped = [
        f"{percent(data['ceilings'][name])} % for the {name} ({count(data[plural])} classes)"
        for name, plural in classes.items()
        if data["ceilings"].get(name, 1.0) < CERTAIN
    ]
    text = [f"{count(data['distinct_images'])} of {count(data['images'])} images are distinct."]
    if hidden := data["hidden"]:
        text.append(
            f"Characters that differ only in the {listed([plain(name) for name in hidden])} look"
            " the same where it is hidden."
        )
    if capped:
        text.append(
            "Over all images, no classifier of single images can exceed an accuracy of"
            f" {listed(capped)}."
        )
    if data["as_published"] is False:
        text.insert(0, "These images differ from the 119,616 published ones.")
    return text


def training_finding(training: dict) -> list[str]:
    """Whether the model learned, and how much z carries."""
    kl = training["kl_nats"]
    first, final = (training[when]["reconstruction"] for when in ("first", "final"))
    changed = "fell" if final < first else "rose"
    text = [f"The squared error per image {changed} from {count(first)} to {count(final)}."]
    if kl < WORKING_KL:
        return [*text, f"{collapse(kl)} This run failed."]
    return [
        *text,
        f"The KL term is {fixed(kl)} nats per image, an upper bound on the information in a sample"
        " of z.",
        *_room(kl, training["pose_nats"], training["identity_nats"]),
    ]


def _room(kl: float, pose_nats: float | None, identity_nats: float) -> list[str]:
    """Whether z has room for the identity beside the pose."""
    if pose_nats is None:
        return [f"Identifying an identity takes {fixed(identity_nats)} nats."]
    text, rest = [f"Identifying a pose takes {fixed(pose_nats)} nats."], kl - pose_nats
    if rest >= identity_nats:
        return [
            *text,
            f"The other {fixed(rest)} nats exceed the {fixed(identity_nats)} nats of an identity,"
            " so z has room for all of it.",
        ]
    return [
        *text,
        f"The other {fixed(max(0.0, rest))} nats are fewer than the {fixed(identity_nats)} nats of"
        " an identity.",
    ]


def match_finding(same_pose: float | None, contrast: float | None) -> list[str]:
    """How many matched pairs show the same pose, and whether the matches look bad."""
    if contrast is None:
        return ["This run matched no images of different characters."]
    text = [f"Matched images are {share(contrast)} % more alike than other images."]
    if contrast < GOOD_CONTRAST:
        text.append(
            "So the matches look bad: characters that appear in the same poses have more than"
            f" {share(GOOD_CONTRAST)} %. Turn matching off with match_from=1."
        )
    if same_pose is not None:
        text.append(
            f"{percent(same_pose)} % of matched pairs show the same pose (labels unused in"
            " training)."
        )
    return text


def transfer_findings(sections: dict[str, dict]) -> dict[str, list[str]]:
    """The findings of notebook 3, of those sections that there are."""
    reconstruction = sections["reconstruction"]
    found = {"judge": judge_finding(sections["judge"])}
    if "swap" not in sections:
        return {"reconstruction": reconstruction_finding(reconstruction), **found}
    swap = {"swap": swap_finding(sections["swap"], reconstruction)}
    return {**swap, **found, "prior": prior_finding(sections["prior"])}


def reconstruction_finding(reconstruction: dict) -> list[str]:
    """How near decoded images are, where no true image of a swap is known."""
    test = reconstruction["test"]
    low, high = map(fixed, psnr_interval(test))
    return [
        f"Reconstructions of {count(test['n'])} test images reach {fixed(test['psnr'])} dB PSNR"
        f" (95 % interval {low} to {high}).",
        "No pose is known, so no swap has a true image to be compared with.",
    ]


def swap_finding(swap: dict, reconstruction: dict) -> list[str]:
    """How swaps compare with simple predictors, and which attribute raises their error."""
    optimised, several = swap["best"], swap["several"]
    gain = several["gain"]
    before, after = optimised["swap"]["psnr"], optimised["best"]["psnr"]
    end = "It converged" if optimised["converged"] else "It had not converged"
    return [
        *swap_summary(swap),
        f"With the mean s of {several['images']} images of the character, they reach"
        f" {fixed(several['psnr'])} dB (gain {fixed(gain['db'])} dB, {fixed(gain['ci95'][0])} to"
        f" {fixed(gain['ci95'][1])}).",
        f"Plain reconstructions of the same images reach {fixed(reconstruction['test']['psnr'])}"
        " dB.",
        f"Optimising the codes of {count(optimised['best']['n'])} swaps for this decoder changes"
        f" their PSNR from {fixed(before)} to {fixed(after)} dB, a lower bound on its best.",
        f"{end} after {count(optimised['steps'])} steps.",
        *_by_distance(swap.get("by_distance", {})),
        *_wrong_parts(swap.get("parts", {})),
        *([_largest_effect(swap["by_attribute"])] if swap.get("by_attribute") else []),
    ]


def swap_summary(swap: dict) -> list[str]:
    """The error of swaps, and which predictors they beat."""
    low, high = map(fixed, psnr_interval(swap["test"]))
    return [
        f"On unseen identities, swaps reach {fixed(swap['test']['psnr'])} dB PSNR (95 % interval"
        f" {low} to {high}).",
        *_against_predictors(swap["test"], swap["predictors"], swap["gain"]),
    ]


def _against_predictors(test: dict, predictors: dict, gains: dict) -> list[str]:
    """A predictor is beaten where the interval of the paired gain excludes 0."""
    psnr = {name: error["psnr"] for name, error in predictors.items()}
    beaten = [name for name in psnr if gains[name]["ci95"][0] > 0]
    if not beaten:
        return ["Swaps beat no simple predictor: this run did not learn to swap."]
    text = [f"On the same swaps, they beat {listed([_described(name, gains) for name in beaten])}."]
    for name in psnr:
        if name not in beaten:
            verb = "beats them" if gains[name]["ci95"][1] < 0 else "is not shown to be worse"
            text.append(f"{_described(name, gains, PREDICTORS[name].capitalize())} {verb}.")
    if set(REMEMBERING) - set(beaten):
        text.append("So PSNR alone does not show that the model composes rather than remembers.")
    if "retrieval" in beaten and test["ssim"] < (ssim := predictors["retrieval"]["ssim"]):
        text.append(
            f"Retrieval has the higher structural similarity (SSIM {fixed(ssim, 3)} against"
            f" {fixed(test['ssim'], 3)})."
        )
    return text


def _described(name: str, gains: dict, shown: str = "") -> str:
    low, high = map(fixed, gains[name]["ci95"])
    return f"{shown or PREDICTORS[name]} (gain {fixed(gains[name]['db'])} dB, {low} to {high})"


def _largest_effect(by_attribute: dict) -> str:
    larger = {name: e for name, e in by_attribute.items() if e["ci95"][0] > 1}
    if not larger:
        return (
            "For no attribute is the swap error significantly larger where the characters differ."
        )
    name, e = max(larger.items(), key=lambda item: item[1]["ratio"])
    low, high = (fixed(end, 2) for end in e["ci95"])
    return (
        f"The swap error depends most on the {plain(name)}: it is {fixed(e['ratio'], 2)} times as"
        f" large (95 % interval {low} to {high}) where the characters differ in it."
    )


def _by_distance(by_distance: dict) -> list[str]:
    """The errors by how much the most similar training identity differs."""
    differs = {name: f"in the {name}" if "alone" in name else f"in {name}" for name in by_distance}
    return [
        f"For {error['identities']} test identities, the most similar training identity differs"
        f" {differs[name]}; swaps of them reach {fixed(error['psnr'])} dB."
        for name, error in by_distance.items()
    ]


def _wrong_parts(parts: dict) -> list[str]:
    """The attributes that do not come with s in almost all swaps."""
    shown = {name: e for name, e in parts.items() if e["score"] < PART}
    if not parts:
        return []
    if not shown:
        return [
            "Every attribute that was scored is nearer to that of the s image than to that of the"
            f" z image in at least {100 * PART:.0f} % of swaps, where the two differ."
        ]
    rest = {name: e["score"] for name, e in parts.items() if name not in shown}
    text = [
        f"Swaps often show the wrong {plain(name)}: where the two characters differ in it,"
        f" {percent(e['score'])} % of swaps are nearer to that of the s image (95 % interval"
        f" {span(*map(percent, e['ci95']))}), the others to that of the z image."
        f"{_unseen_part(plain(name), e)}"
        for name, e in sorted(shown.items(), key=lambda item: item[1]["score"])
    ]
    if rest:
        named = listed([f"the {plain(name)}" for name in rest])
        verb = "follows" if len(rest) == 1 else "follow"
        least = percent(min(rest.values()))
        text.append(f"By the same measure, {named} {verb} the s image in at least {least} %.")
    return text


def _unseen_part(name: str, entry: dict) -> str:
    """What a perfect model could reach where some s images hide the part."""
    if entry["shown"] == 1:
        return ""
    return (
        f" The s image shows the {name} in {percent(entry['shown'])} % of these swaps. With a guess"
        f" in the others, {percent((1 + entry['shown']) / 2)} % would be right."
    )


def prior_finding(prior: dict) -> list[str]:
    """Whether z from the prior decodes to poses of the data."""
    normal, mixture, swaps = prior["N(0, I)"], prior["mixture"], prior["swaps"]
    agree = "do not support" if normal["as_near"] < MOSTLY else "agree with"
    return [
        "We set a limit for the distance to the nearest true image of the character: 95 % of swaps"
        f" are within it. Of {normal['n']} images from samples of N(0, I),"
        f" {percent(normal['as_near'])} % are. The samples of a mixture of {prior['components']}"
        " normal distributions, fitted to z after the training, reach"
        f" {percent(mixture['as_near'])} %.",
        f"The PSNR to the nearest true image is {fixed(normal['psnr'])} dB for N(0, I),"
        f" {fixed(mixture['psnr'])} dB for the mixture and {fixed(swaps['psnr'])} dB for swaps.",
        f"The paper describes a generative model of poses; samples of N(0, I) {agree} that.",
    ]


def interpolation_finding(interpolation: dict) -> list[str]:
    """Whether interpolation is even; 11 is a single jump on a path of 12 images."""
    largest = {code: interpolation[f"largest_step_{code}"] for code in ("s", "z")}
    jumpy = [code for code, step in largest.items() if step > JUMP]
    return [
        f"The largest of 11 steps is {fixed(largest['s'])} times the mean step along a line in s"
        f" and {fixed(largest['z'])} times along a line in z (medians over {interpolation['n']}"
        " pairs of test sprites).",
        *[f"Typical paths in {code} do not move." for code in largest if largest[code] == 0],
        f"Typical paths in {listed(jumpy)} jump." if jumpy else "Typical paths do not jump.",
        f"{percent(interpolation['jumping_s'])} % of paths in s and"
        f" {percent(interpolation['jumping_z'])} % of paths in z have a step above {JUMP:.0f} times"
        " the mean.",
        *_middle(interpolation["end_psnr"], interpolation["middle_psnr"]),
    ]


def _middle(end: float | None, middle: float | None) -> list[str]:
    """Whether a path in z passes through true images, in dB; without known poses, nothing."""
    if end is None:
        return []
    text = [
        f"The PSNR to the nearest true image of the character is {fixed(end)} dB at a decoded end"
        f" and {fixed(middle)} dB in the middle of a path in z."
    ]
    if end > middle:
        text.append(
            f"The middle is {fixed(end - middle)} dB further from the data than the ends, so a"
            " smooth path is no evidence of true poses."
        )
    return text


def judge_finding(judge: dict) -> list[str]:
    """How many swaps the judge classifies correctly, and how reliable it is."""
    swap, truth = judge["swap"], judge["truth"]

    def both(name: str) -> str:
        return f"{percent(swap[name])} % of swaps and {percent(truth[name])} % of true images"

    if "both" not in swap:
        kind = judge["train_reconstruction"]["identity"]
        return [
            "A classifier trained on true images (the judge) recognises the identity in"
            f" {both('identity')}.",
            f"In reconstructions of training images, it does so in {percent(kind)} %.",
            *_weak_attributes(judge),
        ]
    kind = "An attribute classifier" if _judged_attributes(judge) else "A classifier"
    return [
        f"{kind} trained on true images (the judge) recognises the identity{_without(judge)} in"
        f" {both('identity')}.",
        f"It recognises the pose within tolerance ({judge['tolerance_pixels']} pixels) in"
        f" {both('pose_within_tolerance')}.",
        f"It recognises identity and pose in {both('both')}.",
        *_judge_on_decoded(judge),
        _judge_limit(judge),
        *_weak_attributes(judge),
        "Retrieval has only training identities; the judge wrongly reports the test identity in"
        f" {percent(judge['retrieval']['identity'])} % of its images.",
        *(
            f"Pixel error {_correlates(value)} with the judge's loss for the {name} (Spearman"
            f" {fixed(value, 2)})."
            for name, value in judge["rank_correlation"].items()
        ),
    ]


def _without(judge: dict) -> str:
    hidden = judge["hidden"]
    return f", which excludes the {listed([plain(name) for name in hidden])}," if hidden else ""


def _judge_on_decoded(judge: dict) -> list[str]:
    """How well it recognises decoded or blurred images whose truth is known."""

    def accuracies(kind: str) -> str:
        names = {"identity": "identity", "pose_within_tolerance": "pose within tolerance"}
        shown = [f"the {name} in {percent(judge[kind][key])} %" for key, name in names.items()]
        return listed(shown)

    low, high = (100 * end for end in judge["swap_less_reconstruction"]["ci95"])
    difference = fixed(100 * judge["swap_less_reconstruction"]["identity"])
    certain = "" if excludes_zero((low, high)) else ", so neither is shown to be higher"
    return [
        f"In true images that are as blurred as swaps, it recognises {accuracies('blurred')}.",
        f"In reconstructions of training identities, it recognises"
        f" {accuracies('train_reconstruction')}.",
        f"Its identity accuracy on swaps less that on reconstructions of the same images is"
        f" {difference} points (95 % interval {fixed(low)} to {fixed(high)}){certain}.",
    ]


def _judged_attributes(judge: dict) -> list[str]:
    others = ("identity", "pose", "both", "pose_within_tolerance")
    return [name for name in judge["ceilings"] if name not in others]


def _judge_limit(judge: dict) -> str:
    attributes, truth = _judged_attributes(judge), judge["truth"]
    short = {name: judge["ceilings"][name] - truth[name] for name in (*attributes, "pose")}
    worst = max(short, key=short.get)
    exact = "exact pose" if worst == "pose" else plain(worst)
    if short[worst] < JUDGE:
        kinds = "every attribute and the exact pose" if attributes else "the exact pose"
        return f"On true images, its accuracy is within one point of the ceiling for {kinds}."
    return (
        f"On true images, its accuracy for the {exact} is {percent(short[worst])} points below the"
        " ceiling. It may therefore score swaps too low there."
    )


def _weak_attributes(judge: dict) -> list[str]:
    swap, truth, baseline = judge["swap"], judge["truth"], judge["baseline"]
    return [
        f"Swaps carry little of the {plain(name)}: the judge's accuracy is {percent(swap[name])} %"
        f" on swaps and {percent(truth[name])} % on true images (majority-class baseline"
        f" {percent(baseline[name])} %)."
        for name in _judged_attributes(judge)
        if name not in judge["hidden"]  # an s image may hide these
        and truth[name] - baseline[name] > READABLE
        and swap[name] - baseline[name] < HALF * (truth[name] - baseline[name])
    ]


def _correlates(value: float) -> str:
    if value > AGREES:
        return "correlates"
    return "barely correlates" if value >= -AGREES else "correlates negatively"


def probe_finding(probes: list[dict]) -> list[str]:
    """How well probes read what each code should hold, and what it should not."""
    poor = [e for e in attribute_probes(probes, "s") if rescaled_accuracy(e) < HALF]
    return [
        *probe_summary(probes),
        *(
            f"s carries little of the {plain(e['target'])}: probe accuracy is {_accuracy(e)}."
            if e["evidence"]
            else f"It is unknown whether s holds the {plain(e['target'])}: the chosen probe is no"
            " evidence."
            for e in poor
        ),
        _identity_in_z(probes),
    ]


def probe_summary(probes: list[dict]) -> list[str]:
    """What each code should hold, and the leaks of each."""

    def read(code: str, target: str) -> str:
        return _accuracy(chosen_probe(probes, code, target))

    unseen = chosen_probe(probes, "s", "identity")["split"].removeprefix("unseen ")
    text = [
        f"Identity accuracy from s, on {unseen} that the probe never saw, is"
        f" {read('s', 'identity')}."
    ]
    if has_probe(probes, "pose"):
        text += [
            f"Pose accuracy from the mean of z is {read('z_mu', 'pose')}.",
            "Pose accuracy from a sample of z, which is the decoder's input in training, is"
            f" {read('z', 'pose')}.",
        ]
    leaking = [code for code in ("z_mu", "z", "s") if leaks(probes, code)]
    return [*text, *(sentence for code in leaking for sentence in _leakage(probes, code))]


def _accuracy(entry: dict) -> str:
    """The accuracy in words, or why there is none."""
    if not entry["evidence"]:
        return "unknown, because the chosen probe is no evidence"
    ceiling = f", ceiling {percent(entry['ceiling'])} %" if entry["ceiling"] < CERTAIN else ""
    return f"{percent(entry['accuracy'])} % (baseline {percent(entry['baseline'])} %{ceiling})"


def _leakage(probes: list[dict], code: str) -> list[str]:
    """The mean and the largest leak of a code, of all that it should not hold."""
    found = leaks(probes, code)
    proven = {target: e for target, e in found.items() if e}
    name = CODE_NAMES[code]
    kind = "pose factor" if code == "s" else "attribute and no identity"
    if list(found) == ["identity"]:
        kind = "identity"
    if not proven:
        return [f"{name} should hold no {kind}: no probe proves that it does."]
    shares = leak_shares(found)
    worst = max(shares, key=shares.get)
    if len(found) == 1:
        return [
            f"{name} should hold no {kind}, but it leaks {share(shares[worst])} % of the"
            f" way from baseline to ceiling: probe accuracy is {_accuracy(proven[worst])}."
        ]
    text = [
        f"{name} should hold no {kind}: probes find {len(proven)} of these {len(found)} in it.",
        f"On average it leaks {share(sum(shares.values()) / len(found))} % of the way from baseline"
        " to ceiling, where a leak that is not proven counts as 0.",
        f"It leaks the {plain(worst)} most, {share(shares[worst])} % of the way: probe accuracy is"
        f" {_accuracy(proven[worst])}.",
    ]
    if "from_hiding" in proven[worst]:
        text.append(_from_hiding(plain(worst), proven[worst]))
    return text


def _from_hiding(name: str, entry: dict) -> str:
    """How much of a leak of s must be, since s cannot show what the image hides."""
    hiding = entry["from_hiding"]
    explained = entry["ci95"][0] <= hiding
    end = "this may be all of the leak" if explained else "the leak is larger than that"
    return (
        "Some images hide an attribute, so their s cannot hold it. A classifier that knows only"
        f" this of each image names the {name} in {percent(hiding)} % of them: {end}."
    )


def _identity_in_z(probes: list[dict]) -> str:
    """The largest proven accuracy for the identity, whichever probe and split it comes from."""
    best = leaks(probes, "z_mu")["identity"]
    if best is None:
        return (
            "No probe proves that z (mean) names the identity, on"
            f" {listed(list(dict.fromkeys(e['split'] for e in probes)))}."
        )
    return (
        f"The best proof that z (mean) names the identity is {_accuracy(best)}, by a probe of kind"
        f" {best['kind']} on {best['split']}."
    )


def protocol_finding(protocols: dict[str, dict]) -> list[str]:
    """The published protocol's accuracies on the same codes, and why they show little."""
    s, z = (protocols[code] for code in ("s", "z"))
    loss, guess = z["published"]["cross_entropy"], z["published"]["uniform"]

    def ours(target: str, note: str = "") -> str:
        if s[target] is None:
            return f"Our {target} probe on s is no evidence."
        return f"Our {target} probe on s reaches {percent(s[target])} %{note}."

    # without twins, an identity is a character
    first, *others = [name for name in ("character", "identity") if name in s]
    return [
        f"Under the published protocol, for {s['published']['epochs']} epochs on"
        f" {count(s['published']['images'])} images, character accuracy is"
        f" {percent(s['published']['accuracy'])} % from s and"
        f" {percent(z['published']['accuracy'])} % from z.",
        "Over all images, equal ones with different labels limit character accuracy to"
        f" {percent(s['ceiling'])} %; in one test part, chance moves it a little.",
        ours(first, f" on {s['split']} (ceiling {percent(s['character_ceiling'])} %)"),
        *(ours(target) for target in others),
        f"The best test cross-entropy of the published z probe is {fixed(loss, 3)} nats; a uniform"
        f" guess has {fixed(guess, 3)}.",
        "That probe learned something that holds on test images."
        if loss < guess - LEARNED
        else "So it learned nothing that holds on test images, and its low accuracy does not show"
        " that z is free of the character.",
    ]


def prediction_finding(prediction: dict) -> list[str]:
    """How well one code predicts the other, and what the decoder makes of the prediction."""
    judged, tolerance = prediction["judged"], "pose_within_tolerance"
    part = "identities" if prediction["unseen_identities"] else "images"
    s, z = (max(0.0, prediction[name]["r2"]) for name in ("s_from_z", "z_from_s"))
    return [
        f"On unseen {part}, z predicts {percent(s)} % of the variance of s, and s predicts"
        f" {percent(z)} % of the variance of z.",
        f"With s predicted from z, the judge recognises the identity in"
        f" {percent(judged['predicted_s']['identity'])} % of decoded images"
        f" ({percent(judged['encoded']['identity'])} % with the encoded s).",
        *(
            [
                "With z predicted from s, the judge recognises the pose within tolerance in"
                f" {percent(judged['predicted_z'][tolerance])} %"
                f" ({percent(judged['encoded'][tolerance])} % with the encoded z)."
            ]
            if tolerance in judged["encoded"]
            else []
        ),
    ]


def block_finding(blocks: dict) -> list[str]:
    """Whether each code encodes one kind of factor; nothing where one kind is not known."""
    if not blocks:
        return []
    pure = blocks["disentanglement_by_code"]
    gaps = zip(blocks["factors"], blocks["gap_by_factor"], strict=True)
    wrong = [f"the {plain(name)}" for name, value in gaps if value < 0]
    text = [
        f"Disentanglement is {fixed(pure['z'], 2)} for z and {fixed(pure['s'], 2)} for s: 1 where a"
        " code explains one kind of factor alone, 0 where it explains both kinds equally.",
        "The fraction of a factor's entropy that the intended code explains exceeds that of the"
        f" other code by {fixed(blocks['gap'], 2)} on average.",
    ]
    return [*text, f"The other code explains more of {listed(wrong)}."] if wrong else text


def collapse(kl: float) -> str:
    return (
        f"z collapsed: the KL term is {fixed(kl, 2)} nats per image, too little to encode a pose."
    )
