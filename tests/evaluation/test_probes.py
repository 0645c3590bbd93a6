"""Probes and what is computed from them, on codes that were planted: perfect, useless, swapped,
leaking, constant, twice the same.
"""

import numpy as np
import pytest

from lib.config import make_hparams
from lib.data.splits import split_images
from lib.evaluation.disentanglement import block_scores, entropy_fraction
from lib.evaluation.probes import KINDS, Probe, by_attributes, fit_probes, score
from tests.evaluation.planted import (
    IDENTITY,
    PERFECT_S,
    PERFECT_Z,
    POSE,
    POSES,
    RNG,
    SPLITS,
    TARGETS,
    USELESS,
    leaking,
    noisy,
    one_hot,
)

HP = make_hparams("fast", probe_images=4_000, probe_epochs=8)
GAIN = np.ones(len(SPLITS["train"]))  # of a probe that trained
READ = {
    "linear": 0.97,
    "mlp": 0.97,
    "knn": 0.7,
}  # at least; the neighbours of an unseen combination share some of it only


def scores(code, kind="mlp"):
    probes = fit_probes(kind, code, TARGETS, SPLITS, HP, seed=0)
    return {
        name: score(probe, TARGETS[name], SPLITS["test"], IDENTITY)
        for name, probe in probes.items()
    }


def verdict(s, z, kind="mlp"):
    """Block scores of two codes, from the same functions and in the same order as notebook 5 takes
    them.
    """
    nats = np.array([[found["nats"] for found in scores(code, kind).values()] for code in (s, z)])
    entropy = np.log([3, 4, 5, POSES])
    return block_scores(entropy_fraction(nats, entropy), np.array([True, True, True, False]))


@pytest.mark.parametrize("kind", KINDS)
def test_perfect_codes_are_read_and_useless_and_constant_ones_are_not(kind):
    for found in (scores(PERFECT_S, kind)[name] for name in "abc"):
        low, high = found["ci95"]
        assert found["accuracy"] > READ[kind] and low <= found["accuracy"] <= high
        assert found["evidence"] and found["proven"]
    assert scores(PERFECT_Z, kind)["pose"]["accuracy"] > 0.97
    for code in (USELESS, np.ones((len(POSE), 3), np.float32)):
        for found in scores(code, kind).values():
            assert found["accuracy"] <= found["baseline"] + 0.12 and found["nats"] < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_tell_perfect_from_swapped_doubled_and_useless(kind):
    ideal = verdict(PERFECT_S, PERFECT_Z, kind)
    least = 0.8 if kind != "knn" else 0.4
    assert (
        min(ideal[name] for name in ("disentanglement", "completeness", "gap", "informativeness"))
        > least
    )
    swapped = verdict(PERFECT_Z, PERFECT_S, kind)
    assert swapped["gap"] < -least and swapped["disentanglement"] > least
    both = np.concatenate([PERFECT_S, PERFECT_Z], axis=1)
    doubled = verdict(both, both, kind)
    assert abs(doubled["gap"]) < 0.05 and doubled["completeness"] < 0.05
    useless = verdict(USELESS, USELESS, kind)
    assert useless["informativeness"] < 0.1 and abs(useless["gap"]) < 0.05


def test_leaks_are_ordered_by_their_share_whichever_code_leaks():
    shares = (0.0, 0.25, 0.5, 1.0)
    into_z = [
        verdict(PERFECT_S, leaking(PERFECT_Z, PERFECT_S, share), "linear") for share in shares
    ]
    into_s = [
        verdict(leaking(PERFECT_S, PERFECT_Z, share), PERFECT_Z, "linear") for share in shares
    ]
    for found, code in ((into_z, "z"), (into_s, "s")):
        gaps = [scores["gap"] for scores in found]
        purity = [scores["disentanglement_by_code"][code] for scores in found]
        assert gaps == sorted(gaps, reverse=True) and gaps[0] - gaps[-1] > 0.2
        assert purity == sorted(purity, reverse=True) and purity[0] - purity[-1] > 0.5


def test_a_leak_is_read_in_its_share_within_its_interval():
    """A code that names the attribute in a share of the images and else says nothing is read in
    share + (1 - share) / classes.
    """
    for share in (0.2, 0.5, 0.8):
        code = leaking(USELESS[:, :2], one_hot(TARGETS["a"]), share)
        found = scores(code)["a"]
        low, high = found["ci95"]
        assert low - 0.03 <= share + (1 - share) / 3 <= high + 0.03


def test_detail_that_a_small_network_is_slow_to_find_is_found():
    """The class is in a number's last digit, as identity can hide in z below the pose's scale."""
    x = RNG.random((len(POSE), 1))
    digit = (np.floor(x[:, 0] * 24) % 3).astype(np.int64)
    parts = dict(zip(SPLITS, np.split(RNG.permutation(len(POSE)), [1_600, 2_000]), strict=True))
    found = fit_probes("mlp", x.astype(np.float32), {"digit": digit}, parts, HP, seed=0)["digit"]
    assert score(found, digit, parts["test"], np.arange(len(POSE)))["accuracy"] > 0.8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_scale_of_a_code_does_not_matter(kind, scale):
    assert scores(PERFECT_S * np.float32(scale), kind)["c"]["accuracy"] > READ[kind]


def test_probes_fitted_together_are_as_if_fitted_apart():
    together = fit_probes("mlp", PERFECT_S, TARGETS, SPLITS, HP, seed=0)["b"]
    apart = fit_probes("mlp", PERFECT_S, {"b": TARGETS["b"]}, SPLITS, HP, seed=0)["b"]
    assert (together.log_posterior.argmax(1) == apart.log_posterior.argmax(1)).mean() > 0.99


def test_no_constant_answer_beats_chance():
    """Also where the most frequent class of the test is not that of training, as among a few unseen
    identities.
    """
    target = np.zeros(len(POSE), np.int64)
    target[SPLITS["test"][:336]] = 1
    probe = fit_probes("linear", USELESS * 0 + 1, {"t": target}, SPLITS, HP, seed=0)["t"]
    found = score(probe, target, SPLITS["test"], IDENTITY)
    assert (
        found["baseline"] == pytest.approx(0.7)
        and found["accuracy"] <= found["baseline"]
        and found["nats"] == 0
    )


def scored(answers, train_gain):
    """The score of a probe that gives these answers to target a of the test."""
    posterior = np.log(np.where(np.eye(3)[answers] > 0, 0.8, 0.1))
    probe = Probe(posterior, 1.0, SPLITS["train"], train_gain)
    return score(probe, TARGETS["a"], SPLITS["test"], IDENTITY)


def test_a_probe_no_better_than_frequencies_on_its_training_images_did_not_train():
    answers, noise = (
        RNG.integers(3, size=len(SPLITS["test"])),
        RNG.normal(size=len(SPLITS["train"])),
    )
    assert scored(answers, 0.5 + noise)["trained"]
    for gain in (noise - noise.mean(), noise - 0.5):
        found = scored(answers, gain)
        assert not found["trained"] and not found["evidence"] and not found["proven"]
        right = scored(TARGETS["a"][SPLITS["test"]], gain)  # as neighbours that are too sure
        assert not right["trained"] and right["evidence"] and right["proven"]


def test_a_constant_answer_is_no_evidence_and_no_interval_has_no_width():
    gain = np.ones(len(SPLITS["train"]))
    constant = scored(np.zeros(len(SPLITS["test"]), int), gain)
    assert constant["trained"] and constant["constant"] and not constant["evidence"]
    perfect = scored(TARGETS["a"][SPLITS["test"]], gain)
    low, high = perfect["ci95"]
    assert perfect["accuracy"] == 1 and low < high and perfect["proven"]


def test_useless_codes_prove_no_leak_more_often_than_they_say():
    proven = []
    for seed in range(12):
        code = np.random.default_rng(seed).normal(size=(len(POSE), 4)).astype(np.float32)
        for kind in ("linear", "knn"):
            found = fit_probes(kind, code, TARGETS, SPLITS, HP, seed)
            proven += [
                score(probe, TARGETS[name], SPLITS["test"], IDENTITY)["proven"]
                for name, probe in found.items()
            ]
    assert np.mean(proven) <= 0.03


def test_a_leak_that_differs_from_pose_to_pose_is_found_in_unseen_cells():
    """The planted code adds to the attribute what depends on the pose. A probe that knows the pose
    can subtract it.
    """
    shift = np.random.default_rng(0).normal(size=(POSES, 3))
    code = noisy(np.concatenate([one_hot(TARGETS["a"]) + 2 * shift[POSE], one_hot(POSE)], axis=1))
    read, hp = {}, make_hparams("fast", probe_images=4_000, probe_epochs=60)
    for name, unit in {"poses": POSE, "cells": np.arange(len(POSE))}.items():
        order = np.random.default_rng(0).permutation(unit.max() + 1)
        cuts = np.split(order, [int(0.6 * len(order)), int(0.8 * len(order))])
        parts = zip(("train", "validation", "test"), cuts, strict=True)
        splits = {part: np.flatnonzero(np.isin(unit, cut)) for part, cut in parts}
        probe = fit_probes("linear", code, {"a": TARGETS["a"]}, splits, hp, seed=0)["a"]
        cluster = POSE if name == "poses" else IDENTITY
        read[name] = score(probe, TARGETS["a"], splits["test"], cluster)
    assert read["cells"]["accuracy"] > 0.8 and read["cells"]["proven"]
    assert read["poses"]["accuracy"] < read["cells"]["accuracy"] - 0.2


def test_nats_are_those_of_the_posterior():
    """A posterior that is right with certainty tells the whole entropy, one that says nothing tells
    0, a wrong one no less.
    """
    y = TARGETS["a"][SPLITS["test"]]
    share = np.bincount(y) / len(y)
    entropy = -(share * np.log(share)).sum()
    for posterior, expected in (
        (np.eye(3)[y], entropy),
        (np.tile(share, (len(y), 1)), 0),
        (np.eye(3)[(y + 1) % 3], 0),
    ):
        probe = Probe(np.log(np.maximum(posterior, 1e-9)), 0.0, SPLITS["train"], GAIN)
        assert score(probe, TARGETS["a"], SPLITS["test"], IDENTITY)["nats"] == pytest.approx(
            expected, abs=1e-6
        )


@pytest.mark.parametrize("certainty", [0.9, 0.0])
def test_an_identity_by_its_attributes_is_right_or_at_chance_as_they_are(few_sprites, certainty):
    test = split_images(few_sprites, "identity", 0)["test"]
    labels, probes = few_sprites.labels[few_sprites.character[test]], {}
    for k, name in enumerate(few_sprites.attributes):
        K = int(few_sprites.labels[:, k].max()) + 1
        posterior = np.full((len(test), K), (1 - certainty) / K)
        posterior[np.arange(len(test)), labels[:, k]] += certainty
        probes[name] = Probe(np.log(posterior), 0.0, test, np.ones(len(test)))
    found = score(
        by_attributes(few_sprites, probes), few_sprites.identity, test, few_sprites.identity
    )
    assert found["accuracy"] == 1 if certainty else found["accuracy"] <= found["baseline"] < 1
    assert found["n"] == len(test)
