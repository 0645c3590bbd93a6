"""Targets, their ceilings, and the splits that test classifiers of them."""

import dataclasses

import numpy as np
import pytest

from lib.data.image_set import bayes_ceiling
from lib.data.splits import split_images
from lib.data.sprites import N_POSES
from lib.evaluation.targets import (
    IDENTITY_TARGETS,
    control_targets,
    hides_attribute,
    probe_targets,
    unseen_cells,
    unseen_poses,
)
from tests.image_sets import made_up


def test_targets_are_those_of_the_sprites(few_sprites):
    targets = probe_targets(few_sprites)
    assert {name: int(targets[name].max()) + 1 for name in ("action", "view", "frame", "pose")} == {
        "action": 6,
        "view": 4,
        "frame": 13,
        "pose": 178,
    }
    assert all(
        len(target) == len(few_sprites.images) and target.dtype == np.int64
        for target in targets.values()
    )


def test_controls_are_the_attributes_permuted_among_the_characters(few_sprites):
    controls, targets = control_targets(few_sprites, seed=0), probe_targets(few_sprites)
    assert set(controls) == set(few_sprites.attributes)
    for name, control in controls.items():
        np.testing.assert_array_equal(np.bincount(control), np.bincount(targets[name]))
        assert all(
            len(set(control[few_sprites.character == c])) == 1
            for c in range(few_sprites.n_characters)
        )
    assert any((control != targets[name]).any() for name, control in controls.items())


def test_bayes_ceiling():
    distinct = np.array([0, 0, 1, 1, 2, 3])
    assert bayes_ceiling(distinct, np.array([0, 1, 2, 3, 4, 5])) == pytest.approx(4 / 6)
    assert bayes_ceiling(distinct, np.array([0, 0, 1, 1, 1, 0])) == 1
    assert bayes_ceiling(np.zeros(5, int), np.array([0, 0, 0, 1, 2])) == pytest.approx(3 / 5)


def test_an_image_hides_an_attribute_if_another_character_has_the_same(few_sprites):
    hides = hides_attribute(few_sprites).reshape(-1, N_POSES)
    images = few_sprites.images.reshape(*hides.shape, -1)
    for character, pose in [(0, 0), (1, 40), (2, 100), (3, 177)]:
        equal = (images[:, pose] == images[character, pose]).all(axis=1)
        assert hides[character, pose] == (equal.sum() > 1)
    assert 0 < hides.mean() < 1
    # two equal images of one character hide nothing
    again = dataclasses.replace(few_sprites, distinct=np.arange(len(few_sprites.images)) // 2)
    assert not hides_attribute(again).any()


def test_the_ceiling_of_one_known_property():
    known = np.array([True, True, True, False, False])
    assert bayes_ceiling(known, np.array([0, 0, 1, 2, 2])) == pytest.approx(4 / 5)
    assert bayes_ceiling(np.zeros(5, bool), np.array([0, 0, 1, 2, 2])) == pytest.approx(2 / 5)


def test_no_probe_is_tested_on_an_image_it_was_trained_on(few_sprites):
    for parts in (
        unseen_poses(few_sprites, seed=0),
        unseen_cells(few_sprites, seed=0),
        split_images(few_sprites, "identity", 0),
        split_images(few_sprites, "outfit", 0),
    ):
        train, validation, test = (set(few_sprites.distinct[part]) for part in parts.values())
        assert test and not train & test and not train & validation and not validation & test
    assert set(IDENTITY_TARGETS) < set(probe_targets(few_sprites))


def test_without_twins_a_character_is_an_identity_and_is_not_named_twice():
    alone, twins = made_up([[0, 1]] * 3), made_up([[0, 1]] * 3, [[1, 2], [1, 3], [4, 5]])
    assert list(probe_targets(alone)) == ["identity", "pose"]
    assert list(probe_targets(twins)) == ["character", "identity", "pose"]
    assert twins.n_identities == 2


def test_a_probe_of_cells_has_seen_each_identity_and_each_pose_but_never_both(few_sprites):
    train, _, test = unseen_cells(few_sprites, seed=0).values()
    identity, pose = few_sprites.identity, few_sprites.pose
    assert set(identity[test]) <= set(identity[train]) and set(pose[test]) <= set(pose[train])
    cells = [set(zip(identity[part], pose[part], strict=True)) for part in (train, test)]
    assert cells[1] and not cells[0] & cells[1]
