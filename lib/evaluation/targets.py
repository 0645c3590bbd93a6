"""What classifiers name: the character, its identity and attributes, and the pose."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lib.data.sprites import N_POSES, POSES, Sprites

FRACTIONS = (0.6, 0.8)  # where train and validation end; the rest is the test

# a probe can name these only for characters that it was trained on
IDENTITY_TARGETS = ("character", "identity")
POSE_TARGETS = (*POSES.dtype.names, "pose")


def attribute_targets(sprites: Sprites) -> dict[str, np.ndarray]:
    """(N,) int64 for each attribute of the characters."""
    labels = sprites.labels[sprites.character].astype(np.int64)
    return {name: labels[:, k] for k, name in enumerate(sprites.attributes)}


def probe_targets(sprites: Sprites) -> dict[str, np.ndarray]:
    """(N,) int64 for character, identity, every attribute, action, view, frame and pose."""
    pose = {name: POSES[name][sprites.pose].astype(np.int64) for name in POSES.dtype.names}
    names = {"character": sprites.character, "identity": sprites.identity}
    return {**names, **attribute_targets(sprites), **pose, "pose": sprites.pose}


def control_targets(sprites: Sprites, seed: int) -> dict[str, np.ndarray]:
    """(N,) int64 for each attribute, permuted among the characters: a control task.

    A probe that names these as well as the true ones memorised the characters.

    Source: Hewitt and Liang (EMNLP 2019).
    """
    order = np.random.default_rng(seed).permutation(sprites.n_characters)
    labels = sprites.labels[order][sprites.character].astype(np.int64)
    return {name: labels[:, k] for k, name in enumerate(sprites.attributes)}


def hides_attribute(sprites: Sprites) -> np.ndarray:
    """(N,) bool: whether another character shows the same image, to the bit, in the same pose."""
    shown = sprites.distinct.astype(np.int64) * N_POSES + sprites.pose
    _, place, characters = np.unique(shown, return_inverse=True, return_counts=True)
    return characters[place] > 1


def unseen_poses(sprites: Sprites, seed: int) -> dict[str, np.ndarray]:
    """Image indices of train, validation and test: 60, 20 and 20 % of the poses."""
    return _split_units(sprites.pose, sprites.distinct, seed)


def unseen_cells(sprites: Sprites, seed: int) -> dict[str, np.ndarray]:
    """As `unseen_poses`, of all pairs of an identity and a pose.

    A probe then sees each identity and each pose, but never the two together. It finds an identity
    that a code holds in another way in each pose.
    """
    return _split_units(sprites.identity * N_POSES + sprites.pose, sprites.distinct, seed)


def _split_units(unit: np.ndarray, distinct: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Units (N,) that share an image, to the bit, stay together."""
    count = int(unit.max()) + 1
    edges = (unit, count + distinct)
    graph = coo_matrix((np.ones(len(unit)), edges), shape=(count + int(distinct.max()) + 1,) * 2)
    group = connected_components(graph, directed=False)[1][unit]

    order = np.random.default_rng(seed).permutation(np.unique(group))
    cuts = np.split(order, [int(fraction * len(order)) for fraction in FRACTIONS])
    parts = zip(("train", "validation", "test"), cuts, strict=True)
    return {name: np.flatnonzero(np.isin(group, cut)) for name, cut in parts}
