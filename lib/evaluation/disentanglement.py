"""Scores of whole codes: does s hold the character alone, and z the pose alone?

The scores of Eastwood and Williams (ICLR 2018) and Chen et al. (NeurIPS 2018) ask this of single
dimensions, about which this method promises nothing. Here they ask it of the two codes. They start
from one table: the share of the entropy of each factor that the best probe of each code explains.
"""

import numpy as np

CODES = ("s", "z")
TINY = 1e-12


def entropy_fraction(nats: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """(B, F) shares from 0 to 1 of the entropy (F,) that `nats` (B, F) are."""
    return np.clip(nats / np.maximum(entropy, TINY), 0, 1)


def block_scores(shares: np.ndarray, is_identity_factor: np.ndarray) -> dict[str, object]:
    """Scores of the shares (2, F) that s and z explain of F factors.

    - disentanglement, per code: 1 if it explains one kind of factor alone, 0 if both alike; a mean
      weighted by what each code explains
    - completeness, per factor: 1 if one code alone explains it, 0 if both do alike
    - informativeness, per factor: the larger share
    - gap, per factor: the share of the code that should hold it less that of the other code

    Shapes: `is_identity_factor` (F,) bool: a factor of the character, not of the pose.
    """
    kinds = np.stack(
        [shares[:, is_identity_factor].mean(axis=1), shares[:, ~is_identity_factor].mean(axis=1)],
        axis=1,
    )
    weight = kinds.sum(axis=1)
    disentanglement, completeness = _purity(kinds), _purity(shares.T)
    gap = np.where(is_identity_factor, 1, -1) * (shares[0] - shares[1])
    return {
        "disentanglement": float((weight * disentanglement).sum() / max(weight.sum(), TINY)),
        "completeness": float(completeness.mean()),
        "informativeness": float(shares.max(axis=0).mean()),
        "gap": float(gap.mean()),
        "disentanglement_by_code": dict(zip(CODES, disentanglement.tolist(), strict=True)),
        "completeness_by_factor": completeness.tolist(),
        "gap_by_factor": gap.tolist(),
    }


def _purity(x: np.ndarray) -> np.ndarray:
    """(n,) 1 less the entropy, in bits, of each row (n, 2) as a distribution; 0 for a row of 0."""
    share = x / np.maximum(x.sum(axis=1, keepdims=True), TINY)
    entropy = -(share * np.log2(np.maximum(share, TINY))).sum(axis=1)
    return np.where(x.sum(axis=1) > TINY, 1 - entropy, 0.0)
