"""Swaps, simple predictors and the judge where characters lack poses, or poses are not known."""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.image_set import UNKNOWN
from lib.data.images import to_float
from lib.data.splits import split_images
from lib.evaluation import judge
from lib.evaluation.baselines import NEIGHBOURS, choose_neighbours, predictors
from lib.evaluation.probes import fit_all
from lib.evaluation.swaps import (
    SEVERAL,
    Swaps,
    errors_in_chunks,
    sample_swaps,
    several_s_images,
    true_images,
)
from lib.system import paths
from lib.system.errors import UserError
from tests.image_sets import made_up

POSES = 7
CPU = torch.device("cpu")


def ragged(characters=14, unknown=0.0, seed=0, side=8, least=1):
    """Characters with images of noise in some of POSES poses, of which a share is unknown."""
    rng = np.random.default_rng(seed)
    poses = [
        np.sort(rng.permutation(POSES)[: rng.integers(least, POSES + 1)]) for _ in range(characters)
    ]
    poses = [np.where(rng.random(len(own)) < unknown, UNKNOWN, own) for own in poses]
    count = sum(map(len, poses))
    return made_up(poses, images=rng.integers(256, size=(count, side, side, 3), dtype=np.uint8))


# Swaps


@pytest.mark.parametrize("unknown", [0.0, 0.4])
@pytest.mark.parametrize("looks_at_all", [True, False])
def test_swaps_of_ragged_characters_have_a_true_image(unknown, looks_at_all, monkeypatch):
    if not looks_at_all:
        monkeypatch.setattr("lib.evaluation.swaps.FEW_PAIRS", 0)
    data = ragged(unknown=unknown)
    split = np.flatnonzero(np.random.default_rng(1).random(len(data.images)) < 0.7)
    swaps = sample_swaps(data, split, 30_000, seed=0)
    assert np.isin(swaps.s_image, split).all() and np.isin(swaps.z_image, split).all()
    assert (data.identity[swaps.s_image] != data.identity[swaps.z_image]).all()
    assert (swaps.target != UNKNOWN).all()
    assert (data.character[swaps.target] == data.character[swaps.s_image]).all()
    assert (data.pose[swaps.target] == data.pose[swaps.z_image]).all()
    assert (data.pose[swaps.s_image] != data.pose[swaps.z_image]).all()
    for image in (swaps.s_image, swaps.z_image):
        assert (data.pose[image] != UNKNOWN).all()
    # every swap with a true image is drawn
    known = [n for n in split if data.pose[n] != UNKNOWN]
    cells = {(int(c), int(p)) for c, p in zip(data.character, data.pose, strict=True)}
    possible = {
        (int(a), int(b))
        for a in known
        for b in known
        if data.character[a] != data.character[b]
        and data.pose[a] != data.pose[b]
        and (int(data.character[a]), int(data.pose[b])) in cells
    }
    drawn = list(zip(*map(np.ndarray.tolist, swaps[:2]), strict=True))
    assert set(drawn) == possible
    assert len(swaps.target) == (len(possible) if looks_at_all else 30_000)


def test_few_images_give_each_swap_once_in_an_order_that_the_seed_draws():
    data = ragged()
    split = np.arange(len(data.images))
    all_swaps, again, other = (sample_swaps(data, split, 30_000, seed) for seed in (0, 0, 1))
    first = sample_swaps(data, split, len(split) ** 2 // 10 + 1, seed=0)
    assert 0 < len(first.target) < len(all_swaps.target)
    for found, expected in zip(first, all_swaps, strict=True):
        np.testing.assert_array_equal(found, expected[: len(found)])
    assert (all_swaps.s_image == again.s_image).all()
    assert (all_swaps.s_image != other.s_image).any()


def test_swaps_without_poses_have_no_true_image():
    data = ragged(unknown=1.0)
    swaps = sample_swaps(data, np.arange(len(data.images)), 500, seed=0)
    assert len(swaps.s_image) == len(swaps.z_image) == 500
    assert (swaps.target == UNKNOWN).all()
    assert (data.identity[swaps.s_image] != data.identity[swaps.z_image]).all()
    assert set(swaps.s_image) == set(swaps.z_image) == set(range(len(data.images)))


def test_poses_that_no_two_characters_share_are_none():
    data = made_up([[0, 1], [2, 3], [4]])
    assert not data.has_truth
    assert (sample_swaps(data, np.arange(5), 50, seed=0).target == UNKNOWN).all()


def test_a_part_without_a_swap_is_refused():
    data = made_up([[0, 1], [0, 1], [2], [3], [UNKNOWN], [UNKNOWN]])
    # one identity; no common pose; one pose; no known pose
    for split in ([0, 1], [0, 4, 5], [0, 2], [6, 7]):
        with pytest.raises(UserError, match=r"no two images .*: give more identities"):
            sample_swaps(data, np.array(split), 10, seed=0)


def test_few_swaps_are_found_though_most_pairs_of_images_are_none():
    # of 14,400 pairs, 4 have a true image
    data = made_up([[0, 1], [0, 1], *[[UNKNOWN]] * 116])
    for seed in range(20):
        swaps = sample_swaps(data, np.arange(len(data.images)), 3, seed)
        assert np.isin(swaps.target, [0, 1, 2, 3]).all()


# Several images that give s


def test_several_images_of_ragged_characters_are_others_of_the_same():
    data = ragged(characters=30, unknown=0.2)
    swaps = sample_swaps(data, np.arange(len(data.images)), 1_000, seed=0)
    several = several_s_images(data, swaps, seed=0)
    assert several.shape == (1_000, SEVERAL) and (several[:, 0] == swaps.s_image).all()
    assert (data.character[several] == data.character[swaps.s_image][:, None]).all()
    assert (several != UNKNOWN).all() and not (several == swaps.target[:, None]).any()
    others = np.diff(data.first_image)[data.character[swaps.s_image]] - 2  # without s and target
    assert 0 in others and others.max() > SEVERAL
    for row, count in zip(several, others, strict=True):
        assert len(set(row)) == 1 + min(SEVERAL - 1, count)
        chosen = [image for image in row if image != row[0]]
        assert len(chosen) == len(set(chosen))  # it is the first that comes again
    assert not np.array_equal(several, several_s_images(data, swaps, seed=1))


def test_several_images_without_true_images_are_any_others():
    data = ragged(unknown=1.0)
    swaps = sample_swaps(data, np.arange(len(data.images)), 500, seed=0)
    several = several_s_images(data, swaps, seed=0)
    assert (several != UNKNOWN).all()
    assert (data.character[several] == data.character[swaps.s_image][:, None]).all()
    count = np.diff(data.first_image)[data.character[swaps.s_image]]
    distinct = [len(set(row)) for row in several]
    assert (np.array(distinct) == np.minimum(count, SEVERAL)).all()


# Simple predictors


def brute_force(data, train, swaps, neighbours):
    """What `predictors` should show, one swap at a time; images as floats (H, H, 3)."""
    images = data.images / np.float32(255)
    characters = sorted(set(data.character[train].tolist()))
    cells = {
        (int(c), int(p)): n
        for n, (c, p) in enumerate(zip(data.character, data.pose, strict=True))
        if p != UNKNOWN
    }
    in_pose = [[cells[c, p] for c in characters if (c, p) in cells] for p in range(data.n_poses)]
    assert all(in_pose)
    pose_mean = np.stack([images[index].mean(axis=0) for index in in_pose])
    shown = {name: [] for name in ("pose_mean", "additive", "retrieval", "retrieval_mean")}
    for s, target in zip(swaps.s_image, swaps.target, strict=True):
        p, wanted, a = int(data.pose[s]), int(data.pose[target]), data.character[s]
        shown["pose_mean"].append(pose_mean[wanted])
        mean_of_a = images[data.character == a].mean(axis=0)
        shown["additive"].append(
            np.clip(pose_mean[wanted] + mean_of_a - pose_mean.mean(axis=0), 0, 1)
        )
        able = [c for c in characters if (c, p) in cells and (c, wanted) in cells]
        able.sort(key=lambda c: np.square(images[cells[c, p]] - images[s]).sum())
        nearest = [cells[c, wanted] for c in able[:neighbours]]
        if not nearest:
            nearest = [int(np.flatnonzero(data.character == characters[0])[0])]
        nearest += nearest[:1] * (neighbours - len(nearest))
        shown["retrieval"].append(images[nearest[0]])
        shown["retrieval_mean"].append(images[nearest].mean(axis=0))
    return {name: np.stack(rows) for name, rows in shown.items()}


@pytest.mark.parametrize("neighbours", [1, 3, 9])
@pytest.mark.parametrize("seed", range(3))
def test_predictors_of_ragged_characters_show_what_a_search_finds(seed, neighbours):
    data = ragged(characters=30, unknown=0.15, seed=seed)
    parts = split_images(data, "identity", seed)
    swaps = sample_swaps(data, parts["test"], 200, seed)
    found = predictors(data, parts["train"], swaps, neighbours)
    for name, expected in brute_force(data, parts["train"], swaps, neighbours).items():
        shown = found[name](slice(0, 200)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(shown, expected, atol=1e-5, err_msg=name)
    part = slice(50, 70)
    for predict in found.values():
        torch.testing.assert_close(predict(part), predict(slice(0, 200))[part])


def test_where_no_known_character_has_both_poses_another_image_is_shown():
    # characters 0 and 1 are known, and have no pose in common with each other
    data = made_up([[0, 1], [2, 3], [0, 1, 2], [0, 2, 3]])
    train = np.arange(4)
    swaps = Swaps(np.array([4, 5, 4, 7]), np.array([8, 8, 5, 9]), np.array([6, 6, 5, 9]))
    assert (data.character[swaps.target] == data.character[swaps.s_image]).all()
    found = predictors(data, train, swaps, 2)
    for name in ("retrieval", "retrieval_mean"):
        shown = found[name](slice(0, 4))
        expected = to_float(data.images[[0, 0, 1, 0]])
        torch.testing.assert_close(shown, expected)


def test_a_pose_that_no_known_character_has_is_predicted_too():
    # nobody of the first two characters has pose 2, of which s comes from in the first swap
    data = made_up([[0, 1], [0, 1], [0, 1, 2], [0, 1, 2]])
    swaps = Swaps(np.array([6, 4]), np.array([7, 9]), np.array([4, 6]))
    found = predictors(data, np.arange(4), swaps, 2)
    for predict in found.values():
        assert torch.isfinite(predict(slice(0, 2))).all()
    # what they know ends with the training images
    known = found["pose_mean"](slice(1, 2))[0]
    torch.testing.assert_close(known, to_float(data.images[:4]).mean(dim=0))


def test_the_number_of_neighbours_is_chosen_on_ragged_characters():
    data = ragged(characters=30, seed=1)
    parts = split_images(data, "identity", 0)
    watched = sample_swaps(data, parts["validation"], 60, seed=0)
    errors = {
        k: errors_in_chunks(
            data, watched, predictors(data, parts["train"], watched, k)["retrieval_mean"]
        )[:, 0].mean()
        for k in NEIGHBOURS
    }
    assert choose_neighbours(data, parts["train"], watched) == min(errors, key=errors.get)


# The judge


@pytest.mark.parametrize("size", [8, 16, 28, 32, 60, 64, 100, 256])
def test_the_judge_takes_images_of_any_size(size):
    found = judge.Judge({"pose": 5, "skin": 2}, size)(torch.zeros(2, 3, size, size))
    assert {name: logits.shape for name, logits in found.items()} == {
        "pose": (2, 5),
        "skin": (2, 2),
    }


@pytest.mark.parametrize("unknown", [0.0, 0.3, 1.0])
def test_the_judge_of_ragged_characters_is_right_on_what_it_was_trained_on(
    tmp_path, monkeypatch, unknown
):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    data = ragged(unknown=unknown, side=16)
    parts = judge.judge_parts(data, split_images(data, "identity", 0), 0)
    hp = make_hparams("smoke", probe_images=1_500)
    trained = judge.load_judge(data, parts.train, hp, 0, CPU)
    names = {"identity", "identity_nll"}
    with_pose = {"pose", "pose_within_tolerance", "both", "pose_nll"}
    for index, least in ((parts.train, 0.9), (parts.truth, 0.0)):
        found = judge.judge_images(trained, true_images(data, index), index, data)
        assert found.keys() == (names | with_pose if unknown < 1 else names)
        assert all(np.isfinite(values).all() for values in found.values())
        for name in found.keys() & {"identity", "pose"}:
            scored = data.pose[index] != UNKNOWN if name == "pose" else slice(None)
            assert found[name][scored].mean() >= least
        if unknown < 1 and least:
            assert (found["pose_within_tolerance"] >= found["pose"]).all()
    scored = judge.judge_baselines(data, parts.truth)
    assert scored.keys() == ({"identity", "pose"} if unknown < 1 else {"identity"})
    ceilings = judge.judge_ceilings(data, parts.truth)
    assert all(scored[name] <= ceilings[name] <= 1 for name in scored)


# Probes


@pytest.mark.parametrize(
    ("unknown", "split", "expected"),
    [
        (0.3, "identity", {"unseen poses", "unseen cells", "unseen identities"}),
        (1.0, "identity", {"unseen images"}),
        (1.0, "image", {"unseen images"}),
    ],
)
def test_probes_of_ragged_characters_are_tested_where_their_targets_are_known(
    unknown, split, expected
):
    data = ragged(characters=20, unknown=unknown, least=6)
    splits = split_images(data, split, 0)
    z = np.eye(POSES + 1, dtype=np.float32)[data.pose]  # an unknown pose is the last
    s = np.eye(20, dtype=np.float32)[data.character]
    hp = make_hparams("smoke", probe_epochs=15, probe_images=1_000)
    found = fit_all({"s": s, "z_mu": z}, data, splits, hp, seed=0)
    assert {entry["split"] for entry in found} == expected
    targets = {"identity"} | ({"pose"} if unknown < 1 else set())
    assert {entry["target"] for entry in found} == targets
    chosen = {
        (entry["code"], entry["target"], entry["split"]): entry["accuracy"]
        for entry in found
        if entry["chosen"]
    }
    for part in expected - {"unseen cells", "unseen identities"}:
        assert chosen["s", "identity", part] > 0.9
    if unknown < 1:  # images of unknown pose are not among those that it is asked for
        assert chosen["z_mu", "pose", "unseen identities"] == 1
