"""Codes are stored for the model that made them."""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.images import to_float
from lib.evaluation.codes import encode_all, mean_and_std, standardised, subsample
from lib.method.runs import new_run, save_run
from lib.system import paths


def test_codes_are_computed_once_and_anew_for_another_model(few_sprites, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    run = new_run("codes", few_sprites, "smoke", 0, make_hparams("smoke"))
    run.model.eval()
    save_run(run)
    first = encode_all(run, few_sprites)
    with torch.no_grad():
        one = run.model.encode(to_float(few_sprites.images[7:8]))
    np.testing.assert_allclose(first.z_mu[7], one.z_mu[0], atol=1e-4)
    np.testing.assert_allclose(first.s[7], one.s[0], atol=1e-4)
    monkeypatch.setattr(run.model, "encode", lambda x: pytest.fail("the codes were computed again"))
    np.testing.assert_array_equal(encode_all(run, few_sprites).s, first.s)
    other = new_run("codes", few_sprites, "smoke", 1, make_hparams("smoke"))
    other.model.eval()
    save_run(other)
    assert not np.array_equal(encode_all(other, few_sprites).s, first.s)


def test_a_constant_column_is_standardised_to_zero_and_every_other_to_unit_variance():
    x = np.stack([np.full(50, 3), np.arange(50)], axis=1).astype(np.float32)
    assert mean_and_std(x)[1][0] == 1
    np.testing.assert_allclose(standardised(x).mean(axis=0), [0, 0], atol=1e-6)
    np.testing.assert_allclose(standardised(x).std(axis=0), [0, 1], rtol=1e-5)


def test_a_subsample_has_no_image_twice_and_a_small_split_is_used_in_full():
    index = np.arange(100, 130)
    few = subsample(index, 10, seed=0)
    assert len(set(few)) == 10 and set(few) <= set(index)
    assert subsample(index, 30, seed=0) is index
