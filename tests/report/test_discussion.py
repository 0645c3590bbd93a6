"""The abstract and the discussion: what they say changes with the numbers."""

import copy
import json

import pytest

from lib.report.discussion import discussion
from lib.report.summary import abstract
from lib.system.paths import ROOT

MOST_WORDS = 150  # of the abstract


@pytest.fixture(params=["drawn", "sprites"])
def results(request):
    path = ROOT / "reports" / "_committed" / request.param / "results.json"
    stored = json.loads(path.read_text())
    study = json.loads((ROOT / "benchmarks" / "study.json").read_text())
    return {**stored, "comparison": study["comparison"]}


def test_the_abstract_is_short_and_names_leaks_before_the_best_number(results):
    text = " ".join(abstract(results))
    assert len(text.split()) <= MOST_WORDS
    order = [
        text.index(part) for part in ("cycle do anything", "largest leaks are", "Swaps of unseen")
    ]
    assert order == sorted(order)


def test_the_abstract_says_on_which_side_swaps_are(results):
    gain = results["swap"]["gain"]["retrieval_mean"]
    assert "above the mean of the nearest" in abstract(results)[-1]
    gain |= {"db": -2.0, "ci95": [-3.0, -1.0]}
    assert "2.0 dB (1.0–3.0) below the mean of the nearest" in abstract(results)[-1]
    gain |= {"db": 0.1, "ci95": [-0.5, 0.6]}
    assert "not shown to differ from the mean of the nearest" in abstract(results)[-1]


def test_the_discussion_follows_the_numbers(results):
    error, leaks, assumption, conclusion = discussion(results)
    assert "one image does not show all" in error
    assert "z (mean) leaks" in leaks and "No probe proves a leak of z (sampled)." in leaks
    assert "% of matched images do" in assumption
    assert "the reverse cycle" in conclusion and "Without matching" in conclusion

    changed = copy.deepcopy(results)
    changed["swap"]["several"]["gain"]["ci95"] = [-0.1, 0.2]
    changed["training"]["match_contrast"] = None
    error, *_ = discussion(changed)
    assert len(discussion(changed)) == 3
    assert "one image does not" not in error


def test_the_discussion_ends_with_what_the_study_concludes(results):
    results["comparison"]["conclusion"] = ["It does.", "Without matching, swaps are worse."]
    assert discussion(results)[-1] == "It does. Without matching, swaps are worse."


def test_identities_that_are_hardly_new_are_counted(results):
    results["swap"]["by_distance"] = {
        "skin alone": {"identities": 29},
        "1 attribute": {"identities": 10},
        "2 attributes": {"identities": 11},
    }
    near = "29 of 50 test identities differ from a training identity in the skin alone, so"
    assert near in discussion(results)[0]
    del results["swap"]["by_distance"]
    assert "test identities" not in discussion(results)[0]


def test_a_run_without_known_poses_has_neither_swaps_nor_their_discussion(results):
    del results["swap"]
    results["training"] |= {"match_contrast": None, "matched_same_pose": None}
    assert len(discussion(results)) == 2
    assert "dB" in " ".join(abstract(results))
