"""Intervals on data whose mean is known: how often they hold it."""

import numpy as np
import pytest

from lib.evaluation.intervals import (
    bootstrap_interval,
    gain_interval,
    ratio_interval,
    share_interval,
    training_interval,
)


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


def trainings(rng, count=3, clusters=40, n=800, differs=1.0):
    """(count, n) errors of swaps in several trainings: each training, each identity and each of
    their pairs has an effect. The true mean is 0.
    """
    a, b = rng.integers(clusters, size=(2, n))
    effects = rng.normal(size=(2, clusters))
    by_training = differs * 0.3 * rng.normal(size=(count, 1))
    pairs = 0.3 * rng.normal(size=(count, clusters))[:, a]
    noise = rng.normal(size=(count, n))
    return effects[0][a] + effects[1][b] + by_training + pairs + noise, a, b


@pytest.mark.parametrize("count", [3, 5])
def test_intervals_over_trainings_and_identities_hold_the_mean_as_often_as_they_say(count):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        values, a, b = trainings(rng, count)
        intervals = [bootstrap_interval(each, a, b) for each in values]
        outfits = len(np.union1d(a, b))
        _, low, high = training_interval(values.mean(axis=1).tolist(), intervals, outfits)
        covered += low <= 0 <= high
    assert 0.91 <= covered / 200


def test_intervals_over_identities_alone_would_hold_it_less_often():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(100):
        values, a, b = trainings(rng, differs=3.0)
        low, high = bootstrap_interval(values.mean(axis=0), a, b)
        covered += low <= 0 <= high
    assert covered / 100 < 0.85


def test_a_gain_is_paired():
    """Identities differ much, and the two methods little: only pairs can show it."""
    rng = np.random.default_rng(0)
    values, a, b = two_way(rng)
    errors = np.exp(values)
    low, high = gain_interval(errors, 1.1 * errors, a, b)
    assert low == pytest.approx(high) and low == pytest.approx(10 * np.log10(1.1))
    noisy = errors * np.exp(0.1 * rng.normal(size=len(errors)))
    low, high = gain_interval(errors, noisy, a, b)
    assert low < 0.3 and high - low < 0.5


@pytest.mark.parametrize("clusters", [5, 30])
def test_all_right_is_no_certainty(clusters):
    cluster = np.arange(200) % clusters
    low, high = share_interval(np.ones(200, bool), cluster)
    assert high == 1 and low == pytest.approx(0.025 ** (1 / clusters))
    low, high = share_interval(np.zeros(200, bool), cluster)
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / clusters))
    some = cluster % 2 == 0
    assert share_interval(some, cluster) == bootstrap_interval(some, cluster)
