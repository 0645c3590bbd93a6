"""The data model on small sets with every fact known: characters with different numbers of images,
partly known poses, no poses at all, and images that characters share.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from lib.data.image_set import UNKNOWN, Factor, from_arrays, to_arrays, twins
from lib.data.splits import split_images
from lib.method.sampling import sample_groups, sample_matched
from lib.system.errors import UserError
from lib.system.files import READ_ERRORS, read_arrays, write_arrays
from tests.image_sets import made_up

RAGGED = [[0, 1, 2], [1], [0, UNKNOWN]]  # poses; images 0 to 2, 3, and 4 and 5
POSELESS = [[UNKNOWN] * n for n in (4, 1, 6, 2, 9, 3, 5, 7)]


# Which images there are


def test_the_images_of_each_character():
    data = made_up(RAGGED)
    assert data.first_image.tolist() == [0, 3, 4, 6]
    assert [data.images_of(c) for c in range(3)] == [slice(0, 3), slice(3, 4), slice(4, 6)]
    assert (data.n_characters, data.n_poses, data.size) == (3, 3, 8)
    assert data.character.tolist() == [0, 0, 0, 1, 2, 2]


def test_members_keep_their_places_and_the_rest_is_unknown():
    members = made_up(RAGGED).members
    assert members(np.array([5, 0, 2, 3])).tolist() == [[0, -1, 2], [3, -1, -1], [-1, 5, -1]]
    assert members(np.arange(6)).tolist() == [[0, 1, 2], [3, -1, -1], [4, 5, -1]]
    assert (members(np.array([], int)) == np.full((3, 3), UNKNOWN)).all()
    assert members(np.arange(6)).dtype == np.int64


def test_the_image_of_a_character_in_a_pose():
    data = made_up(RAGGED)
    characters, poses = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 2, 1, 0, 0, 1])
    assert data.image_at(characters, poses).tolist() == [0, 2, 3, -1, 4, -1]
    grid = data.image_at(np.arange(3), np.arange(3)[:, None])
    assert grid.tolist() == [[0, -1, 4], [1, 3, -1], [2, -1, -1]]
    # character 2 has an image of unknown pose, but that is no pose to ask for
    assert data.image_at(np.arange(3), np.full(3, UNKNOWN)).tolist() == [-1, -1, -1]
    poseless = made_up(POSELESS)
    assert poseless.n_poses == 0
    assert (poseless.image_at(poseless.character, poseless.pose) == UNKNOWN).all()


def test_a_random_image_is_any_of_its_character():
    data, rng = made_up(RAGGED), np.random.default_rng(0)
    drawn = [{data.random_image(c, rng) for _ in range(100)} for c in range(3)]
    assert drawn == [{0, 1, 2}, {3}, {4, 5}]


@pytest.mark.parametrize(
    ("poses", "known"),
    [
        (RAGGED, True),
        ([[UNKNOWN, 0], [0, UNKNOWN]], True),
        ([[0, 1], [2, 3]], False),  # each character in its own poses
        ([[0, UNKNOWN], [UNKNOWN]], False),
        (POSELESS, False),
    ],
)
def test_swaps_have_a_truth_where_characters_share_a_pose(poses, known):
    assert made_up(poses).has_truth is known


# Twins


def identities(*numbers):
    """Those of characters with images of these numbers."""
    data = made_up([[UNKNOWN] * len(own) for own in numbers], numbers)
    return data.character_identity.tolist()


def test_identities_are_numbered_by_their_first_character():
    a, b, c = [1, 2, 3], [4, 5, 6], [7]
    assert identities(b, a, [*b, 8], c, [9, *a], c) == [0, 1, 0, 2, 1, 2]
    data = made_up([[UNKNOWN] * 3] * 3, [b, a, [4, 5, 9]])
    assert data.n_identities == 2 and data.identity.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert data.cluster.tolist() == data.identity.tolist()  # where no clusters are given


@pytest.mark.parametrize("shared", range(9))
def test_twins_share_more_than_a_quarter_of_the_images_of_one_of_them(shared):
    own, many = list(range(8)), list(range(100, 200))
    assert identities(own, [*own[:shared], *many][:8]) == ([0, 0] if shared > 2 else [0, 1])
    # of the one with fewer images
    assert identities([*own[:shared], *many], own) == ([0, 0] if shared > 2 else [0, 1])


def test_a_twin_of_a_twin_is_one():
    assert identities([1, 2], [5, 6], [2, 3], [3, 4]) == [0, 1, 0, 0]


def test_an_image_that_a_character_has_twice_counts_once():
    # one of five and of four different images is shared: a quarter of the fewer
    assert identities([7, 7, 7, 7, 1, 2, 3], [7, 7, 11, 12, 13, 14]) == [0, 1]
    assert identities([7, 7, 7, 7, 1, 2], [7, 11, 12, 13, 14]) == [0, 0]
    assert identities([7, 7], [7]) == [0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_twins_are_those_that_a_comparison_of_all_pairs_finds(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 12, size=15)
    character = np.arange(15).repeat(count)
    distinct = rng.integers(80, size=count.sum())
    expected = list(range(15))
    for a, b in itertools.permutations(range(15), 2):
        one, other = (set(distinct[character == c]) for c in (a, b))
        if len(one & other) > 0.25 * min(len(one), len(other)):
            expected = [expected[a] if e == expected[b] else e for e in expected]
    order = list(dict.fromkeys(expected))
    assert twins(character, distinct).tolist() == [order.index(e) for e in expected]
    assert 1 < len(order) < 15


# Attributes


def test_attributes_of_identities_and_of_clusters():
    labels = np.array([[0, 5, 1, 2], [0, 6, 1, 2], [1, 5, 1, 3], [1, 5, 2, 3]])
    numbers = [[1, 2], [2, 1], [3, 4], [5, 6]]  # the first two are twins
    fields = {"labels": labels, "attributes": ("skin", "weapon", "hat", "eyes")}
    data = made_up([[UNKNOWN] * 2] * 4, numbers, **fields)
    assert data.identity_attributes.tolist() == [True, False, True, True]
    assert data.hidden_attributes == ["weapon"]
    assert data.cluster_attributes.tolist() == [True, False, True, True]
    outfits = np.array([0, 0, 0, 1])
    data = made_up([[UNKNOWN] * 2] * 4, numbers, **fields, cluster_of_character=outfits)
    assert data.cluster_attributes.tolist() == [False, False, True, False]
    assert data.cluster.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


def test_sets_without_labels_have_no_attributes():
    data = made_up(POSELESS)
    assert data.identity_attributes.tolist() == data.cluster_attributes.tolist() == []
    assert data.hidden_attributes == []


# Storing


@pytest.mark.parametrize("clusters", [None, np.array([1, 0, 1])])
def test_a_set_is_stored_and_read_unchanged(tmp_path, clusters):
    data = made_up(
        RAGGED,
        labels=np.array([[3, 255], [0, 1], [3, 0]]),
        attributes=("skin", "größe"),
        factors={"view": Factor(np.array([1, 0, 1]), ("left", "right"))},
        cluster_of_character=clusters,
        background="white",
    )
    write_arrays(tmp_path / "set.npz", to_arrays(data))
    read = from_arrays(read_arrays(tmp_path / "set.npz"))
    for name in ("images", "character", "pose", "labels", "distinct"):
        was, now = getattr(data, name), getattr(read, name)
        assert np.array_equal(was, now) and was.dtype == now.dtype
    facts = ("source", "names", "fingerprint", "attribution", "pose_names", "attributes")
    for name in (*facts, "background"):
        was, now = getattr(data, name), getattr(read, name)
        assert was == now and type(was) is type(now)
    assert read.factors.keys() == {"view"} and read.factors["view"].values == ("left", "right")
    assert read.factors["view"].of_pose.tolist() == [1, 0, 1]
    assert (clusters is None) == (read.cluster_of_character is None)
    assert np.array_equal(read.cluster, data.cluster)
    assert read.image_at(np.array([2]), np.array([0])).tolist() == [4]


def test_a_set_without_poses_and_labels_is_stored_and_read_unchanged(tmp_path):
    data = made_up(POSELESS)
    write_arrays(tmp_path / "set.npz", to_arrays(data))
    read = from_arrays(read_arrays(tmp_path / "set.npz"))
    assert read.n_poses == 0 and not read.has_truth and read.factors == {}
    assert np.array_equal(read.images, data.images) and np.array_equal(read.pose, data.pose)
    assert read.identity_attributes.tolist() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("images"),
        lambda arrays: arrays.pop("facts"),
        lambda arrays: arrays.update(facts=np.array("no JSON")),
        lambda arrays: arrays.update(facts=np.array("{}")),
        lambda arrays: arrays.update(images=arrays["images"][:-1]),
        lambda arrays: arrays.update(images=arrays["images"][..., :1]),
        lambda arrays: arrays.update(pose=arrays["pose"][:-1]),
    ],
)
def test_arrays_that_are_no_set_are_refused(damage):
    arrays = to_arrays(made_up(RAGGED))
    damage(arrays)
    with pytest.raises(READ_ERRORS):
        from_arrays(arrays)


# Splits


def ragged(characters, poses=8, unknown=0.0, seed=0, **fields):
    """A set of characters with some of the poses each, and a share of them unknown."""
    rng = np.random.default_rng(seed)
    own = [np.sort(rng.permutation(poses)[: rng.integers(2, poses + 1)]) for _ in range(characters)]
    own = [np.where(rng.random(len(some)) < unknown, UNKNOWN, some) for some in own]
    return made_up(own, **fields)


def assert_apart(data, parts, unit):
    """No unit, and no image to the bit, is in two parts; indices are sorted; test is complete."""
    assert list(parts) == ["train", "validation", "test"]
    for of_image in (unit, data.distinct):
        sets = [set(of_image[index]) for index in parts.values()]
        assert all(sets) and not any(a & b for a, b in itertools.combinations(sets, 2))
    assert all((np.diff(index) > 0).all() for index in parts.values())
    assert len(parts["test"]) == np.isin(unit, unit[parts["test"]]).sum()


@pytest.mark.parametrize("unknown", [0.0, 0.5, 1.0])
def test_a_split_by_identity_of_ragged_characters(unknown):
    data = ragged(40, unknown=unknown)
    parts = split_images(data, "identity", seed=0)
    assert_apart(data, parts, data.identity)
    assert [len(set(data.identity[index])) for index in parts.values()] == [30, 4, 6]
    assert sum(map(len, parts.values())) == len(data.images)  # none shares an image
    other = split_images(data, "identity", seed=1)
    assert not np.array_equal(parts["test"], other["test"])


def test_twins_stay_together_and_shared_images_in_test():
    # twins 2k and 2k + 1 share half of their images; image 1 is everyone's
    numbers = [
        [1, *range(10 * c, 10 * c + 3), *range(900 + 10 * (c // 2), 904 + 10 * (c // 2))]
        for c in range(10, 50)
    ]
    data = made_up([[UNKNOWN] * 8] * 40, numbers)
    assert data.n_identities == 20
    parts = split_images(data, "identity", seed=0)
    assert_apart(data, parts, data.identity)
    assert [(data.distinct[index] == 0).sum() for index in parts.values()] == [0, 0, 6]


def test_a_split_by_outfit_holds_out_clusters():
    outfits = np.arange(40) % 20
    data = ragged(40, cluster_of_character=outfits)
    parts = split_images(data, "outfit", seed=0)
    assert_apart(data, parts, data.cluster)
    assert [len(set(data.cluster[index])) for index in parts.values()] == [15, 2, 3]


def test_a_split_by_image_shows_every_character_in_train():
    numbers = [list(range(100 * c, 100 * c + 50)) for c in range(4)]
    numbers[1][10:20] = [100] * 10  # one image eleven times
    data = made_up([[UNKNOWN] * 50] * 4, numbers)
    parts = split_images(data, "image", seed=0)
    assert_apart(data, parts, data.distinct)
    assert [len(set(data.distinct[index])) for index in parts.values()] == [143, 19, 28]
    assert sum(map(len, parts.values())) == 200
    assert set(data.character[parts["train"]]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("poses", "split", "says"),
    [
        (RAGGED, "identity", "3 identities cannot be split into train, validation and test: .* 6"),
        (POSELESS[:5], "identity", "5 identities cannot be split"),
        ([[UNKNOWN] * 5], "image", "5 images cannot be split"),
        ([[UNKNOWN] * 100, [UNKNOWN]], "identity", "2 identities cannot be split"),
        (RAGGED, "outfit", "no outfits, .*: split them by identity, or give labels.csv"),
        (
            RAGGED,
            "image",
            "have known poses, so a split by image .* by identity, or say --poses unknown",
        ),
        (RAGGED, "pose", "no split 'pose': choose one of identity, outfit, image"),
    ],
)
def test_splits_that_are_refused(poses, split, says):
    with pytest.raises(UserError, match=says):
        split_images(made_up(poses), split, seed=0)


@pytest.mark.parametrize("split", ["outfit", "image"])
def test_a_refused_split_of_other_images_than_a_users_says_nothing_of_folders(split):
    data = dataclasses.replace(made_up(RAGGED), source="sprites")
    with pytest.raises(UserError, match=r"split them by identity$"):
        split_images(data, split, seed=0)


def test_few_outfits_cannot_be_split():
    data = ragged(20, cluster_of_character=np.arange(20) % 5)
    with pytest.raises(UserError, match="5 outfits cannot be split"):
        split_images(data, "outfit", seed=0)


def test_six_units_can_be_split():
    data = made_up(POSELESS[:6])
    assert all(len(index) for index in split_images(data, "identity", seed=0).values())
    data = made_up([[UNKNOWN] * 6])
    assert all(len(index) for index in split_images(data, "image", seed=0).values())


# Batches


@pytest.mark.parametrize("size", [2, 3, 5])
def test_groups_of_ragged_characters_have_no_image_twice_and_none_that_is_not_there(size):
    data = ragged(30)
    train = np.flatnonzero(np.random.default_rng(1).random(len(data.images)) < 0.8)
    members = torch.from_numpy(data.members(train))
    able = {c for c in range(30) if (data.character[train] == c).sum() >= size}
    seen_images, seen_characters = set(), set()
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        characters, index = sample_groups(members, size, 8, generator)
        assert index.shape == (8, size) and len(set(characters.tolist())) == 8
        assert np.isin(index, train).all()
        assert all(len(set(row)) == size for row in index.tolist())
        assert (data.character[index] == characters.numpy()[:, None]).all()
        seen_images |= set(index.flatten().tolist())
        seen_characters |= set(characters.tolist())
    assert seen_characters == able
    assert seen_images == {int(n) for n in train if data.character[n] in able}


def test_the_images_of_a_ragged_character_are_drawn_equally_often():
    members = torch.tensor([[0, -1, 2, 3, -1], [-1, -1, 7, -1, -1], [-1, 11, 12, -1, -1]])
    counts = torch.zeros(15)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3000):
        characters, index = sample_groups(members, 2, 2, generator)
        assert sorted(characters.tolist()) == [0, 2]
        counts[index.flatten()] += 1
    assert counts.nonzero().flatten().tolist() == [0, 2, 3, 11, 12]
    assert counts[[11, 12]].tolist() == [3000, 3000]
    assert (counts[[0, 2, 3]] / 2000 - 1).abs().max() < 0.05


def test_matched_groups_of_ragged_characters():
    data = ragged(12, poses=20)
    members = torch.from_numpy(data.members(np.arange(len(data.images))))
    # each character at the prototypes of its poses; the last three are not matched
    matches = torch.from_numpy(data.image_at(np.arange(12)[:, None], np.arange(20)))
    matches[9:] = UNKNOWN
    kinds = set()
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        characters, index, matched = sample_matched(members, matches, 2, 5, generator)
        assert (index != UNKNOWN).all() and matched.shape == (5,) and not matched[-1]
        assert all(len(set(row)) == 2 for row in index.tolist())
        assert (data.character[index] == characters.numpy()[:, None]).all()
        for pair in range(2):
            one, other = 2 * pair, 2 * pair + 1
            assert matched[one] == matched[other]
            common = (matches[characters[[one, other]]] != UNKNOWN).all(dim=0).sum()
            assert matched[one] == (common >= 2)
            if matched[one]:
                assert (data.pose[index[one]] == data.pose[index[other]]).all()
            kinds.add(bool(matched[one]))
    assert kinds == {True, False}
