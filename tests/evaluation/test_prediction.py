"""Prediction of a code that is a function of the other, and of noise."""

import numpy as np
import pytest

from lib.config import make_hparams
from lib.evaluation.prediction import fit_prediction
from tests.evaluation.planted import RNG, SPLITS

HP = make_hparams("fast", probe_images=4_000, probe_epochs=8)


def test_prediction_of_a_function_and_of_noise():
    x = RNG.normal(size=(6_000, 4)).astype(np.float32)
    mixed = (x @ RNG.normal(size=(4, 3)) * 5 + 2).astype(np.float32)
    parts = dict(zip(SPLITS, np.split(RNG.permutation(6_000), [4_000, 5_000]), strict=True))
    predicted, found = fit_prediction(x, mixed, parts, HP, seed=0)
    assert found["r2"] > 0.95 and predicted.shape == mixed.shape
    noise = RNG.normal(size=(6_000, 3)).astype(np.float32)
    assert fit_prediction(x, noise, parts, HP, seed=0)[1]["r2"] == pytest.approx(0, abs=0.1)
