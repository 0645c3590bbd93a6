"""The classifier of the reference, for comparison only."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from lib.config import HParams
from lib.evaluation.classifiers import BATCH, hidden_layers, minimise, shuffled

WIDTHS = (2048, 1024)
RATE = 1e-3
TEST_SHARE = 0.2  # of the images


def published_protocol(
    codes: np.ndarray, target: np.ndarray, hp: HParams, seed: int, device: torch.device
) -> dict[str, float]:
    """{accuracy, cross_entropy, uniform, epochs, images} as the reference measures them.

    Codes (N, D) are not standardised. Images are split at random, so both parts show every
    character and share images. Accuracy and cross-entropy are those of the best test epoch.
    `uniform` is ln K. hp.protocol_epochs and hp.protocol_images shorten it.

    Source: Chetan and Joshi (2020).
    """
    torch.manual_seed(seed)
    classes = int(target.max()) + 1
    images = min(len(codes), round(hp.protocol_images / (1 - TEST_SHARE)))
    chosen = torch.randperm(len(codes))[:images]
    sizes = (images - round(TEST_SHARE * images), round(TEST_SHARE * images))
    x_train, x_test = torch.from_numpy(codes)[chosen].to(device).split(sizes)
    y_train, y_test = torch.from_numpy(target)[chosen].to(device).split(sizes)
    hidden = hidden_layers(codes.shape[1], WIDTHS)
    net = nn.Sequential(*hidden, nn.Linear(WIDTHS[-1], classes)).to(device)
    accuracies, cross_entropies = [], []

    def test() -> None:
        with torch.no_grad():
            logits = net(x_test)
        accuracies.append((logits.argmax(1) == y_test).float().mean().item())
        cross_entropies.append(F.cross_entropy(logits, y_test).item())

    minimise(
        lambda index: F.cross_entropy(net(x_train[index]), y_train[index]),
        net.parameters(),
        tqdm(
            shuffled(len(x_train), BATCH, hp.protocol_epochs, seed),
            "published protocol",
            hp.protocol_epochs,
            unit="epoch",
            dynamic_ncols=True,
        ),
        RATE,
        after_epoch=test,
    )
    return {
        "accuracy": max(accuracies),
        "cross_entropy": min(cross_entropies),
        "uniform": float(np.log(classes)),
        "epochs": hp.protocol_epochs,
        "images": len(x_train),
    }
