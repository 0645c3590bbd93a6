"""The published classifier on codes that name the character, and on noise."""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.evaluation.protocol import published_protocol
from tests.evaluation.planted import IDENTITY, PERFECT_S, USELESS

HP = make_hparams("fast", protocol_images=1_600)
CPU = torch.device("cpu")


def test_the_published_protocol_names_the_character_from_a_perfect_code_and_not_from_noise():
    perfect, useless = (
        published_protocol(code, IDENTITY, HP, 0, CPU) for code in (PERFECT_S, USELESS)
    )
    assert perfect["accuracy"] > 10 * useless["accuracy"]
    assert perfect["cross_entropy"] < useless["cross_entropy"]
    assert useless["accuracy"] < 0.1
    assert perfect["uniform"] == pytest.approx(np.log(60))
    assert (perfect["images"], perfect["epochs"]) == (1_600, HP.protocol_epochs)
    longer = make_hparams("fast", protocol_images=10**6, protocol_epochs=6)
    complete = published_protocol(PERFECT_S, IDENTITY, longer, 0, CPU)
    assert (complete["images"], complete["epochs"]) == (round(0.8 * len(IDENTITY)), 6)
    assert complete["accuracy"] >= perfect["accuracy"]
