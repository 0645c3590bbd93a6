"""How hard a target is to learn from a code."""

from itertools import pairwise

import numpy as np

from lib.config import HParams
from lib.evaluation.codes import subsample
from lib.evaluation.probes import Splits, fit_probes

ONLINE_BLOCKS = 8  # at most; each but the first is as long as all before it
SMALLEST_BLOCK = 16  # images of the first, if there are so many


def online_code_length(
    kind: str, codes: np.ndarray, target: np.ndarray, splits: Splits, hp: HParams, seed: int
) -> dict[str, float]:
    """{nats, uniform}: nats per image to send the target (N,) of the training images.

    The receiver has the codes. The first block is sent as by a uniform guess, every other block by
    a probe fitted to all blocks before it. So a target that is hard to learn costs more. `uniform`
    is ln K.

    Source: Voita and Titov (EMNLP 2020).
    """
    rng = np.random.default_rng(seed)
    train = rng.permutation(subsample(splits["train"], hp.probe_images, seed))
    ends = [len(train) >> k for k in range(ONLINE_BLOCKS)]
    ends = sorted(end for end in ends if end >= min(SMALLEST_BLOCK, len(train)))
    uniform = float(np.log(target.max() + 1))
    total = ends[0] * uniform
    for start, end in pairwise(ends):
        block = train[start:end]
        parts = {"train": train[:start], "validation": splits["validation"], "test": block}
        probe = fit_probes(kind, codes, {"target": target}, parts, hp, seed)["target"]
        total -= probe.log_posterior[np.arange(len(block)), target[block]].sum()
    return {"nats": float(total / len(train)), "uniform": uniform}
