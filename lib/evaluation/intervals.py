"""95 % intervals that know what was drawn: characters (or poses), not images.

10,000 swaps of 50 identities are not 10,000 independent facts: all that show one identity err
alike. So the bootstrap draws whole clusters anew (Field and Welsh, JRSS B 2007), and where each
value belongs to two identities, as a swap does, a value counts by the product of how often both
were drawn (Owen, Annals of Applied Statistics 2007; Snijders and Borgatti 1999).
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.sparse import coo_array

DRAWS = 2_000


def bootstrap_interval(
    values: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> list[float]:
    """[low, high], the 95 % percentile interval of the mean of `values` (n,), weighted by `weights`
    (n,) where given.

    `cluster` (n,) numbers the identity that each value belongs to, `other` (n,) a second one,
    numbered alike. The interval is about identities like these, for one and the same model; what
    another training would change is not in it.
    """
    return _percentiles(
        _means(values, cluster, other, np.ones(len(values)) if weights is None else weights, seed)
    )


def ratio_interval(
    values: np.ndarray,
    which: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None = None,
    seed: int = 0,
) -> list[float]:
    """As `bootstrap_interval`, of the mean of the `values` that are in `which` (n,) bool over that
    of those that are not.
    """
    return _percentiles(
        np.divide(
            *(_means(values, cluster, other, of.astype(float), seed) for of in (which, ~which))
        )
    )


def _means(
    values: np.ndarray,
    cluster: np.ndarray,
    other: np.ndarray | None,
    weights: np.ndarray,
    seed: int,
) -> np.ndarray:
    """The weighted mean in each of the DRAWS; NaN where nothing drawn has weight."""
    names, index = np.unique(
        np.concatenate([cluster, cluster if other is None else other]), return_inverse=True
    )
    first, second = index.reshape(2, -1)
    drawn = (
        np.random.default_rng(seed)
        .multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
        .astype(float)
    )
    if other is None:
        total, count = (
            drawn @ np.bincount(first, of, len(names)) for of in (values * weights, weights)
        )
    else:
        pairs = (
            coo_array((of, (first, second)), shape=(len(names),) * 2).toarray()
            for of in (values * weights, weights)
        )
        total, count = (((drawn @ pair) * drawn).sum(axis=1) for pair in pairs)
    return np.divide(total, count, out=np.full(DRAWS, np.nan), where=count > 0)


def _percentiles(draws: np.ndarray) -> list[float]:
    return [float(bound) for bound in np.nanquantile(draws, (0.025, 0.975))]


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval (Student's t) of a few values, as of trainings with different seeds;
    that of one value is itself.
    """
    mean = float(np.mean(values))
    half = (
        float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else 0.0
    )
    return mean, mean - half, mean + half
