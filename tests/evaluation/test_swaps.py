"""Errors of swaps whose truth is known, by hand and by models that look it up."""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.drawn import ATTRIBUTES, character_labels
from lib.data.images import to_float
from lib.data.sources import exchanged_images
from lib.data.splits import split_images
from lib.data.sprites import N_POSES, POSES, sprite_set
from lib.evaluation.baselines import NEIGHBOURS, choose_neighbours, predictor_errors, predictors
from lib.evaluation.codes import Codes, encode_dataset
from lib.evaluation.intervals import bootstrap_interval
from lib.evaluation.swaps import (
    CODE_STEPS,
    SEVERAL,
    best_error,
    errors_in_chunks,
    image_errors,
    nearest_pose_error,
    paired_gain,
    part_scores,
    psnr,
    reconstruction_swaps,
    sample_swaps,
    several_s_images,
    summarize,
    swap_error,
    swap_error_by_attribute,
    swap_error_by_distance,
    swap_error_by_pose,
    swap_predictor,
    swap_scores,
    training_distance,
    true_images,
)
from lib.method.networks import CycleVAE
from tests.image_sets import numbered, paired

RNG = np.random.default_rng(0)


class Planted(torch.nn.Module):
    """Swaps by looking up the truth: finds both images and returns the character of one in the pose
    of the other.
    """

    def __init__(self, dataset, keeps_pose=False):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.images = dataset.images
        self.where = {image.tobytes(): n for n, image in reversed(list(enumerate(dataset.images)))}
        self.keeps_pose = keeps_pose

    def find(self, x):
        arrays = (x.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        return np.array([self.where[np.ascontiguousarray(a).tobytes()] for a in arrays])

    def transfer(self, x_z, x_s):
        pose = self.find(x_s if self.keeps_pose else x_z) % N_POSES
        return to_float(self.images[self.find(x_s) // N_POSES * N_POSES + pose])


@pytest.fixture(scope="module")
def splits(few_sprites):
    return split_images(few_sprites, "identity", 0)


def test_swaps_are_of_different_identities_and_poses_and_their_truth_is_right(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 2_000, seed=0)
    assert all(len(part) == 2_000 for part in swaps) and len(swaps.first(7).target) == 7
    assert (few_sprites.identity[swaps.s_image] != few_sprites.identity[swaps.z_image]).all()
    assert (few_sprites.pose[swaps.s_image] != few_sprites.pose[swaps.z_image]).all()
    assert (few_sprites.character[swaps.target] == few_sprites.character[swaps.s_image]).all()
    assert (few_sprites.pose[swaps.target] == few_sprites.pose[swaps.z_image]).all()
    assert (
        np.isin(swaps.s_image, splits["train"]).all()
        and np.isin(swaps.z_image, splits["train"]).all()
    )


def test_several_images_that_give_s_show_one_character_and_never_the_target(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["test"], 500, seed=0)
    several = several_s_images(few_sprites, swaps, seed=0)
    assert several.shape == (500, SEVERAL) and (several[:, 0] == swaps.s_image).all()
    assert all(len(set(row)) == SEVERAL for row in several)
    assert (several // N_POSES == swaps.target[:, None] // N_POSES).all()
    assert not (several == swaps.target[:, None]).any()


def test_several_images_give_their_mean_s(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["test"], 6, seed=0)
    n = len(few_sprites.images)
    s = np.arange(n, dtype=np.float32)[:, None]
    codes = Codes(z_mu=np.zeros((n, 1), np.float32), z=np.zeros((n, 1), np.float32), s=s)

    class ShowsS(torch.nn.Linear):
        def decode(self, z, s):
            return s[:, :, None, None] / n

    several = several_s_images(few_sprites, swaps, seed=0)
    found = swap_predictor(ShowsS(1, 1), codes, swaps, several)(slice(None)).flatten()
    np.testing.assert_allclose(found, several.mean(axis=1) / n, rtol=1e-5)


def test_errors_by_hand():
    truth = torch.zeros(1, 3, 60, 60)
    truth[0, 0, :6] = 0.5  # a tenth of the image is foreground
    prediction = truth.clone()
    prediction[0, 1, :6] = 0.3  # wrong on the foreground
    prediction[0, 2, 30:36] = 0.1  # wrong on the background
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
    additive = predictor_errors(few_sprites, splits["train"], swaps)["additive"][:, 0].mean()
    # else the weapon can only be guessed
    known = np.bincount(few_sprites.distinct)[few_sprites.distinct[swaps.s_image]] == 1
    assert known.any() and swap_error(Planted(few_sprites), few_sprites, swaps)[
        known, 0
    ].max() == pytest.approx(0, abs=1e-9)
    assert (
        swap_error(Planted(few_sprites, keeps_pose=True), few_sprites, swaps)[:, 0].mean()
        > additive
    )


def test_reconstruction_is_a_swap_with_itself(few_sprites, splits):
    same = reconstruction_swaps(splits["test"], 50, seed=0)
    assert (
        (same.s_image == same.z_image).all()
        and (same.z_image == same.target).all()
        and len(set(same.target)) == 50
    )


def test_predictors_know_what_they_should(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["test"], 150, seed=0)
    found = {
        name: e[:, 0].mean()
        for name, e in predictor_errors(few_sprites, splits["train"], swaps).items()
    }
    assert [*found] == ["black", "mean", "pose_mean", "additive", "retrieval", "retrieval_mean"]
    assert found["black"] > found["mean"] > found["pose_mean"]
    truth = to_float(few_sprites.images[swaps.target])
    assert found["black"] == pytest.approx(truth.square().mean().item(), rel=1e-5)
    grid = few_sprites.images.reshape(-1, N_POSES, 60, 60, 3)
    train = np.unique(few_sprites.character[splits["train"]])
    s, z = swaps.s_image[0], swaps.z_image[0]
    candidates = to_float(grid[train, s % N_POSES])
    distance = (candidates - to_float(few_sprites.images[s])).square().sum(dim=(1, 2, 3))
    nearest = to_float(grid[train[int(distance.argmin())], z % N_POSES])[0]
    expected = (nearest - truth[0]).square().mean().item()
    errors = predictor_errors(few_sprites, splits["train"], swaps)
    assert errors["retrieval"][0, 0] == pytest.approx(expected, rel=1e-4)


def test_the_mean_of_neighbours_is_of_the_nearest_characters(few_sprites, splits):
    train = splits["train"]
    watched = sample_swaps(few_sprites, splits["validation"], 100, seed=0)
    swaps = sample_swaps(few_sprites, splits["test"], 40, seed=0)
    by_count = {
        k: errors_in_chunks(
            few_sprites, watched, predictors(few_sprites, train, watched, k)["retrieval_mean"]
        )[:, 0].mean()
        for k in NEIGHBOURS
    }
    assert choose_neighbours(few_sprites, train, watched) == min(by_count, key=by_count.get)
    simple = predictors(few_sprites, train, swaps, 1)
    nearest, mean = (simple[name](slice(0, 40)) for name in ("retrieval", "retrieval_mean"))
    assert torch.allclose(nearest, mean, atol=1e-6)
    every = len(np.unique(few_sprites.character[train]))
    complete = predictors(few_sprites, train, swaps, every)
    shown = complete["retrieval_mean"](slice(0, 40))
    assert torch.allclose(shown, complete["pose_mean"](slice(0, 40)), atol=1e-5)


def test_the_interval_of_reconstructions_counts_each_outfit_once(few_sprites, splits):
    same = reconstruction_swaps(splits["train"], 300, seed=0)
    errors = RNG.random(300)
    outfit = few_sprites.cluster[same.target]
    assert bootstrap_interval(errors, *same.clusters(few_sprites)) == bootstrap_interval(
        errors, outfit
    )


def test_retrieval_is_perfect_where_the_character_was_trained_on(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 100, seed=0)
    retrieval = predictor_errors(few_sprites, splits["train"], swaps)["retrieval"][:, 0]
    # else the weapon can only be guessed
    known = np.bincount(few_sprites.distinct)[few_sprites.distinct[swaps.s_image]] == 1
    assert known.any() and retrieval[known].max() == 0


def test_swap_error_by_attribute_finds_what_z_brings_along(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 500, seed=0)
    differs = (
        few_sprites.labels[few_sprites.character[swaps.s_image]]
        != few_sprites.labels[few_sprites.character[swaps.z_image]]
    )
    errors = np.ones((500, 3))
    errors[differs[:, 0], 0] = 4
    found = swap_error_by_attribute(few_sprites, swaps, errors)
    first = few_sprites.attributes[0]
    assert found[first]["differs"]["mse"] == 4 and found[first]["same"]["mse"] == 1
    assert found[first]["ratio"] == 4 and found[first]["ci95"] == pytest.approx([4, 4])
    assert all(found[name]["differs"]["n"] + found[name]["same"]["n"] == 500 for name in found)


def test_the_nearest_pose_of_a_true_image_is_itself(few_sprites):
    images = to_float(few_sprites.images[[5, N_POSES + 7]])
    assert nearest_pose_error(images, few_sprites, np.array([0, 1]))[:, 0].tolist() == [0, 0]
    assert nearest_pose_error(images * 0, few_sprites, np.array([0, 1]))[:, 0].min() > 0


def test_swap_error_by_pose_is_of_the_image_that_is_named(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 500, seed=0)
    errors = np.ones((500, 3))
    errors[POSES["view"][few_sprites.pose[swaps.target]] == 2, 0] = 3
    found = swap_error_by_pose(few_sprites, swaps.target, errors)
    elsewhere = swap_error_by_pose(few_sprites, swaps.s_image, errors)
    assert all(1 < scores["mse"] < 3 for scores in elsewhere["view"].values())
    assert {name: scores["mse"] for name, scores in found["view"].items()} == {
        "up": 1,
        "left": 1,
        "down": 3,
        "right": 1,
    }
    assert sum(scores["n"] for scores in found["action"].values()) == 500


def test_poses_can_be_read_in_another_split(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["test"], 200, seed=0, z_split=splits["train"])
    assert (
        np.isin(swaps.s_image, splits["test"]).all()
        and np.isin(swaps.z_image, splits["train"]).all()
    )
    assert (few_sprites.character[swaps.target] == few_sprites.character[swaps.s_image]).all()
    assert (few_sprites.pose[swaps.target] == few_sprites.pose[swaps.z_image]).all()


def test_swaps_are_scored_with_an_interval_over_identities_and_a_similarity(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 500, seed=0)
    truth = to_float(few_sprites.images[swaps.target])
    with np.errstate(divide="ignore"):  # its PSNR is infinite
        perfect, errors = swap_scores(few_sprites, swaps, lambda part: truth[part])
    assert (
        perfect["mse"] == 0 == errors[:, 0].max()
        and perfect["ci95"] == [0, 0]
        and perfect["ssim"] == pytest.approx(1, abs=1e-5)
    )
    noise = torch.from_numpy(RNG.normal(size=truth.shape).astype(np.float32))
    noisy = (truth + 0.1 * noise).clamp(0, 1)
    found, errors = swap_scores(few_sprites, swaps, lambda part: noisy[part])
    low, high = found["ci95"]
    assert low < found["mse"] == errors[:, 0].mean() < high and found["ssim"] < 0.9
    identity = few_sprites.identity[swaps.s_image]
    is_hard = torch.from_numpy(identity < np.median(identity))[:, None, None, None]
    uneven, _ = swap_scores(
        few_sprites, swaps, lambda part: torch.where(is_hard[part], noisy[part], truth[part])
    )
    assert np.diff(uneven["ci95"]) > 5 * (high - low)


def test_retrieval_has_the_similarity_of_what_it_shows(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["test"], 200, seed=0)
    simple = predictors(few_sprites, splits["train"], swaps)
    similar = {
        name: swap_scores(few_sprites, swaps, predict)[0]["ssim"]
        for name, predict in simple.items()
    }
    assert similar["retrieval"] > similar["pose_mean"] > similar["black"]


def random_model(dataset):
    """A model and its codes of all images."""
    model = CycleVAE(make_hparams("smoke")).eval()
    images = torch.from_numpy(dataset.images)
    model.components.fit(images, torch.arange(len(images)), seed=0)
    z_mu, _, s = (code.numpy() for code in encode_dataset(model, dataset))
    return model, Codes(z_mu, z_mu, s)


def test_swaps_decoded_from_the_codes_of_all_images_are_those_of_encoded_images(
    few_sprites, splits
):
    model, codes = random_model(few_sprites)
    swaps = sample_swaps(few_sprites, splits["test"], 600, seed=0)  # more than are decoded at once
    errors = errors_in_chunks(few_sprites, swaps, swap_predictor(model, codes, swaps))
    np.testing.assert_allclose(errors, swap_error(model, few_sprites, swaps), rtol=1e-4)


def test_codes_optimised_for_an_image_decode_better_than_a_swap(few_sprites, splits):
    model, codes = random_model(few_sprites)
    swaps = sample_swaps(few_sprites, splits["test"], 16, seed=0)
    before = swap_error(model, few_sprites, swaps)[:, 0]
    errors, optimisation = best_error(model, few_sprites, codes, swaps)
    assert (errors[:, 0] < before).all() and all(p.grad is None for p in model.parameters())
    assert optimisation["converged"] == (optimisation["steps"] < CODE_STEPS)


def test_an_optimisation_that_is_cut_says_so(few_sprites, splits, monkeypatch):
    monkeypatch.setattr("lib.evaluation.swaps.CODE_STEPS", 5)
    swaps = sample_swaps(few_sprites, splits["test"], 8, seed=0)
    model, codes = random_model(few_sprites)
    _, optimisation = best_error(model, few_sprites, codes, swaps)
    assert optimisation == {"steps": 5, "converged": False}


def with_part(dataset, swaps, attribute, is_wrong):
    """The true images, but where `is_wrong` with the part of B."""
    k = dataset.attributes.index(attribute)
    labels = dataset.labels[dataset.character[swaps.s_image]].copy()
    labels[is_wrong, k] = dataset.labels[dataset.character[swaps.z_image[is_wrong]], k]
    shown, exists = exchanged_images(dataset, labels, dataset.pose[swaps.target])
    assert exists.all()
    return lambda part: to_float(shown[part])


@pytest.mark.parametrize("attribute", ["weapon", "legs"])
def test_wrong_parts_are_found_where_one_in_twenty_is_wrong(few_sprites, splits, attribute):
    swaps = sample_swaps(few_sprites, splits["train"], 3_000, seed=0)
    perfect = part_scores(few_sprites, swaps, true_images(few_sprites, swaps.target))
    assert set(perfect) == set(few_sprites.attributes)
    for e in perfect.values():
        assert e["score"] == 1 and 0.5 < e["ci95"][0] < 1 and e["n"] > 300
    wrong = np.random.default_rng(0).random(3_000) < 0.05
    planted = part_scores(few_sprites, swaps, with_part(few_sprites, swaps, attribute, wrong))
    assert planted[attribute]["score"] == pytest.approx(0.95, abs=0.02)
    assert planted[attribute]["ci95"][1] < 0.99
    every = np.ones(3_000, dtype=bool)
    with_z = part_scores(few_sprites, swaps, with_part(few_sprites, swaps, attribute, every))
    assert with_z[attribute]["score"] == 0 and with_z[attribute]["ci95"][0] == 0


def test_gains_are_of_the_same_swaps(few_sprites, splits):
    swaps = sample_swaps(few_sprites, splits["train"], 300, seed=0)
    errors = np.exp(RNG.normal(size=(300, 3)))
    found = paired_gain(few_sprites, swaps, errors, 2 * errors)
    assert found["db"] == pytest.approx(10 * np.log10(2))
    assert found["ci95"] == pytest.approx([found["db"]] * 2)


def test_a_new_skin_is_told_from_a_new_outfit():
    labels = character_labels()
    n, numbers = len(labels) * N_POSES, np.arange(len(labels))
    images = numbered(paired(len(labels)), size=1)
    dataset = sprite_set("drawn", images, labels, tuple(ATTRIBUTES), numbers, "")
    found = {}
    for split in ("identity", "outfit"):
        parts = split_images(dataset, split, 0)
        swaps = sample_swaps(dataset, parts["test"], 500, seed=0)
        by_distance = swap_error_by_distance(dataset, parts["train"], swaps, np.ones((500, 3)))
        assert sum(e["n"] for e in by_distance.values()) == 500
        identities = len(np.unique(dataset.identity[swaps.s_image]))
        assert sum(e["identities"] for e in by_distance.values()) == identities
        found[split] = by_distance
    assert found["identity"].keys() == {"skin alone"}
    assert found["outfit"].keys() == {"2 attributes"}
    known = training_distance(dataset, np.arange(n))
    assert set(known) == {"0 attributes"}
