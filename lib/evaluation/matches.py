"""How good the matches of a training are: by their looks, and by pose labels if there are any."""

import numpy as np
from torch import Tensor

from lib.data.image_set import UNKNOWN, ImageSet
from lib.data.shapes import features

CHARACTERS = 48  # that are compared, at most
PAIRS = 300  # of characters


def match_score(dataset: ImageSet, matches: Tensor) -> float | None:
    """The share of matched pairs (C, K) that show the same pose, by labels unused in training.

    None where no pair has known poses.
    """
    pose = np.where(matches == UNKNOWN, UNKNOWN, dataset.pose[matches])
    is_match = pose != UNKNOWN
    prototype = np.broadcast_to(np.arange(matches.shape[1]), matches.shape)[is_match]
    counts = np.zeros((matches.shape[1], dataset.n_poses))
    np.add.at(counts, (prototype, pose[is_match]), 1)
    members = counts.sum(axis=1)
    pairs = (members * (members - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else None


def match_contrast(dataset: ImageSet, matches: Tensor, seed: int) -> float:
    """By how much matched images are more alike than others of two characters; it needs no labels.

    It is 1 less the mean squared distance of the features of matched images, as a share of that of
    all images of two characters. Images of noise have 0.1, since matches are the most alike of
    many pairs.
    """
    rng, index = np.random.default_rng(seed), matches.numpy()
    matched = rng.permutation(np.flatnonzero((index != UNKNOWN).any(axis=1)))[:CHARACTERS]
    places = [np.flatnonzero(index[c] != UNKNOWN) for c in matched]
    sets = features(dataset.images[index[c, p]] for c, p in zip(matched, places, strict=True))
    near, far = [], []
    for _ in range(PAIRS):
        a, b = rng.choice(len(sets), size=2, replace=False)
        _, in_a, in_b = np.intersect1d(places[a], places[b], return_indices=True)
        if len(in_a):
            near.append(np.square(sets[a][in_a] - sets[b][in_b]).sum(axis=1).mean())
            # the mean over all pairs of images, from means and variances
            between = np.square(sets[a].mean(axis=0) - sets[b].mean(axis=0)).sum()
            far.append(between + sets[a].var(axis=0).sum() + sets[b].var(axis=0).sum())
    return float(1 - np.mean(near) / np.mean(far))
