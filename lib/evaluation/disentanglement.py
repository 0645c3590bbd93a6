"""Two codes, two kinds of factors: how far s is about who and z about the pose, and nothing else.

The scores of Eastwood and Williams (ICLR 2018) and of Chen et al. (NeurIPS 2018), asked of whole
codes instead of single dimensions, which this method does not promise anything of. All start from
one table: the share of each factor's entropy that each code is shown to tell, by the best probe of
it.
"""

import numpy as np

BLOCKS = ("s", "z")
TINY = 1e-12


def entropy_fraction(nats: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """The share (B, F), 0 to 1, of each factor's entropy (F,) that a code is shown to tell: `nats`
    (B, F), both in nats.
    """
    return np.clip(nats / np.maximum(entropy, TINY), 0, 1)


def block_scores(shares: np.ndarray, who: np.ndarray) -> dict[str, object]:
    """Scores, 0 to 1, of the shares (2, F) that s and z tell of F factors, of which `who` (F,) are
    about the character.

    disentanglement, of each code: 1 if it tells of one kind of factor alone, 0 if of both alike
    (kinds: means over their factors). completeness, of each factor: 1 if one code alone tells it, 0
    if both do alike. informativeness, of each factor: the larger share. gap, of each factor: the
    share in the code that should hold it, less that in the other; negative where the wrong one
    holds more. Their means are over factors; disentanglement's is weighted by what each code tells.
    """
    kinds = np.stack([shares[:, who].mean(axis=1), shares[:, ~who].mean(axis=1)], axis=1)
    weight = kinds.sum(axis=1)
    disentanglement, completeness = _purity(kinds), _purity(shares.T)
    gap = np.where(who, 1, -1) * (shares[0] - shares[1])
    means = {
        "disentanglement": float((weight * disentanglement).sum() / max(weight.sum(), TINY)),
        "completeness": float(completeness.mean()),
        "informativeness": float(shares.max(axis=0).mean()),
        "gap": float(gap.mean()),
    }
    return {
        **means,
        "disentanglement_by_code": dict(zip(BLOCKS, disentanglement.tolist(), strict=True)),
        "completeness_by_factor": completeness.tolist(),
        "gap_by_factor": gap.tolist(),
    }


def _purity(x: np.ndarray) -> np.ndarray:
    """1 less the entropy, in bits, of each row (n, 2) made to sum to 1; 0 for a row of 0."""
    share = x / np.maximum(x.sum(axis=1, keepdims=True), TINY)
    entropy = -(share * np.log2(np.maximum(share, TINY))).sum(axis=1)
    return np.where(x.sum(axis=1) > TINY, 1 - entropy, 0.0)
