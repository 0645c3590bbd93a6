"""The classifier of the reference, for comparison only."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib.config import HParams
from lib.evaluation.classifiers import BATCH, hidden_layers, minimise, shuffled

WIDTHS = (2048, 1024)
RATE = 1e-3
EPOCHS = 3  # the reference has 200


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
    hidden = hidden_layers(codes.shape[1], WIDTHS)
    net = nn.Sequential(*hidden, nn.Linear(WIDTHS[-1], classes))
    accuracies, cross_entropies = [], []

    def test() -> None:
        with torch.no_grad():
            logits = net(x_test)
        accuracies.append((logits.argmax(1) == y_test).float().mean().item())
        cross_entropies.append(F.cross_entropy(logits, y_test).item())

    minimise(
        lambda index: F.cross_entropy(net(x_train[index]), y_train[index]),
        net.parameters(),
        shuffled(len(x_train), BATCH, EPOCHS),
        RATE,
        after_epoch=test,
    )
    return {
        "accuracy": max(accuracies),
        "cross_entropy": min(cross_entropies),
        "uniform": float(np.log(classes)),
        "epochs": EPOCHS,
        "images": len(x_train),
    }
