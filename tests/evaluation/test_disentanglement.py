"""Block scores of tables whose verdict is known."""

import numpy as np
import pytest

from lib.evaluation.disentanglement import block_scores, entropy_fraction

IDENTITY_TARGETS = np.array([True, True, False])
IDEAL = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def test_ideal_codes_score_one():
    scores = block_scores(IDEAL, IDENTITY_TARGETS)
    assert [
        scores[name] for name in ("disentanglement", "completeness", "informativeness", "gap")
    ] == pytest.approx([1] * 4)


def test_swapped_codes_are_as_pure_but_the_gap_tells():
    scores = block_scores(IDEAL[::-1], IDENTITY_TARGETS)
    assert scores["disentanglement"] == pytest.approx(1) and scores["gap"] == pytest.approx(-1)


def test_a_code_twice_is_neither_pure_nor_complete():
    scores = block_scores(np.ones((2, 3)), IDENTITY_TARGETS)
    assert [scores[name] for name in ("disentanglement", "completeness", "gap")] == pytest.approx(
        [0] * 3, abs=1e-9
    )
    assert scores["informativeness"] == 1


def test_a_constant_code_tells_nothing_and_useless_ones_score_zero():
    scores = block_scores(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), IDENTITY_TARGETS)
    assert scores["disentanglement_by_code"] == {"s": pytest.approx(1), "z": 0} and scores[
        "informativeness"
    ] == pytest.approx(2 / 3)
    assert all(
        value == 0
        for name, value in block_scores(np.zeros((2, 3)), IDENTITY_TARGETS).items()
        if "_by_" not in name
    )


def test_more_of_a_leak_scores_less():
    found = [
        block_scores(IDEAL + leak * IDEAL[::-1], IDENTITY_TARGETS) for leak in (0, 0.1, 0.3, 0.6)
    ]
    for name in ("disentanglement", "completeness", "gap"):
        scores = [scores[name] for scores in found]
        assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4


def test_told_is_a_share_of_the_entropy():
    np.testing.assert_allclose(
        entropy_fraction(np.array([[0.5, 2.0], [0.0, 1.0]]), np.array([1.0, 2.0])),
        [[0.5, 1.0], [0.0, 0.5]],
    )
    assert (
        entropy_fraction(np.array([[1.1]]), np.array([1.0])) == 1
        and entropy_fraction(np.array([[0.0]]), np.array([0.0])) == 0
    )
