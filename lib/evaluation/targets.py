"""What classifiers name: the character, its identity and attributes, and the pose."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lib.data.image_set import UNKNOWN, ImageSet

FRACTIONS = (0.6, 0.8)  # where train and validation end; the rest is the test

# a probe can name these only for characters that it was trained on
IDENTITY_TARGETS = ("character", "identity")


def attribute_targets(dataset: ImageSet) -> dict[str, np.ndarray]:
    """(N,) int64 for each attribute of the characters."""
    labels = dataset.labels[dataset.character].astype(np.int64)
    return {name: labels[:, k] for k, name in enumerate(dataset.attributes)}


def pose_targets(dataset: ImageSet) -> dict[str, np.ndarray]:
    """(N,) int64 for each factor of the poses, and the pose; none where no pose is known."""
    if not dataset.has_truth:
        return {}
    factors = {name: factor.of_pose[dataset.pose] for name, factor in dataset.factors.items()}
    return {**factors, "pose": dataset.pose}


def probe_targets(dataset: ImageSet) -> dict[str, np.ndarray]:
    """(N,) int64 for character, identity, every attribute, and all `pose_targets`.

    Without twins, each character is an identity, and there is no target "character".
    """
    names = {"character": dataset.character, "identity": dataset.identity}
    if dataset.n_characters == dataset.n_identities:
        del names["character"]
    return {**names, **attribute_targets(dataset), **pose_targets(dataset)}


def control_targets(dataset: ImageSet, seed: int) -> dict[str, np.ndarray]:
    """(N,) int64 for each attribute, permuted among the characters: a control task.

    A probe that names these as well as the true ones memorised the characters.

    Source: Hewitt and Liang (EMNLP 2019).
    """
    order = np.random.default_rng(seed).permutation(dataset.n_characters)
    labels = dataset.labels[order][dataset.character].astype(np.int64)
    return {name: labels[:, k] for k, name in enumerate(dataset.attributes)}


def identity_labels(dataset: ImageSet) -> dict[str, np.ndarray]:
    """(I,) int64 for each attribute that twins share: its value for each identity."""
    _, first = np.unique(dataset.character_identity, return_index=True)
    return {
        name: dataset.labels[first, k].astype(np.int64)
        for k, name in enumerate(dataset.attributes)
        if dataset.identity_attributes[k]
    }


def tells_identities_apart(dataset: ImageSet) -> bool:
    """Whether no two identities have the same attributes."""
    labels = list(identity_labels(dataset).values())
    return bool(labels) and len(np.unique(labels, axis=1).T) == dataset.n_identities


def hides_attribute(dataset: ImageSet) -> np.ndarray:
    """(N,) bool: whether another character shows the same image, to the bit, in the same pose."""
    shown = dataset.distinct.astype(np.int64) * (dataset.n_poses + 1) + dataset.pose
    _, place, characters = np.unique(shown, return_inverse=True, return_counts=True)
    return characters[place] > 1


def unseen_poses(dataset: ImageSet, seed: int) -> dict[str, np.ndarray]:
    """Image indices of train, validation and test: 60, 20 and 20 % of the poses.

    An image whose pose is not known counts as a pose of its own.
    """
    return _split_units(_pose_or_image(dataset), dataset.distinct, seed)


def unseen_cells(dataset: ImageSet, seed: int) -> dict[str, np.ndarray]:
    """As `unseen_poses`, of all pairs of an identity and a pose.

    A probe then sees each identity and each pose, but never the two together. It finds an identity
    that a code holds in another way in each pose.
    """
    pose = _pose_or_image(dataset)
    return _split_units(dataset.identity * (pose.max() + 1) + pose, dataset.distinct, seed)


def _pose_or_image(dataset: ImageSet) -> np.ndarray:
    """(N,) from 0: equal for images of the same pose."""
    number = dataset.n_poses + np.arange(len(dataset.images))
    return np.where(dataset.pose == UNKNOWN, number, dataset.pose)


def _split_units(unit: np.ndarray, distinct: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Units (N,) that share an image, to the bit, stay together."""
    unit = np.unique(unit, return_inverse=True)[1]
    count = int(unit.max()) + 1
    edges = (unit, count + distinct)
    graph = coo_matrix((np.ones(len(unit)), edges), shape=(count + int(distinct.max()) + 1,) * 2)
    group = connected_components(graph, directed=False)[1][unit]

    order = np.random.default_rng(seed).permutation(np.unique(group))
    cuts = np.split(order, [int(fraction * len(order)) for fraction in FRACTIONS])
    parts = zip(("train", "validation", "test"), cuts, strict=True)
    return {name: np.flatnonzero(np.isin(group, cut)) for name, cut in parts}
