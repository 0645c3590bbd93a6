"""95 % intervals over identities or poses, not over images.

10,000 swaps of 50 identities are not 10,000 independent facts, because all swaps of one identity
have similar errors. So the bootstrap draws clusters (Field and Welsh, JRSS B 2007). A swap belongs
to two identities. It counts by the product of how often both were drawn (Owen, Annals of Applied
Statistics 2007; Snijders and Borgatti 1999).
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.special import stdtrit

DRAWS = 2_000


def bootstrap_interval(
    values: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> list[float]:
    """[low, high], the 95 % percentile interval of the mean of `values`.

    It holds for similar identities and this model. It excludes the variation between trainings.

    Shapes: all (n,). `cluster` numbers the identity of each value, `other` its second identity.
    """
    weights = np.ones(len(values)) if weights is None else weights
    return _percentiles(_bootstrap_means(values, cluster, other, weights, seed))


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
    half = float(stdtrit(len(values) - 1, 0.975) * standard_error)
    return mean, mean - half, mean + half


def _bootstrap_means(
    values: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None,
    weights: np.ndarray,
    seed: int,
) -> np.ndarray:
    """(DRAWS,) weighted means; NaN where nothing drawn has weight."""
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
            pairs = coo_array((part, (first, second)), shape=(n, n)).toarray()
            sums.append(((drawn @ pairs) * drawn).sum(axis=1))
    total, count = sums
    return np.divide(total, count, out=np.full(DRAWS, np.nan), where=count > 0)


def _percentiles(draws: np.ndarray) -> list[float]:
    return [float(bound) for bound in np.nanquantile(draws, (0.025, 0.975))]
