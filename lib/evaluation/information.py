"""How hard a target is to learn from a code, how one code predicts the other, and maps of codes."""

from itertools import pairwise

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import nn
from torch.nn import functional as F

from lib.config import HParams
from lib.evaluation.classifiers import BATCH, hidden_layers, minimise, shuffled
from lib.evaluation.codes import mean_and_std, standardised, subsample
from lib.evaluation.probes import Splits, fit_networks, fit_probes

ONLINE_BLOCKS = 8  # each but the first is as long as all before it
PREDICTION_WIDTH = 512  # hidden units of the networks that predict one code from the other
PUBLISHED_WIDTHS = (2048, 1024)
PUBLISHED_RATE = 1e-3
PUBLISHED_EPOCHS = 3  # the reference has 200


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
    ends = [len(train) >> (ONLINE_BLOCKS - 1 - k) for k in range(ONLINE_BLOCKS)]
    uniform = float(np.log(target.max() + 1))
    total = ends[0] * uniform
    for start, end in pairwise(ends):
        block = train[start:end]
        parts = {"train": train[:start], "validation": splits["validation"], "test": block}
        probe = fit_probes(kind, codes, {"target": target}, parts, hp, seed)["target"]
        total -= probe.log_posterior[np.arange(len(block)), target[block]].sum()
    return {"nats": float(total / len(train)), "uniform": uniform}


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
    widths, n_out = (PREDICTION_WIDTH,), {"code": target.shape[1]}
    fitted = fit_networks(widths, x, {"code": y}, n_out, F.mse_loss, hp, seed)["code"]
    predicted = fitted.output.numpy() * std + mean

    test = splits["test"]
    mse, mean_mse = (
        float(((target[test] - guess) ** 2).mean()) for guess in (predicted[test], mean)
    )
    r2 = 1 - mse / mean_mse
    return predicted, {"mse": mse, "mse_of_mean": mean_mse, "r2": r2, "n": len(test)}


def published_protocol(
    codes: np.ndarray, target: np.ndarray, hp: HParams, seed: int
) -> dict[str, float]:
    """{accuracy, cross_entropy, uniform, epochs, images} as the reference measures them.

    Codes (N, D) are not standardised. Images are split at random, so both parts show every
    character and share images. Accuracy and cross-entropy are those of the best test epoch.
    `uniform` is ln K. The reference trains longer, on more images.

    Source: Chetan and Joshi (2020).
    """
    torch.manual_seed(seed)
    classes = int(target.max()) + 1
    chosen = torch.randperm(len(codes))[: hp.probe_images + hp.probe_images // 4]
    sizes = (hp.probe_images, len(chosen) - hp.probe_images)
    x_train, x_test = torch.from_numpy(codes)[chosen].split(sizes)
    y_train, y_test = torch.from_numpy(target)[chosen].split(sizes)
    hidden = hidden_layers(codes.shape[1], PUBLISHED_WIDTHS)
    net = nn.Sequential(*hidden, nn.Linear(PUBLISHED_WIDTHS[-1], classes))
    accuracies, cross_entropies = [], []

    def test() -> None:
        with torch.no_grad():
            logits = net(x_test)
        accuracies.append((logits.argmax(1) == y_test).float().mean().item())
        cross_entropies.append(F.cross_entropy(logits, y_test).item())

    minimise(
        lambda index: F.cross_entropy(net(x_train[index]), y_train[index]),
        net.parameters(),
        shuffled(len(x_train), BATCH, PUBLISHED_EPOCHS),
        PUBLISHED_RATE,
        after_epoch=test,
    )
    return {
        "accuracy": max(accuracies),
        "cross_entropy": min(cross_entropies),
        "uniform": float(np.log(classes)),
        "epochs": PUBLISHED_EPOCHS,
        "images": len(x_train),
    }


def tsne(codes: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2), the t-SNE of standardised codes (n, D)."""
    perplexity = min(30, len(codes) // 4)
    return TSNE(random_state=seed, init="pca", perplexity=perplexity).fit_transform(
        standardised(codes)
    )
