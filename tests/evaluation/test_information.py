"""The online code of planted codes."""

import numpy as np
import pytest

from lib.config import make_hparams
from lib.evaluation.information import online_code_length
from tests.evaluation.planted import PERFECT_S, SPLITS, TARGETS, USELESS, leaking


def test_an_online_code_is_short_for_a_perfect_code_and_uniform_for_a_useless_one():
    hp = make_hparams("fast", probe_images=1_400, probe_epochs=8)
    lengths = [
        online_code_length("mlp", code, TARGETS["a"], SPLITS, hp, seed=0)
        for code in (PERFECT_S, leaking(USELESS, PERFECT_S, 0.5), USELESS)
    ]
    nats = [length["nats"] for length in lengths]
    assert lengths[0]["uniform"] == pytest.approx(np.log(3))
    assert nats == sorted(nats) and nats[0] < 0.3 * np.log(3) and nats[2] > 0.9 * np.log(3)


@pytest.mark.parametrize("images", [3, 20, 100])
def test_a_few_images_are_sent_too(images):
    hp = make_hparams("smoke")
    few = {**SPLITS, "train": SPLITS["train"][:images]}
    length = online_code_length("linear", PERFECT_S, TARGETS["a"], few, hp, seed=0)
    assert 0 < length["nats"] <= length["uniform"] + 1e-9
