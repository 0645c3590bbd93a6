"""Intervals on data whose mean is known: how often they hold it."""

import numpy as np
import pytest

from lib.evaluation.intervals import bootstrap_interval, ratio_interval


def coverage(draw, trials=300):
    """The share of `trials` in which the interval holds the true mean, 0; each `draw(rng)` gives
    the interval's arguments.
    """
    rng = np.random.default_rng(0)
    intervals = np.array([bootstrap_interval(*draw(rng)) for _ in range(trials)])
    return np.mean((intervals[:, 0] <= 0) & (0 <= intervals[:, 1]))


def one_way(rng, clusters=50, each=20):
    identity = np.arange(clusters).repeat(each)
    return rng.normal(size=clusters)[identity] + rng.normal(size=len(identity)), identity


def two_way(rng, clusters=50, n=1_000):
    a, b = rng.integers(clusters, size=(2, n))
    effect_a, effect_b = rng.normal(size=(2, clusters))
    return effect_a[a] + effect_b[b] + rng.normal(size=n), a, b


def test_intervals_over_identities_hold_the_mean_as_often_as_they_say():
    assert 0.90 <= coverage(one_way) <= 0.98


def test_intervals_over_swaps_hold_the_mean_as_often_as_they_say():
    assert 0.90 <= coverage(two_way) <= 0.98


def test_intervals_over_images_would_hold_it_far_less_often():
    def naive(rng):
        values, _ = one_way(rng)
        return values, np.arange(len(values))

    assert coverage(naive, trials=40) < 0.6


def test_characters_of_two_splits_are_both_drawn():
    def apart(rng):
        values, a, b = two_way(rng, clusters=40)
        return values, a, 100 + b

    assert 0.90 <= coverage(apart) <= 0.98


def test_one_value_everywhere_has_no_width_and_weights_count():
    identity = np.arange(30) // 3
    assert bootstrap_interval(np.full(30, 2.0), identity) == [2, 2]
    values, weights = np.arange(30) % 3, np.tile([0.0, 0.0, 1.0], 10)
    assert bootstrap_interval(values, identity, weights=weights) == [2, 2]
    assert bootstrap_interval(values, identity, identity[::-1]) == bootstrap_interval(
        values, identity, identity[::-1]
    )


def test_the_interval_of_a_ratio_holds_it_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        values, a, b = two_way(rng)
        which = a % 2 == 0
        low, high = ratio_interval(20 + values + 4 * which, which, a, b)
        covered += low <= 24 / 20 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_more_identities_give_a_narrower_interval():
    rng = np.random.default_rng(1)
    few, many = (
        np.mean([np.diff(bootstrap_interval(*one_way(rng, clusters=n))) for _ in range(20)])
        for n in (20, 320)
    )
    assert many == pytest.approx(few / 4, rel=0.2)
