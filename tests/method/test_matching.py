"""Matches of images of known pose: clean, useless and missing ones; and how they are drawn."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.image_set import UNKNOWN
from lib.data.shapes import features
from lib.data.sprites import N_POSES
from lib.evaluation.matches import match_score
from lib.method import matching
from lib.method.matching import assign, distances, find_matches, match
from lib.method.sampling import sample_matched
from tests.image_sets import made_up

C = 12
EVERY = torch.arange(C * N_POSES).view(C, N_POSES)
ALL = torch.ones(C, N_POSES, dtype=torch.bool)


@pytest.fixture
def find(monkeypatch):
    """Matches by planted features, the point of the pose, moved by one of the character and by
    noise; and their score.

    The images are but their indices, and the poses of a character in any order, so that the place
    of an image tells nothing.
    """

    def run(scale=1.0, noise=0.0, valid=ALL, **overrides):
        rng = np.random.default_rng(0)
        pose = np.concatenate([rng.permutation(N_POSES) for _ in range(C)])
        planted = scale * rng.normal(size=(N_POSES, 8))[pose] + noise * rng.normal(
            size=(C * N_POSES, 8)
        )
        planted += 0.1 * rng.normal(size=(C, 8)).repeat(N_POSES, axis=0)
        monkeypatch.setattr(matching, "features", lambda images: [planted[rows] for rows in images])
        hp = make_hparams("smoke", **overrides)
        members = torch.where(valid, EVERY, UNKNOWN)
        matches = find_matches(np.arange(C * N_POSES), members, hp, seed=0)
        return matches, match_score(SimpleNamespace(pose=pose, n_poses=N_POSES), matches)

    return run


def test_clean_features_are_matched_without_a_mistake(find):
    matches, same_pose = find()
    assert same_pose == 1
    assert (matches.sort(dim=1).values == torch.arange(C * N_POSES).view(C, N_POSES)).all()


def test_useless_features_are_matched_by_chance(find):
    assert find(scale=0.0, noise=1.0)[1] < 0.05


def test_noise_costs_some_matches(find):
    assert 0.3 < find(noise=0.5)[1] < 0.95


def test_images_that_may_not_be_used_are_not_matched(find):
    valid = ALL.clone()
    valid[3] = False
    valid[4, 50:] = False
    matches, same_pose = find(valid=valid)
    assert same_pose > 0.95
    assert (matches[3] == -1).all() and (matches[4] >= 0).sum() == 50
    used = torch.zeros(C * N_POSES, dtype=torch.bool)
    used[matches[matches >= 0]] = True
    assert torch.equal(used.view(C, N_POSES), valid)


def test_ragged_characters_are_matched_where_they_have_a_pose(monkeypatch):
    rng = np.random.default_rng(0)
    poses = [np.sort(rng.permutation(20)[:count]) for count in (20, 7, 12, 1, 16, 9)]
    data = made_up(poses)
    points = rng.normal(size=(20, 8))[data.pose]
    monkeypatch.setattr(matching, "features", lambda images: [points[rows] for rows in images])
    train = np.flatnonzero(rng.random(len(data.images)) < 0.9)
    members = torch.from_numpy(data.members(train))
    matches = find_matches(np.arange(len(data.images)), members, make_hparams("smoke"), seed=0)
    assert matches.shape == (6, (members != UNKNOWN).sum(dim=1).max())
    for found, own in zip(matches, members, strict=True):
        assert sorted(found[found != UNKNOWN].tolist()) == sorted(own[own != UNKNOWN].tolist())
    assert match_score(data, matches) > 0.9


def test_characters_are_matched_through_those_between_them():
    """Each character is turned a little farther than the last. So the ends are matched well through
    the others, and badly without them.
    """
    poses, characters = 20, 15
    rng = np.random.default_rng(0)
    points = rng.normal(size=(poses, 4)) + 1j * rng.normal(size=(poses, 4))
    order = [rng.permutation(poses) for _ in range(characters)]
    turned = [
        (points[order[c]] * np.exp(1j * angle)).view(float)
        for c, angle in enumerate(np.linspace(0, 1.5, characters))
    ]

    def same_pose(numbers):
        places = match([turned[c] for c in numbers])
        first, last = (order[numbers[end]][np.argsort(places[end])] for end in (0, -1))
        return np.mean(first == last)

    assert same_pose(list(range(characters))) == 1
    assert same_pose([0, characters - 1]) < 0.5


def test_at_most_so_many_characters_are_matched(find):
    assert (find(match_characters=5)[0] >= 0).any(dim=1).sum() == 5


def test_the_character_with_the_most_images_need_not_be_among_those_that_are_matched(find):
    valid = ALL.clone()
    valid[1:, 100:] = False
    for most in range(C):  # whichever character it is
        found = find(valid=valid.roll(most, dims=0), match_characters=5)[0]
        assert (found >= 0).any(dim=1).sum() == 5 and found.shape[1] in (100, N_POSES)


def test_drawn_sprites_are_matched(few_sprites):
    hp = make_hparams("smoke")
    members = torch.from_numpy(few_sprites.members(np.arange(len(few_sprites.images))))
    matches = find_matches(few_sprites.images, members, hp, seed=0)
    assert match_score(few_sprites, matches) > 0.95


def test_features_weigh_edges_and_outline_as_set_and_forget_a_characters_mean():
    rng = np.random.default_rng(0)
    shapes = rng.random((6, 60, 60, 1)) < rng.random((6, 15, 15, 1)).repeat(4, 1).repeat(4, 2)
    grey = (shapes * np.array([200, 200, 200])).astype(np.uint8)
    one, same = features([grey, grey])
    np.testing.assert_allclose(one, same, atol=1e-5)
    assert np.concatenate([one, same]).var(axis=0).sum() == pytest.approx(3.0, rel=1e-4)
    marked = grey.copy()
    marked[:, :4, :4] = 77  # in each of its images, so it tells nothing of the pose
    before, after = features([grey, grey])[0], features([marked, marked])[0]
    np.testing.assert_allclose(
        (before @ before.T) ** 2, (after @ after.T) ** 2, rtol=0.2, atol=0.05
    )


# of the outlines' components, as these are all alike
@pytest.mark.filterwarnings("ignore:invalid value")
def test_edges_are_where_the_brightness_changes_and_forget_the_hue():
    # all of one outline, so that only edges differ
    dark = np.full((4, 60, 60, 3), 10, dtype=np.uint8)
    for image, (row, column) in enumerate([(9, 9), (9, 10), (30, 30), (31, 31)]):
        dark[image, row : row + 12, column : column + 12] = (200, 100, 60)
    grey, hue = features([dark, dark[..., ::-1].copy()])
    np.testing.assert_allclose(grey, hue, atol=1e-5)
    distance = np.square(grey[:, None] - grey).sum(-1)
    assert max(distance[0, 1], distance[2, 3]) < 0.5 * distance[:2, 2:].min()


def test_assignment_by_hand():
    # both are nearest to the first of three prototypes; the nearer gets it
    assert assign(np.array([[0.04, 0.64, 23.0], [0.16, 0.36, 21.2]])).tolist() == [0, 1]


def test_distance_of_characters_by_hand():
    one = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    other = np.array([[3.0, 4.0]], dtype=np.float32)
    # at their common prototype, the second, they are alike; at the first, 25 apart
    assert distances([one, other], [np.arange(2), np.array([1])])[0, 1] == pytest.approx(0)
    assert distances([one, other], [np.arange(2), np.array([0])])[0, 1] == pytest.approx(25)


def test_groups_are_drawn_two_by_two_at_the_same_prototypes():
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    prototype = np.stack([rng.permutation(N_POSES) for _ in range(4)])  # of each image
    matches = torch.from_numpy(np.argsort(prototype, axis=1) + N_POSES * np.arange(4)[:, None])
    seen = set()
    for _ in range(400):
        character, index, matched = sample_matched(EVERY[:4], matches, 3, 4, generator)
        characters, places = index // N_POSES, torch.from_numpy(prototype.reshape(-1))[index]
        assert (characters == character[:, None]).all() and len(set(character.tolist())) == 4
        assert matched.all() and torch.equal(places[0::2], places[1::2])
        assert all(len(set(row.tolist())) == 3 for row in places)
        seen |= set(places.flatten().tolist())
    assert len(seen) == N_POSES


def test_characters_without_common_prototypes_stay_as_they_were_drawn():
    matches = torch.arange(3 * N_POSES).view(3, N_POSES).clone()
    matches[2] = -1
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(30):
        character, index, matched = sample_matched(EVERY[:3], matches, 4, 3, generator)
        assert (index // N_POSES == character[:, None]).all()
        both = set((index[:2, 0] // N_POSES).tolist()) == {0, 1}
        assert matched.tolist() == [both, both, False]
        assert all(len(set(row.tolist())) == 4 for row in index)
        drawn.append(both)
    assert 0 < sum(drawn) < 30
