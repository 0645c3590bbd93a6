"""Every score on codes whose truth is known: perfect, useless and leaking ones."""

import numpy as np
import pytest
import torch

from lib import config
from lib.batches import to_float
from lib.config import make_hparams
from lib.evaluate import (
    Probe,
    bayes_ceiling,
    encode_all,
    fit_prediction,
    fit_probe,
    identity_via_attributes,
    image_errors,
    nearest_pose_error,
    predictor_errors,
    probe_splits,
    probe_targets,
    psnr,
    reconstruction_swaps,
    sample_swaps,
    summarize,
    swap_error,
    swap_error_by_attribute,
)
from lib.sprites import P, split_by_identity
from lib.train import new_run, save_run

HP = make_hparams("fast", probe_images=4_000, probe_epochs=8)
RNG = np.random.default_rng(0)


class Planted(torch.nn.Module):
    """Swaps by looking up the truth: finds both images and returns the character of one in the pose of the other."""

    def __init__(self, sprites, takes_pose_of_s=False):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.images = sprites.images
        self.where = {image.tobytes(): n for n, image in reversed(list(enumerate(sprites.images)))}
        self.takes_pose_of_s = takes_pose_of_s

    def find(self, x):
        arrays = (x.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        return np.array([self.where[np.ascontiguousarray(a).tobytes()] for a in arrays])

    def transfer(self, x_z, x_s):
        pose = self.find(x_s if self.takes_pose_of_s else x_z) % P
        return to_float(self.images[self.find(x_s) // P * P + pose])


@pytest.fixture(scope="module")
def splits(few_sprites):
    return split_by_identity(few_sprites, 0)


def test_swaps_are_of_different_identities_and_poses_and_their_truth_is_right(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 2_000, seed=0)
    assert all(len(part) == 2_000 for part in swaps)
    assert (few_sprites.identity[swaps.s_image] != few_sprites.identity[swaps.z_image]).all()
    assert (few_sprites.pose[swaps.s_image] != few_sprites.pose[swaps.z_image]).all()
    assert (few_sprites.character[swaps.target] == few_sprites.character[swaps.s_image]).all()
    assert (few_sprites.pose[swaps.target] == few_sprites.pose[swaps.z_image]).all()
    assert np.isin(swaps.s_image, splits["train"]).all() and np.isin(swaps.z_image, splits["train"]).all()


def test_errors_by_hand():
    truth = np.zeros((1, 60, 60, 3), np.float32)
    truth[0, :6, :, 0] = 0.5  # a tenth of the image is foreground
    prediction = truth.copy()
    prediction[0, :6, :, 1] = 0.3  # wrong on the foreground
    prediction[0, 30:36, :, 2] = 0.1  # wrong on the background
    expected = (0.09 + 0.01) * 360 / (3 * 3600)
    scores = summarize(image_errors(prediction, truth))
    assert scores["mse"] == pytest.approx(expected, rel=1e-5)
    assert scores["foreground_mse"] == pytest.approx(0.09 / 3, rel=1e-5)
    assert scores["psnr"] == pytest.approx(-10 * np.log10(expected), rel=1e-5) and scores["n"] == 1
    assert psnr(0.01) == pytest.approx(20)


def test_psnr_is_of_the_mean_error_not_the_mean_of_psnrs():
    errors = np.array([[0.1, 1, 1], [0.001, 1, 1]])
    assert summarize(errors)["psnr"] == pytest.approx(-10 * np.log10(0.0505))


def test_a_perfect_model_has_no_swap_error_and_one_that_keeps_the_pose_has(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["test"], 200, seed=0)
    own_mean = predictor_errors(few_sprites, splits["train"], swaps)["additive"][:, 0].mean()
    known = np.bincount(few_sprites.distinct)[few_sprites.distinct[swaps.s_image]] == 1  # else the weapon can only be guessed
    assert known.any() and swap_error(Planted(few_sprites), few_sprites, swaps)[known, 0].max() == pytest.approx(0, abs=1e-9)
    assert swap_error(Planted(few_sprites, takes_pose_of_s=True), few_sprites, swaps)[:, 0].mean() > own_mean


def test_reconstruction_is_a_swap_with_itself(few_sprites, splits):
    own = reconstruction_swaps(splits["test"], 50, seed=0)
    assert (own.s_image == own.z_image).all() and (own.z_image == own.target).all() and len(set(own.target)) == 50


def test_predictors_know_what_they_should(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["test"], 150, seed=0)
    found = {name: e[:, 0].mean() for name, e in predictor_errors(few_sprites, splits["train"], swaps).items()}
    assert list(found) == ["black", "mean", "pose_mean", "additive", "retrieval"]
    assert found["black"] > found["mean"] > found["pose_mean"]
    truth = few_sprites.images[swaps.target] / np.float32(255)
    assert found["black"] == pytest.approx((truth**2).mean(), rel=1e-5)
    grid = few_sprites.images.reshape(-1, P, 60, 60, 3)
    train = np.unique(few_sprites.character[splits["train"]])
    s, z = swaps.s_image[0], swaps.z_image[0]
    distance = ((grid[train, s % P] / 255.0 - few_sprites.images[s] / 255.0) ** 2).sum(axis=(1, 2, 3))
    expected = ((grid[train[distance.argmin()], z % P] / 255.0 - truth[0]) ** 2).mean()
    errors = predictor_errors(few_sprites, splits["train"], swaps)
    assert errors["retrieval"][0, 0] == pytest.approx(expected, rel=1e-4)


def test_retrieval_is_perfect_where_the_character_was_trained_on(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 100, seed=0)
    retrieval = predictor_errors(few_sprites, splits["train"], swaps)["retrieval"][:, 0]
    known = np.bincount(few_sprites.distinct)[few_sprites.distinct[swaps.s_image]] == 1  # else the weapon can only be guessed
    assert known.any() and retrieval[known].max() == 0


def test_bayes_ceiling():
    distinct = np.array([0, 0, 1, 1, 2, 3])
    assert bayes_ceiling(distinct, np.array([0, 1, 2, 3, 4, 5])) == pytest.approx(4 / 6)
    assert bayes_ceiling(distinct, np.array([0, 0, 1, 1, 1, 0])) == 1
    assert bayes_ceiling(np.zeros(5, int), np.array([0, 0, 0, 1, 2])) == pytest.approx(3 / 5)


def test_no_probe_is_tested_on_an_image_it_was_trained_on(few_sprites, splits):
    for target in probe_targets(few_sprites):
        name, parts = probe_splits(few_sprites, splits, target, seed=0)
        train, test = (set(few_sprites.distinct[parts[part]]) for part in ("train", "test"))
        assert not train & test
        assert name == ("unseen poses" if target in ("character", "identity") else "unseen identities")


@pytest.fixture(scope="module")
def pose_parts():
    labels = np.arange(6_000) % 20
    order = np.random.default_rng(0).permutation(6_000)
    return labels, dict(zip(("train", "validation", "test"), np.split(order, [4_000, 5_000]), strict=True))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("scale", [1, 1e-3, 1e3])
def test_a_perfect_code_is_read_at_any_scale_and_a_useless_one_at_chance(pose_parts, kind, scale):
    labels, parts = pose_parts
    perfect = (np.eye(20, dtype=np.float32)[labels] + 0.01 * RNG.normal(size=(6_000, 20)).astype(np.float32)) * np.float32(
        scale
    )
    useless = RNG.normal(size=(6_000, 20)).astype(np.float32)
    found = fit_probe(kind, perfect, labels, parts, HP, seed=0).scores
    assert found["accuracy"] > 0.99 and found["trained"] and found["n"] == 1_000
    assert fit_probe(kind, useless, labels, parts, HP, seed=0).scores["accuracy"] == pytest.approx(found["chance"], abs=0.03)


def test_a_leak_is_read_in_its_share(pose_parts):
    """A code that names the class in a share of the images and else says nothing is read in share + (1 - share) / classes."""
    labels, parts = pose_parts
    accuracies = []
    for share in (0.0, 0.3, 0.6):
        code = np.eye(20, dtype=np.float32)[labels] * (RNG.random((6_000, 1)) < share).astype(np.float32)
        accuracies.append(fit_probe("mlp", code, labels, parts, HP, seed=0).scores["accuracy"])
        assert accuracies[-1] == pytest.approx(share + (1 - share) / 20, abs=0.05)
    assert accuracies == sorted(accuracies)


def test_a_constant_code_is_read_at_chance(pose_parts):
    labels, parts = pose_parts
    found = fit_probe("mlp", np.ones((6_000, 4), np.float32), labels, parts, HP, seed=0).scores
    assert found["accuracy"] == pytest.approx(1 / 20, abs=0.03)


def test_no_constant_answer_beats_chance(pose_parts):
    """Also where the most frequent class of the test is not that of training, as among a few unseen identities."""
    _, parts = pose_parts
    labels = np.zeros(6_000, np.int64)
    labels[parts["test"][:700]] = 1
    found = fit_probe("linear", np.ones((6_000, 3), np.float32), labels, parts, HP, seed=0).scores
    assert found["chance"] == pytest.approx(0.7) and found["accuracy"] <= found["chance"]


def test_identity_via_attributes_is_right_or_at_chance_as_the_attributes_are(few_sprites, splits):
    labels, test = few_sprites.labels[few_sprites.character[splits["test"]]], splits["test"]

    def planted(certainty):
        """Log-posteriors that give the true value of each attribute `certainty`, and the rest to all values alike."""
        probes = {}
        for k, name in enumerate(few_sprites.attributes):
            K = int(few_sprites.labels[:, k].max()) + 1
            posterior = np.full((len(test), K), (1 - certainty) / K)
            posterior[np.arange(len(test)), labels[:, k]] += certainty
            probes[name] = Probe({"trained": True}, np.log(posterior))
        return identity_via_attributes(few_sprites, test, probes)

    assert planted(0.9)["accuracy"] == 1
    useless = planted(0.0)
    assert useless["accuracy"] <= useless["chance"] < 1 and useless["n"] == len(test)


def test_swap_error_by_attribute_finds_what_z_brings_along(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 500, seed=0)
    differs = (
        few_sprites.labels[few_sprites.character[swaps.s_image]] != few_sprites.labels[few_sprites.character[swaps.z_image]]
    )
    errors = np.ones((500, 3))
    errors[differs[:, 0], 0] = 4
    found = swap_error_by_attribute(few_sprites, swaps, errors)
    first = few_sprites.attributes[0]
    assert found[first]["differs"]["mse"] == 4 and found[first]["same"]["mse"] == 1
    assert all(found[name]["differs"]["n"] + found[name]["same"]["n"] == 500 for name in found)


def test_the_nearest_pose_of_a_true_image_is_itself(few_sprites):
    images = few_sprites.images[[5, P + 7]] / np.float32(255)
    assert nearest_pose_error(images, few_sprites, np.array([0, 1]))[:, 0].tolist() == [0, 0]
    assert nearest_pose_error(images * 0, few_sprites, np.array([0, 1]))[:, 0].min() > 0


def test_prediction_of_a_function_and_of_noise(pose_parts):
    _, parts = pose_parts
    x = RNG.normal(size=(6_000, 4)).astype(np.float32)
    mixed = (x @ RNG.normal(size=(4, 3)) * 5 + 2).astype(np.float32)
    predicted, scores = fit_prediction(x, mixed, parts, HP, seed=0)
    assert scores["r2"] > 0.95 and predicted.shape == mixed.shape
    noise = RNG.normal(size=(6_000, 3)).astype(np.float32)
    assert fit_prediction(x, noise, parts, HP, seed=0)[1]["r2"] == pytest.approx(0, abs=0.1)


def test_codes_are_computed_once_and_anew_for_another_model(few_sprites, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "REPORTS", tmp_path)
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
