"""95 % intervals over outfits or poses, not over images; and over trainings, too.

10,000 swaps of 50 identities are not 10,000 independent facts, because all swaps of one identity
have similar errors, and so have identities that differ in the skin alone. So the bootstrap draws
clusters (Field and Welsh, JRSS B 2007): outfits, that is identities in all skins. A swap belongs to
two of them. It counts by the product of how often both were drawn (Owen, Annals of Applied
Statistics 2007; Snijders and Borgatti 1999). Two methods are compared on the same swaps and in the
same draws.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

DRAWS = 2_000
TAIL = 0.025  # the share outside each end of an interval


def bootstrap_interval(
    values: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
    tail: float = TAIL,
) -> list[float]:
    """[low, high], the 95 % percentile interval of the mean of `values`.

    It holds for similar outfits and this model. It excludes the variation between trainings.

    Shapes: all (n,). `cluster` numbers the outfit of each value, `other` its second outfit.
    """
    weights = np.ones(len(values)) if weights is None else weights
    return _percentiles(_bootstrap_means(values, cluster, other, weights, seed), tail)


def share_interval(
    is_right: np.ndarray, cluster: np.ndarray, other: np.ndarray | None = None, tail: float = TAIL
) -> list[float]:
    """As `bootstrap_interval`, of a share; where all or none of `is_right` (n,) are true, too.

    There the bootstrap has no width, so the bound is that of a binomial with one draw a cluster
    (Clopper and Pearson, Biometrika 1934).
    """
    bound = tail ** (1 / len(np.unique(cluster)))
    if is_right.all():
        return [float(bound), 1.0]
    if not is_right.any():
        return [0.0, float(1 - bound)]
    return bootstrap_interval(is_right, cluster, other, tail=tail)


def gain_interval(
    errors: np.ndarray,
    reference: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None = None,
    seed: int = 0,
) -> list[float]:
    """As `bootstrap_interval`, of the `gain` in dB of paired errors over those of a reference."""
    weights = np.ones(len(errors))
    means = [_bootstrap_means(each, cluster, other, weights, seed) for each in (errors, reference)]
    return _percentiles(gain(*means))


def gain(error: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """By how many dB the PSNR of a mean squared error exceeds that of a reference."""
    return 10 * np.log10(np.asarray(reference) / np.asarray(error))


def training_interval(
    values: Sequence[float], intervals: Sequence[Sequence[float]], outfits: int
) -> tuple[float, float, float]:
    """Mean of a value over trainings, and its 95 % interval over trainings and outfits.

    The variance is the sum of two: between the trainings, from their `values`, and between the
    outfits, which all trainings share, from the bootstrap `intervals` of the trainings over them.
    Its degrees of freedom follow Satterthwaite (Biometrics Bulletin 1946). A bootstrap of three
    trainings would be too narrow.
    """
    widths = np.diff(np.asarray(intervals), axis=1)
    deviations = widths / (2 * ndtri(1 - TAIL))
    parts = [(float(np.square(deviations).mean()), outfits - 1)]
    if len(values) > 1:
        parts.append((float(np.var(values, ddof=1)) / len(values), len(values) - 1))
    total = sum(variance for variance, _ in parts)
    squares = sum(variance**2 / freedom for variance, freedom in parts)
    freedom = total**2 / squares if squares else 1.0
    mean, half = float(np.mean(values)), float(stdtrit(freedom, 1 - TAIL) * np.sqrt(total))
    return mean, mean - half, mean + half


def ratio_interval(
    values: np.ndarray,
    which: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None = None,
    seed: int = 0,
) -> list[float]:
    """As `bootstrap_interval`, of the mean of values[which] divided by that of values[~which]."""
    means = [
        _bootstrap_means(values, cluster, other, part.astype(float), seed)
        for part in (which, ~which)
    ]
    return _percentiles(np.divide(*means))


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval (Student's t) of a few values; one value has no width."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, mean, mean
    standard_error = np.std(values, ddof=1) / np.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 1 - TAIL) * standard_error)
    return mean, mean - half, mean + half


def _bootstrap_means(
    values: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None,
    weights: np.ndarray,
    seed: int,
) -> np.ndarray:
    """(DRAWS,) weighted means; NaN where nothing drawn has weight."""
    if other is not None and np.array_equal(cluster, other):
        other = None  # else each cluster would count by the square of how often it was drawn
    every = np.concatenate([cluster, cluster if other is None else other])
    names, index = np.unique(every, return_inverse=True)
    first, second = index.reshape(2, -1)
    rng, n = np.random.default_rng(seed), len(names)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(float)
    sums = []
    for part in (values * weights, weights):
        if other is None:
            sums.append(drawn @ np.bincount(first, part, n))
        else:
            pairs = np.bincount(first * n + second, part, n * n).reshape(n, n)
            sums.append(((drawn @ pairs) * drawn).sum(axis=1))
    total, count = sums
    return np.divide(total, count, out=np.full(DRAWS, np.nan), where=count > 0)


def _percentiles(draws: np.ndarray, tail: float = TAIL) -> list[float]:
    return [float(bound) for bound in np.nanquantile(draws, (tail, 1 - tail))]
