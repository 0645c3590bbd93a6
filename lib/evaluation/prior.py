"""Priors of z: N(0, I), as in the loss, and a density fitted to the codes after the training."""

import numpy as np
from sklearn.mixture import GaussianMixture

COMPONENTS = (16, 64, 256)  # of the mixture; validation codes choose
FITTED_CODES = 10_000  # training codes that the mixture is fitted to, at most
REGULARISATION = 1e-4  # added to variances, so that none vanishes


def fit_prior(z_train: np.ndarray, z_validation: np.ndarray, seed: int) -> GaussianMixture:
    """The mixture of normal distributions under which `z_validation` (m, Z) is most likely.

    It is fitted to a random part of `z_train` (n, Z), samples of q(z|x) on training images. So it
    puts samples where the decoder was trained, which N(0, I) does not.

    Source: ex-post density estimation (Ghosh et al., ICLR 2020).
    """
    # In float32, scikit-learn finds covariances that are not symmetric enough to sample from.
    z_train = np.random.default_rng(seed).permutation(z_train)[:FITTED_CODES].astype(np.float64)
    candidates = [k for k in COMPONENTS if k <= len(z_train) // 2] or [1]  # of very few codes
    fitted = [
        GaussianMixture(k, reg_covar=REGULARISATION, random_state=seed).fit(z_train)
        for k in candidates
    ]
    return max(fitted, key=lambda mixture: mixture.score(z_validation))


def draw(mixture: GaussianMixture, n: int, seed: int) -> np.ndarray:
    """(n, Z) float32 samples, in random order."""
    z = mixture.set_params(random_state=seed).sample(n)[0].astype(np.float32)
    return np.random.default_rng(seed).permutation(z)
