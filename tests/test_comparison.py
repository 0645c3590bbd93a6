"""What the study says of its runs: paired differences, claims, tables."""

import json

import numpy as np
import pytest

from benchmarks import comparison, methods
from benchmarks.methods import METHODS
from lib.config import make_hparams
from lib.report import charts
from lib.system.paths import ROOT

FIELDS = ("method", "source", "split", "split_seed", "seed")


def run(method="fast", seed=0, source="drawn", ci95=(), **metrics):
    """What the study keeps of a run."""
    return {
        **dict(zip(FIELDS, (method, source, "identity", 0, seed), strict=True)),
        "metrics": {"swap, dB": 30.0, **metrics},
        "ci95": dict(ci95),
        "outfits": 30,
        "curve": [[100, 20.0 + seed], [200, 30.0 + seed]],
        "device": "cpu",
        "code": {"commit": "c"},
    }


def levels(method, differences, metric=comparison.SWAP, source="drawn"):
    """Runs that differ much by seed, and by so much from those of another method."""
    pairs = zip((20.0, 25.0, 30.0), differences, strict=False)
    return [run(method, k, source, **{metric: a + d}) for k, (a, d) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("differences", "sentence"),
    [
        ((0.9, 1.0, 1.1), "That is 1.00 dB (0.75–1.25) better than “fast”."),
        ((-0.9, -1.0, -1.1), "That is 1.00 dB (0.75–1.25) worse than “fast”."),
        (
            (1.0, -1.0, 0.3),
            "It is not shown that “long” and “fast” differ: 0.10 dB (-2.42 to 2.62).",
        ),
        ((1.0,), "Fewer than 3 pairs of runs do not test its difference to “fast”."),
        ((1.0, 1.1), "Fewer than 3 pairs of runs do not test its difference to “fast”."),
    ],
)
def test_differences_are_paired_by_seed(differences, sentence):
    runs = levels("fast", (0, 0, 0)) + levels("long", differences)
    text = comparison.describe(runs)["finding"]
    assert text[-1] == sentence
    assert text[0] == (
        "Swaps of “fast”, 3 seeds, reach 25.0 (12.6–37.4) dB (drawn sprites, split by identity)."
    )


def test_a_metric_that_some_runs_lack_is_summarised_over_the_others():
    runs = [run(seed=0, leak=4.0), run(seed=1), run(seed=2, leak=6.0)]
    entry = comparison.summaries(runs)["fast"]["metrics"]["leak"]
    assert (entry["mean"], entry["n"]) == (5.0, 2)


def test_the_interval_of_a_share_ends_at_0_and_at_100():
    runs = [run(seed=k, **{"pose from s, %": v, "dB": v}) for k, v in enumerate((1, 9, 2))]
    metrics = comparison.summaries(runs)["fast"]["metrics"]
    assert metrics["pose from s, %"]["ci95"][0] == 0 and metrics["dB"]["ci95"][0] < 0


def test_swaps_have_an_interval_over_outfits_too():
    runs = [run("fast", k, **{"swap, dB": 30.0 + k / 10}) for k in range(3)]
    alone = comparison.summaries(runs)["fast"]["metrics"]["swap, dB"]["ci95"]
    for each in runs:
        each["ci95"] = {"swap, dB": [29.0, 31.0]}
    both = comparison.summaries(runs)["fast"]["metrics"]["swap, dB"]["ci95"]
    assert np.diff(alone) < 0.6 and 2 < np.diff(both) < 2.4


def test_presets_have_a_column_on_each_source_and_the_csv_a_line_for_each_metric():
    runs = [run(source=source, seed=k) for source in ("drawn", "sprites") for k in range(2)]
    content = comparison.describe(runs)
    assert "comparison" not in content  # nothing is compared
    (table,) = content["tables"]
    assert table["head"][1:] == ["drawn sprites, “fast”, 2 seeds", "2D Sprites, “fast”, 2 seeds"]
    assert [len(row) for row in table["rows"]] == [3] * len(comparison.PRESET_METRICS)
    lines = comparison.tidy(runs, FIELDS).splitlines()
    assert lines[0].startswith("method,source,split") and len(lines) == 1 + len(runs)
    assert lines[1] == 'fast,drawn,identity,0,0,"swap, dB",30,c'


def compared(differences, metric, method="unmatched", source="drawn"):
    runs = levels("ours", (0, 0, 0), metric, source) + levels(method, differences, metric, source)
    return comparison.describe(runs)["comparison"]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((-2.0, -2.1, -1.9), comparison.HOLDS),
        ((2.0, 2.1, 1.9), comparison.OPPOSITE),
        ((-2.0, 2.1, 0.0), comparison.UNKNOWN),
    ],
)
def test_a_claim_holds_only_where_the_interval_of_its_difference_excludes_0(differences, verdict):
    rows = compared(differences, comparison.SWAP)["claims"]["rows"]
    (row,) = [row for row in rows if row[0] == "Matching makes swaps better."]
    assert row[1] == "drawn sprites" and row[-1] == verdict
    assert row[2] == "“unmatched” less “ours”, swap, dB"


def test_a_single_pair_of_runs_decides_nothing():
    content = compared((-2.0,), comparison.SWAP)
    assert content["claims"]["rows"] == []
    assert content["finding"] == [comparison.verdicts([])]
    (forest,) = content["forest"].values()
    assert forest[comparison.SWAP]["unmatched"]["mean"] == -2


def test_a_claim_about_what_was_not_measured_has_no_row():
    content = compared((1.0, 1.1, 0.9), comparison.SWAP, "z-512")
    assert content["claims"]["rows"] == []  # "z-512" claims something of the leak alone


def test_a_claim_is_made_of_methods_that_are_compared_with_each_other():
    for claim in comparison.CLAIMS:
        assert claim.reference in comparison.references(claim.method)
        assert {claim.method, claim.reference} <= set(methods.STUDIED)


def test_the_answer_says_what_the_reverse_cycle_does_and_what_is_not_shown():
    runs = []
    for name, swap, leak in (("ours", 0, 0), ("reverse", -0.5, 4)):
        for k, level in enumerate((20.0, 25.0, 30.0)):
            both = {comparison.SWAP: level + swap, comparison.LEAK: level + leak * (k - 1)}
            runs.append(run(name, k, "sprites", **both))
    assert comparison.answer(comparison.group_runs(runs)) == [
        "On 2D Sprites, beside matching (every fourth step), the reverse cycle worsens swaps by"
        " 0.50 dB (0.50–0.50); it is not shown to change the mean leak of z (mean) (0.0 (-9.9 to"
        " 9.9) points)."
    ]
    assert comparison.answer(comparison.group_runs(runs[:3])) == []


def test_methods_are_sorted_into_better_worse_and_not_shown():
    runs = levels("ours", (0, 0, 0)) + levels("z-64", (1.0, 1.1, 0.9))
    runs += levels("vae", (-3.0, -3.1, -2.9)) + levels("z-512", (1.0, -1.0, 0))
    (group,) = comparison.group_runs(runs)
    assert comparison.surpassed(group) == [
        "Drawn sprites, split by identity: better swaps than “ours”: “z-64”.",
        "Drawn sprites, split by identity: worse swaps: “vae”.",
        "Drawn sprites, split by identity: swaps whose difference is not shown: “z-512”.",
    ]


def test_the_tables_of_methods_have_complete_rows_and_the_search_its_best():
    searched = [name for name in METHODS if METHODS[name].chooses == "drnet"]
    tried = [
        {**run(name), "metrics": {comparison.CHOSEN_BY: 20.0 + (k == 5)}}
        for k, name in enumerate(searched)
    ]
    runs = [run("ours"), run("reverse"), run("retrieval"), run("fast"), *tried]
    content = comparison.describe(runs)["comparison"]
    tables = [content["methods"], content["search"], *content["values"], content["claims"]]
    assert all(len(row) == len(table["head"]) for table in tables for row in table["rows"])
    search = {row[0]: row[2:] for row in content["search"]["rows"]}
    assert search["“drnet”"] == ["9", "0.001", "weight 100", "21.00"]
    assert search["“vae”"] == ["0", "–", "–", "–"]
    shown = [row[0] for row in content["values"][0]["rows"]]
    assert shown == ["“fast”", "“ours”", "“reverse”", "“retrieval”"]


def test_the_forest_has_a_row_for_each_method_and_a_hollow_point_for_a_single_pair():
    content = compared((1.0, 1.1, 0.9), comparison.SWAP)
    single = compared((1.0,), comparison.SWAP, "vae")
    groups = {"a": content["forest"], "b": single["forest"]}
    found = {name: next(iter(each.values()))[comparison.SWAP] for name, each in groups.items()}
    figure = charts.forest_plot({comparison.SWAP: found})
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["unmatched", "vae"]
    points = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert [line.get_markerfacecolor() == "w" for line in points] == [False, True]


def test_rivals_are_searched_over_what_they_are_named_for():
    for name in methods.RIVALS:
        assert METHODS[name].hp.z_dim == make_hparams("fast").z_dim  # the same backbone
        tried = [each for each in METHODS.values() if each.chooses == name]
        assert len({(each.hp.learning_rate, methods.searched_weight(each)) for each in tried}) == 9


def test_curves_are_means_over_seeds_of_the_methods_that_are_followed():
    runs = levels("ours", (0, 0, 0)) + levels("published", (-1, -1, -1)) + levels("vae", (1, 1, 1))
    (curves,) = comparison.describe(runs)["comparison"]["curves"].values()
    assert curves == {name: [[100, 21], [200, 31]] for name in ("ours", "published")}
    (ax,) = charts.learning_curves({"a": curves}).axes
    assert [line.get_label() for line in ax.lines] == ["ours", "published"]


def test_rivals_are_compared_with_the_method_without_matching():
    runs = levels("unmatched", (0, 0, 0)) + levels("vae", (-3.0, -3.1, -2.9))
    runs += levels("drnet", (1.0, 1.1, 0.9)) + levels("lord", (0.5, -0.5, 0.1))
    (group,) = comparison.group_runs(runs)
    (sentence,) = comparison.beside_rivals(group)
    assert sentence == (
        "Drawn sprites, split by identity: swaps of rivals, compared with “unmatched”, are better:"
        " “drnet” (1.00 (0.75–1.25) dB); worse: “vae” (-3.00 (-3.25 to -2.75) dB); not shown to"
        " differ: “lord” (0.03 (-1.22 to 1.28) dB)."
    )
    assert comparison.beside_rivals({**group, "methods": {}}) == []


def test_methods_are_compared_with_predictors_without_a_network():
    runs = levels("ours", (0, 0, 0)) + levels("vae", (-3.0, -3.1, -2.9))
    runs += levels("drnet", (1.0, -1.0, 0)) + levels("pose-mean", (-0.5, -0.5, -0.5))
    (group,) = comparison.group_runs(runs)
    (sentence,) = comparison.beside_predictors(group)
    assert sentence == (
        "Drawn sprites, split by identity: swaps, compared with the mean image of the pose"
        " (“pose-mean”), are better: “ours”; worse: “vae”; not shown to differ: “drnet”."
    )


def test_the_conclusion_says_where_the_reverse_cycle_reduces_the_leak_and_where_not():
    runs = []

    def add(method, **changes):
        for seed, level in enumerate((20.0, 25.0, 30.0)):
            change = {name: level + by for name, by in changes.items()}
            runs.append(run(method, seed, "sprites", **change))

    same = {comparison.SWAP: 0, comparison.LEAK: 40, comparison.POSE_FROM_Z: 60}
    for method in ("unmatched", "unmatched-reverse", "published-forward"):
        add(method, **same)
    add("ours", **same | {comparison.SWAP: 5, comparison.LEAK: 11})
    add("unmatched-reverse-every-step", **same | {comparison.LEAK: 31, comparison.POSE_FROM_Z: 58})
    add("published", **same | {comparison.LEAK: 24, comparison.POSE_FROM_Z: 54})
    (group,) = comparison.group_runs(runs)
    assert comparison.conclusion(group) == [
        "On 2D Sprites, the reverse cycle reduces the mean leak of z (mean) with 1 % of the"
        " published training by 16.0 points (16.0–16.0) and on our networks (every step) by 9.0"
        " points (9.0–9.0).",
        "There, z tells less of the pose, too.",
        "It is not shown to reduce that leak on our networks (every fourth step).",
        "It is not shown to make swaps better anywhere.",
        "Without matching, swaps are 5.0 dB (5.0–5.0) worse, and the mean of z leaks 29 points"
        " (29–29) more.",
    ]
    add("reverse-every-step", **same | {comparison.SWAP: 4, comparison.LEAK: 11})
    (group,) = comparison.group_runs(runs)
    assert comparison.on_the_reverse_cycle(group)[-2:] == [
        "It makes swaps worse beside matching (every step) by 1.00 dB (1.00–1.00).",
        "It is not shown to make swaps better anywhere.",
    ]
    assert comparison.brief_answer(group)[1:] == [
        "Elsewhere, that is not shown.",
        "The cycle is shown to improve swaps in none of 4 settings and worsen them in 1, by up to"
        " 1.00 dB (1.00–1.00).",
    ]
    add("published-long", **same | {comparison.LEAK: 70})
    (group,) = comparison.group_runs(runs)
    assert (
        "On 10 times as many images, the mean of z of the published method leaks 95 % instead of 49"
        " %, 46 points (46–46) more, in spite of its reverse cycle." in comparison.conclusion(group)
    )
    anyway = "On 10 times as many images, the published method leaks 95 % anyway."
    assert anyway in comparison.brief_answer(group)
    fewer = [each for each in runs if (each["method"], each["seed"]) != ("published-long", 2)]
    (group,) = comparison.group_runs(fewer)
    assert not any("On 10 times" in sentence for sentence in comparison.conclusion(group))
    add("published-forward-long", **same | {comparison.LEAK: 73})
    (group,) = comparison.group_runs(runs)
    assert "with 10 % of the published training by 3.0" in comparison.conclusion(group)[0]
    for seed, leak, trainings in ((1, 98, "2 trainings are"), (2, 93, "one training is")):
        runs = [each for each in runs if each["seed"] != seed or "forward-l" not in each["method"]]
        text = comparison.conclusion(comparison.group_runs(runs)[0])
        assert "with 10 %" not in text[0]
        assert (
            f"Without the reverse cycle, it leaks {leak} % there; {trainings} too few to test"
            " whether the cycle changes that." in text
        )
    nothing = [each for each in runs if each["method"] in ("ours", "unmatched")]
    for said in (comparison.on_the_reverse_cycle, comparison.brief_answer):
        assert said(comparison.group_runs(nothing)[0]) == []


def test_a_search_that_ends_at_its_edge_is_named():
    def searched(rate, weight, psnr):
        name = f"search-drnet-{rate}-{weight}"
        return run(name, 0, "sprites", **{comparison.CHOSEN_BY: psnr})

    inside = [searched(5e-4, 1.0, 19.0), searched(1e-3, 10.0, 21.0)]
    assert comparison.search_edges(inside) == []
    assert comparison.search_edges([*inside, searched(2e-3, 100.0, 22.0)]) == [
        "The search chose the highest learning rate for “drnet”.",
        "It chose the smallest or the largest weight for “drnet”.",
        "Better settings of these may exist, so the study may show them too weak.",
    ]


def test_trainings_on_another_device_are_named():
    runs = [run("ours"), {**run("published"), "device": "cuda"}, {**run("mlvae"), "device": "cuda"}]
    assert comparison.devices(runs) == ["Trained on cuda: “published” and “mlvae”."]
    assert comparison.devices(runs[:1]) == []


def test_the_verdicts_are_counted():
    rows = [[verdict] for verdict in (comparison.HOLDS, comparison.OPPOSITE, comparison.HOLDS)]
    assert comparison.verdicts(rows) == (
        "Verdicts on 3 claims: 2 times “holds”, 1 times “does not hold: the opposite”, 0 times"
        " “cannot tell”."
    )


@pytest.mark.parametrize("rival", methods.RIVALS)
def test_each_rival_has_the_settings_that_its_search_chose(rival):
    runs = json.loads((ROOT / "benchmarks" / "study.json").read_text())["runs"]
    tried = comparison.searched_runs(runs, rival)
    if not tried:
        assert rival not in {run["method"] for run in runs}
        pytest.skip(f"the settings of {rival} are not searched yet")
    best = METHODS[max(tried, key=tried.__getitem__)]
    for setting in ("learning_rate", "kl_weight"):
        assert getattr(METHODS[rival].hp, setting) == getattr(best.hp, setting)
    assert METHODS[rival].weight == best.weight and len(tried) == 9
