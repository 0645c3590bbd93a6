"""Every conclusion reads differently when its number is bad."""

import pytest

from lib.report import findings, summary
from lib.report.numbers import attribute_probes, strongest_leak


def joined(sentences):
    assert isinstance(sentences, list) and all(s[-1] == "." for s in sentences)
    return " ".join(sentences)


def swap(test):
    predictors = {
        "black": 12.0,
        "mean": 15.3,
        "pose_mean": 18.8,
        "additive": 21.3,
        "retrieval": 26.1,
        "retrieval_mean": 27.2,
    }
    by_attribute = {
        "skin": {"ratio": 1.5, "ci95": [1.2, 1.8]},
        "hair": {"ratio": 1.9, "ci95": [0.9, 2.9]},
    }
    errors = {name: {"psnr": value, "ssim": 0.97} for name, value in predictors.items()}
    score = {
        "psnr": test,
        "ssim": 0.93,
        "ci95": [10 ** (-(test + 0.5) / 10), 10 ** (-(test - 0.7) / 10)],
    }
    best = {"swap": {"psnr": test, "n": 100}, "best": {"psnr": 31.0, "n": 100}}
    gains = {name: {"db": test - psnr} for name, psnr in predictors.items()}
    gains = {name: {**e, "ci95": [e["db"] - 0.5, e["db"] + 0.5]} for name, e in gains.items()}
    by_distance = {"skin alone": {"psnr": test, "identities": 29}}
    parts = {
        "skin": {"score": 0.99, "ci95": [0.98, 1.0], "n": 100, "shown": 1},
        "weapon": {"score": 0.62, "ci95": [0.55, 0.7], "n": 100, "shown": 0.5},
    }
    return {
        "test": score,
        "predictors": errors,
        "gain": gains,
        "by_attribute": by_attribute,
        "by_distance": by_distance,
        "parts": parts,
        "best": {**best, "steps": 300, "converged": True},
        "several": {"psnr": test + 1, "images": 4, "gain": {"db": 1.0, "ci95": [0.8, 1.2]}},
    }


def swap_text(swaps):
    return joined(findings.swap_finding(swaps, {"test": {"psnr": 30.0}}))


def test_bullets_show_a_sentence_each():
    assert findings.bullets({"a": ["One.", "Two."], "b": ["Three."]}) == "- One.\n- Two.\n- Three."


@pytest.mark.parametrize(
    ("psnr", "conclusion"),
    [
        (28.0, "and the mean of the nearest training characters (gain 0.8 dB, 0.3 to 1.3)."),
        (27.4, "characters (gain 0.2 dB, -0.3 to 0.7) is not shown to be worse. So PSNR alone"),
        (27.0, "characters (gain -0.2 dB, -0.7 to 0.3) is not shown to be worse. So PSNR alone"),
        (24.0, "Retrieval (gain -2.1 dB, -2.6 to -1.6) beats them."),
        (19.5, "The additive predictor (gain -1.8 dB, -2.3 to -1.3) beats them."),
        (11.0, "Swaps beat no simple predictor"),
    ],
)
def test_the_conclusion_on_swaps_follows_from_the_numbers(psnr, conclusion):
    text = swap_text(swap(psnr))
    assert conclusion in text
    assert "depends most on the skin" in text
    assert "1.50 times as large (95 % interval 1.20 to 1.80)" in text
    assert f"{psnr} dB PSNR (95 % interval {psnr - 0.7:.1f} to {psnr + 0.5:.1f})" in text
    assert f"the codes of 100 swaps for this decoder changes their PSNR from {psnr} to 31.0" in text
    assert ("SSIM 0.970 against 0.930" in text) == (psnr > 26.6)
    assert ("So PSNR alone does not show" in text) == (11.5 < psnr < 27.7)
    assert "differs in the skin alone; swaps of them reach" in text
    assert "62.0 % of swaps are nearer to that of the s image (95 % interval 55.0–70.0)" in text
    assert "shows the weapon in 50.0 % of these swaps. With a guess in the others, 75.0 %" in text
    assert "Swaps often show the wrong weapon" in text
    assert "By the same measure, the skin follows the s image in at least 99.0 %." in text
    assert "a lower bound on its best. It converged after 300 steps." in text


def test_parts_that_are_all_right_and_an_optimisation_that_was_cut_are_said():
    swaps = swap(27.0)
    del swaps["parts"]["weapon"]
    swaps["best"] |= {"steps": 1_000, "converged": False}
    text = swap_text(swaps)
    assert (
        "Every attribute that was scored" in text
        and "It had not converged after 1,000 steps" in text
    )


def test_a_difference_that_is_not_significant_is_not_reported():
    swaps = swap(27.0)
    del swaps["by_attribute"]["skin"]
    assert "For no attribute is the swap error significantly larger" in swap_text(swaps)


@pytest.mark.parametrize("as_published", [None, True, False])
def test_images_that_were_not_published_are_reported(as_published):
    data = {
        "characters": 672,
        "identities": 336,
        "poses": 178,
        "images": 119_616,
        "distinct_images": 86_095,
        "ceilings": {"character": 0.737, "identity": 0.997, "pose": 1.0},
        "as_published": as_published,
        "hidden": ["weapon"],
    }
    text = joined(findings.data_finding(data))
    assert text.startswith("These images differ from the 119,616 published ones. ") == (
        as_published is False
    )
    assert "73.7 % for the character (672 classes) and 99.7 % for the identity" in text
    assert "the pose" not in text
    free = data | {"ceilings": dict.fromkeys(data["ceilings"], 1.0)}
    assert "exceed" not in joined(findings.data_finding(free))
    hides = "Characters that differ only in the weapon look the same where it is hidden."
    assert hides in text and "hidden" not in joined(findings.data_finding(data | {"hidden": []}))


def test_a_collapsed_run_is_reported():
    training = {"kl_nats": 9.0, "pose_nats": 5.2, "identity_nats": 5.3} | {
        "first": {"reconstruction": 600.0},
        "final": {"reconstruction": 50.0},
    }
    text = joined(findings.training_finding(training))
    assert "collapsed" not in text and "fell from 600 to 50" in text
    assert "The other 3.8 nats are fewer than the 5.3 nats of an identity." in text
    text = joined(findings.training_finding({**training, "kl_nats": 12.2}))
    assert "The other 7.0 nats exceed the 5.3 nats of an identity, so z has room" in text
    collapsed = {**training, "kl_nats": 0.1, "final": {"reconstruction": 700.0}}
    text = joined(findings.training_finding(collapsed))
    assert "z collapsed" in text and "rose from 600 to 700" in text


def probes(leak=0.0, evidence=True, pose_from_s=0.9):
    """Chosen probes with baseline 0.5 and ceiling 1; the mean of z leaks the skin by `leak`.

    Linear probes were not chosen, and prove nothing. Other leaks are proven if above the baseline.
    """
    accuracies = {
        (code, target): 0.9 for code in ("s", "z_mu", "z") for target in ("identity", "pose")
    } | {
        ("s", "skin"): 0.9,
        ("z_mu", "identity"): 0.5,
        ("z", "identity"): 0.5,
        ("z_mu", "skin"): 0.5 + leak,
        ("z", "skin"): 0.5,
        ("s", "pose"): pose_from_s,
        **dict.fromkeys((("s", name) for name in ("action", "view", "frame")), 0.5),
    }
    common = {"baseline": 0.5, "ceiling": 1.0, "evidence": evidence, "ci95": [0.4, 0.95]}
    entries = [
        {
            "code": code,
            "target": target,
            "holder": "s" if target in ("identity", "skin") else "z",
            "kind": kind,
            "split": "unseen poses",
            "accuracy": 0.99 if kind == "linear" else accuracy,
            "chosen": kind == "mlp",
            "proven": evidence and kind == "mlp" and accuracy > 0.5,
        }
        for (code, target), accuracy in accuracies.items()
        for kind in ("linear", "mlp")
    ]
    attributes = {"code": "z_mu", "target": "identity", "kind": "attributes", "chosen": False}
    attributes |= {"split": "unseen identities", "proven": False, "accuracy": 0.7, "holder": "s"}
    return [{**entry, **common} for entry in [*entries, attributes]]


def test_the_headline_takes_the_chosen_probes_and_turns_errors_into_decibels():
    results = {"swap": swap(24.0), "probes": probes(leak=0.3, pose_from_s=0.6)}
    rows = {row["what"]: row for row in summary.headline(results)}
    first = rows["swap, PSNR in dB"]
    assert first["ci95"] == pytest.approx([23.3, 24.5])
    assert (first["floor"], first["ceiling"]) == (18.8, 31.0)
    values = [24.0, 0.9, 0.9, 0.9, 0.3, 0.6, 0, 0, 0.05, 0.2]
    assert [row["value"] for row in rows.values()] == pytest.approx(values)
    largest = rows["leak of z (mean), largest"]
    assert largest["target"] == "skin" and largest["ci95"] == pytest.approx([-0.2, 0.9])
    assert rows["leak of z (sampled), largest"]["ci95"] is None  # nothing is proven
    silent = summary.headline({**results, "probes": probes(leak=0.3, evidence=False)})
    assert [row["value"] for row in silent] == [24.0, *[None] * 3, *[0.0] * 6]


def test_a_pose_in_s_is_compared_with_what_hidden_attributes_tell():
    entries = probes(pose_from_s=0.8)
    found = next(e for e in entries if (e["code"], e["target"], e["kind"]) == ("s", "pose", "mlp"))
    assert "hides" not in joined(findings.probe_summary(entries))
    found["from_hiding"] = 0.62
    text = joined(findings.probe_summary(entries))
    assert "knows only this of each image names the pose in 62.0 % of them: " in text


def test_the_strongest_proof_counts_whichever_kind_validation_chose():
    entries = probes(leak=0.1)
    linear = next(
        e for e in entries if (e["code"], e["target"], e["kind"]) == ("z_mu", "skin", "linear")
    )
    linear |= {"proven": True, "accuracy": 0.8}
    assert strongest_leak(entries, "z_mu", "skin") is linear
    assert strongest_leak(entries, "z", "skin") is None


def judge(pose=0.98, weapon=0.74):
    ceilings = {
        "skin": 1.0,
        "weapon": 0.74,
        "pose": 0.98,
        "identity": 0.999,
        "pose_within_tolerance": 1.0,
        "both": 0.999,
    }
    truth = {**ceilings, "pose": pose, "both": 0.5}
    return {
        "ceilings": ceilings,
        "baseline": {"skin": 0.3, "weapon": 0.5, "pose": 0.006, "identity": 0.02},
        "truth": truth,
        "swap": {**truth, "identity": 0.6, "weapon": weapon},
        "retrieval": {"identity": 0.002},
        "blurred": {"identity": 0.97, "pose_within_tolerance": 0.8},
        "train_reconstruction": {"identity": 0.99, "pose_within_tolerance": 0.9},
        "swap_less_reconstruction": {"identity": 0.01, "ci95": [-0.01, 0.03]},
        "rank_correlation": {"identity": 0.75, "pose": 0.1},
        "tolerance_pixels": 10,
        "hidden": ["weapon"],
    }


def test_a_judge_is_trusted_as_far_as_it_is_right_on_true_images():
    text = joined(findings.judge_finding(judge()))
    assert "the judge wrongly reports the test identity in 0.2 % of its images." in text
    assert "carry little" not in text and "within one point of the ceiling" in text
    assert "recognises the identity, which excludes the weapon, in 60.0 %" in text
    assert "the identity in 60.0 %" in joined(findings.judge_finding(judge() | {"hidden": []}))
    assert "in 60.0 % of swaps and 99.9 % of true images" in text
    assert "as blurred as swaps, it recognises the identity in 97.0 % and the pose" in text
    assert "is 1.0 points (95 % interval -1.0 to 3.0), so neither is shown to be higher." in text
    sure = judge() | {"swap_less_reconstruction": {"identity": 0.02, "ci95": [0.01, 0.03]}}
    assert "neither is shown" not in joined(findings.judge_finding(sure))
    weak = joined(findings.judge_finding(judge(pose=0.9)))
    assert "accuracy for the exact pose is 8.0 points below the ceiling" in weak
    assert "may therefore score swaps too low" in weak
    lost = judge(weapon=0.6)
    assert "carry little" not in joined(findings.judge_finding(lost))  # the s image may hide it
    lost = joined(findings.judge_finding(lost | {"hidden": []}))
    assert (
        "Swaps carry little of the weapon: the judge's accuracy is 60.0 % on swaps and 74.0 % on"
        " true images (majority-class baseline 50.0 %)." in lost
    )


@pytest.mark.parametrize(
    ("value", "verb"),
    [(0.75, "correlates"), (0.07, "barely correlates"), (-0.5, "correlates negatively")],
)
def test_a_weak_correlation_is_called_so(value, verb):
    weak = judge() | {"rank_correlation": {"identity": value}}
    text = joined(findings.judge_finding(weak))
    assert (
        f"Pixel error {verb} with the judge's loss for the identity (Spearman {value:.2f})" in text
    )


def test_a_judge_without_attributes_is_not_said_to_have_any():
    known = judge()
    for part in ("ceilings", "baseline", "truth", "swap"):
        known[part] = {name: v for name, v in known[part].items() if name not in ("skin", "weapon")}
    text = joined(findings.judge_finding(known | {"hidden": []}))
    assert text.startswith("A classifier trained on true images (the judge) recognises")
    assert "within one point of the ceiling for the exact pose." in text
    assert "attribute" not in text and joined(findings.judge_finding(judge())).count("ttribute")


def test_a_published_probe_worse_than_a_guess_is_reported():
    ours = {"character": 0.5, "identity": None, "ceiling": 0.737, "character_ceiling": 0.757}
    ours |= {"split": "unseen poses"}
    published = {"accuracy": 0.67, "cross_entropy": 1.0, "uniform": 6.51}
    s = {"published": {**published, "epochs": 3, "images": 20_000}, **ours}
    for cross_entropy, conclusion in ((7.05, "So it learned nothing"), (5.0, "learned something")):
        z = {**ours, "published": {**published, "accuracy": 0.002, "cross_entropy": cross_entropy}}
        text = joined(findings.protocol_finding({"s": s, "z": z}))
        assert f"{conclusion} that holds on test images" in text
        assert "for 3 epochs on 20,000 images" in text
        assert "67.0 % from s and 0.2 % from z" in text and "character accuracy to 73.7 %" in text
        assert "character probe on s reaches 50.0 % on unseen poses (ceiling 75.7 %)" in text
        assert "Our identity probe on s is no evidence." in text


def test_without_twins_there_is_one_probe_of_the_identity():
    published = {"accuracy": 0.67, "cross_entropy": 1.0, "uniform": 6.51, "epochs": 3, "images": 90}
    code = {"published": published, "identity": 0.5, "ceiling": 1, "character_ceiling": 0.757}
    text = joined(findings.protocol_finding({"s": {**code, "split": "unseen poses"}, "z": code}))
    assert "Our identity probe on s reaches 50.0 % on unseen poses (ceiling 75.7 %)." in text
    assert text.count("Our ") == 1


def test_blocks_name_the_factors_that_the_other_code_explains():
    blocks = {
        "factors": ["skin", "weapon", "view"],
        "gap_by_factor": [0.9, -0.1, 0.7],
        "gap": 0.5,
        "disentanglement_by_code": {"s": 1, "z": 0.5},
    }
    assert "The other code explains more of the weapon." in findings.block_finding(blocks)
    right = findings.block_finding({**blocks, "gap_by_factor": [0.9, 0.1, 0.7]})
    assert "explains more" not in joined(right)


def test_matches_are_reported_by_their_share_that_is_right():
    text = joined(findings.match_finding(0.85, 0.83))
    assert "85.0 % of matched pairs show the same pose" in text
    assert "Matched images are 83 % more alike than other images." in text and "bad" not in text
    assert "So the matches look bad: " in joined(findings.match_finding(0.85, 0.3))
    assert "pairs" not in joined(findings.match_finding(None, 0.83))  # no pose is known
    assert findings.match_finding(None, None) == [
        "This run matched no images of different characters."
    ]


def test_a_run_that_failed_is_reported():
    def failures(kl, psnr, **options):
        run = {"training": {"kl_nats": kl}, "swap": swap(psnr), "probes": probes(**options)}
        return summary.failures(run)

    assert failures(11.0, 24.0) == []
    collapsed, ignored = failures(0.2, 18.0)
    assert collapsed.startswith("z collapsed: the KL term is 0.20 nats")
    assert ignored.startswith("s is ignored, or the model learned little: swaps (18.0 dB) are no")
    unknown = failures(11.0, 24.0, evidence=False)
    assert unknown[0] == (
        "It is unknown whether s encodes the identity: the chosen probe is no evidence."
    )
    assert len(unknown) == 2
    weak = [{**entry, "accuracy": 0.52} for entry in probes()]
    none = summary.failures({"training": {"kl_nats": 11.0}, "swap": swap(24.0), "probes": weak})
    assert none == [
        f"{code} hardly encodes the {target}: probe accuracy is 52.0 % (baseline 50.0 %)."
        for code, target in (("s", "identity"), ("z", "pose"))
    ]


def test_leaks_are_named_on_either_side():
    leaking = joined(findings.probe_finding(probes(leak=0.3)))
    assert "z (mean) should hold no attribute and no identity: probes find 1 of these 2" in leaking
    assert "On average it leaks 30 % of the way from baseline to ceiling, where" in leaking
    assert "leaks the skin most, 60 % of the way: probe accuracy is 80.0 %" in leaking
    assert "z (sampled) should hold no attribute and no identity: no probe proves" in leaking
    assert "s should hold no pose factor: probes find 1 of these 4 in it." in leaking
    assert "No probe proves that z (mean) names the identity" in leaking
    tight = joined(findings.probe_finding(probes(pose_from_s=0.5)))
    assert "z (mean) should hold no attribute and no identity: no probe proves" in tight
    assert "s should hold no pose factor: no probe proves that it does." in tight
    named = probes()
    entry = next(e for e in named if e["kind"] == "attributes")
    entry |= {"proven": True}
    text = joined(findings.probe_finding(named))
    assert "z (mean) names the identity is 70.0 % (baseline 50.0 %), by a probe of kind" in text
    poor = probes()
    next(e for e in attribute_probes(poor, "s"))["accuracy"] = 0.6
    text = joined(findings.probe_finding(poor))
    assert "s carries little of the skin: probe accuracy is 60.0 % (baseline 50.0 %)." in text


def test_a_probe_that_is_no_evidence_gives_no_number():
    text = joined(findings.probe_finding(probes(leak=0.3, evidence=False)))
    assert "unknown, because the chosen probe is no evidence" in text and "80.0 %" not in text


def test_a_path_that_jumps_is_reported():
    even = {
        "end_psnr": 25.0,
        "middle_psnr": 22.0,
        "largest_step_s": 1.5,
        "largest_step_z": 2.0,
        "jumping_s": 0.0,
        "jumping_z": 0.05,
        "n": 100,
    }
    text = joined(findings.interpolation_finding(even))
    assert "Typical paths do not jump." in text
    assert "0.0 % of paths in s and 5.0 % of paths in z have a step above 4 times" in text
    assert "25.0 dB at a decoded end and 22.0 dB in the middle" in text
    assert "The middle is 3.0 dB further from the data than the ends" in text
    still = joined(
        findings.interpolation_finding({**even, "middle_psnr": 25.6, "largest_step_z": 0.0})
    )
    assert "Typical paths in z do not move." in still and "The middle is" not in still
    jumping = joined(findings.interpolation_finding({**even, "largest_step_z": 9.0}))
    assert "Typical paths in z jump." in jumping


@pytest.mark.parametrize(("as_near", "verdict"), [(0.1, "do not support"), (0.8, "agree with")])
def test_the_prior_is_a_model_of_poses_or_it_is_not(as_near, verdict):
    normal = {"as_near": as_near, "n": 50, "psnr": 18.7}
    prior = {"N(0, I)": normal, "mixture": {"as_near": 0.8, "psnr": 24.0}, "swaps": {"psnr": 27.3}}
    prior |= {"components": 64}
    text = joined(findings.prior_finding(prior))
    assert f"Of 50 images from samples of N(0, I), {100 * as_near:.1f} % are." in text
    assert "a mixture of 64 normal" in text and "reach 80.0 %." in text
    assert f"a generative model of poses; samples of N(0, I) {verdict} that." in text


@pytest.mark.parametrize(
    ("hiding", "end"),
    [(0.80, "all of the leak."), (0.70, "all of the leak."), (0.69, "is larger than that.")],
)
def test_what_an_image_hides_explains_a_leak_of_s_as_far_as_its_interval_reaches(hiding, end):
    entry = {"from_hiding": hiding, "baseline": 0.5, "accuracy": 0.8, "ci95": [0.7, 0.9]}
    assert findings._from_hiding("view", entry).endswith(end)
