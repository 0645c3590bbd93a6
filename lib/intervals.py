"""95 % intervals that know what was drawn: characters (or poses), not images.

10,000 swaps of 50 identities are not 10,000 independent facts: all that show one identity err alike. So the bootstrap draws
whole clusters anew (Field and Welsh, JRSS B 2007), and where each value belongs to two identities, as a swap does, a value
counts by the product of how often both were drawn (Owen, Annals of Applied Statistics 2007; Snijders and Borgatti 1999).
"""

import numpy as np
from scipy.sparse import coo_array

DRAWS = 2_000


def bootstrap_interval(
    values: np.ndarray, cluster: np.ndarray, other: np.ndarray | None = None, weights: np.ndarray | None = None, seed: int = 0
) -> list[float]:
    """[low, high], the 95 % percentile interval of the mean of `values` (n,), weighted by `weights` (n,) where given.

    `cluster` (n,) numbers the identity that each value belongs to, `other` (n,) a second one, numbered alike. The interval is
    about identities like these, for one and the same model; what another training would change is not in it.
    """
    weights = np.ones(len(values)) if weights is None else weights
    names, index = np.unique(np.concatenate([cluster, cluster if other is None else other]), return_inverse=True)
    first, second = index.reshape(2, -1)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS).astype(float)
    if other is None:
        total, count = (drawn @ np.bincount(first, of, len(names)) for of in (values * weights, weights))
    else:
        pairs = (coo_array((of, (first, second)), shape=(len(names),) * 2).toarray() for of in (values * weights, weights))
        total, count = (((drawn @ pair) * drawn).sum(axis=1) for pair in pairs)
    means = total[count > 0] / count[count > 0]
    return [float(bound) for bound in np.quantile(means, (0.025, 0.975))]
