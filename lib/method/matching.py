"""Our extension: match images of different characters that show the same pose, without labels.

The published losses never see the true image of a swap between characters, so z may leak the
character. But images a and b of two characters that are alike in edges and outline show the same
pose. Then z of b and s of a must decode to a. Matches are found once, as self-labelling finds
classes (Asano et al., ICLR 2020), and need no trained network. They assume that characters appear
in about the same poses, each at most once. No pose labels and no pairs are given.

C characters of M images at most; K prototypes of poses; D features.
"""

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from lib.config import HParams
from lib.data.image_set import UNKNOWN
from lib.data.shapes import features

ROUNDS = 2  # of joining all characters; more change nothing
COMPARED_PAIRS = 64  # of characters of two groups that are joined, at most


def find_matches(images: np.ndarray, members: Tensor, hp: HParams, seed: int) -> Tensor:
    """Match those of the images (N, H, H, 3) that `members` (C, M) names.

    Returns: (C, K) int64, the image of each character at each prototype, UNKNOWN where it has none.
    """
    rng, present = np.random.default_rng(seed), members.numpy() != UNKNOWN
    characters = rng.permutation(np.flatnonzero(present.any(axis=1)))[: hp.match_characters]
    # the first has an image for every prototype
    characters = sorted(characters, key=lambda c: -np.count_nonzero(present[c]))
    index = [members[c].numpy()[present[c]] for c in characters]
    places = match(features(images[rows] for rows in index))
    matches = torch.full((len(members), len(index[0])), UNKNOWN)
    for character, rows, place in zip(characters, index, places, strict=True):
        matches[character, place] = torch.from_numpy(rows)
    return matches


def match(feature_sets: list[np.ndarray]) -> list[np.ndarray]:
    """(n,) the prototype of each image, for C sets of features (n, D), the first the largest."""
    places = [assign(cdist(each, feature_sets[0], "sqeuclidean")) for each in feature_sets]
    for _ in range(ROUNDS):
        places = join(feature_sets, distances(feature_sets, places))
    return places


def assign(cost: np.ndarray) -> np.ndarray:
    """(n,) a separate one of K >= n prototypes for each image, at the least total cost (n, K).

    Otherwise frames that look alike would share a prototype, and others would have none.
    """
    return linear_sum_assignment(cost)[1]


def distances(feature_sets: list[np.ndarray], places: list[np.ndarray]) -> np.ndarray:
    """(C, C) mean squared distance of two characters, over the prototypes that both have."""
    shape = len(feature_sets), len(feature_sets[0])
    x, has = np.zeros((*shape, feature_sets[0].shape[1]), np.float32), np.zeros(shape, np.float32)
    for k, place in enumerate(places):
        x[k, place], has[k, place] = feature_sets[k], 1
    squares = np.square(x).sum(axis=2) @ has.T
    flat = x.reshape(len(x), -1)
    return (squares + squares.T - 2 * flat @ flat.T) / np.maximum(has @ has.T, 1)


def join(feature_sets: list[np.ndarray], distances: np.ndarray) -> list[np.ndarray]:
    """(n,) the prototype of each image: characters join to groups, the most alike first.

    Characters with the same outline are easily matched, very different ones are not. So groups
    join in the order of single-linkage clustering, (C, C) `distances` of characters given. Two
    groups are matched by their most similar characters: one pair alone is often wrong.
    """
    places = [np.arange(len(each)) for each in feature_sets]
    groups = [[k] for k in range(len(feature_sets))]
    condensed = np.maximum(distances, 0)[np.triu_indices(len(distances), 1)]
    for first, second, *_ in linkage(condensed, "single"):
        # a group has as many prototypes as its largest character has images
        pair = [groups[int(first)], groups[int(second)]]
        sizes = [max(len(feature_sets[k]) for k in group) for group in pair]
        small, large = pair if sizes[0] < sizes[1] else pair[::-1]
        total, count = np.zeros((2, min(sizes), max(sizes)))
        near = np.argsort(distances[np.ix_(small, large)], axis=None)[:COMPARED_PAIRS]
        for i, j in zip(*np.unravel_index(near, (len(small), len(large))), strict=True):
            i, j = small[i], large[j]
            cells = np.ix_(places[i], places[j])
            total[cells] += cdist(feature_sets[i], feature_sets[j], "sqeuclidean")
            count[cells] += 1
        place = assign(np.where(count > 0, total / np.maximum(count, 1), total.max()))
        for k in small:
            places[k] = place[places[k]]
        groups.append(small + large)
    return places
