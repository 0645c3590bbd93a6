"""One code from the other: do s and z share information?"""

import numpy as np
import torch
from torch.nn import functional as F

from lib.config import HParams
from lib.evaluation.classifiers import fit_networks
from lib.evaluation.codes import mean_and_std, subsample
from lib.evaluation.probes import Splits

WIDTH = 512  # hidden units


def fit_prediction(
    source: np.ndarray, target: np.ndarray, splits: Splits, hp: HParams, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """A network that predicts the code `target` (N, D) from the code `source`.

    Returns: predictions for all N images; {mse, mse_of_mean, r2, n} on unseen identities. r2 is the
        share of the variance that is explained: 0 for the training mean.
    """
    train = subsample(splits["train"], hp.probe_images, seed)
    validation = subsample(splits["validation"], hp.probe_images // 4, seed)
    (x_mean, x_std), (mean, std) = mean_and_std(source[train]), mean_and_std(target[train])
    x = [
        torch.from_numpy((source[part] - x_mean) / x_std)
        for part in (train, validation, slice(None))
    ]
    y = [torch.from_numpy((target[part] - mean) / std) for part in (train, validation)]
    widths, n_out = (WIDTH,), {"code": target.shape[1]}
    fitted = fit_networks(widths, x, {"code": y}, n_out, F.mse_loss, hp, seed)["code"]
    predicted = fitted.output.numpy() * std + mean

    test = splits["test"]
    mse, mean_mse = (
        float(((target[test] - guess) ** 2).mean()) for guess in (predicted[test], mean)
    )
    r2 = 1 - mse / mean_mse if mean_mse > 0 else 0.0  # a code that never changes
    return predicted, {"mse": mse, "mse_of_mean": mean_mse, "r2": r2, "n": len(test)}
