"""Our extension: match images of different characters that show the same pose, without labels.

The published losses never see the true image of a swap between characters, so z may leak the
character. But images a and b of two characters that are alike in edges and outline show the same
pose. Then z of b and s of a must decode to a. Matches are found once, as self-labelling finds
classes (Asano et al., ICLR 2020), and need no trained network. They assume that characters appear
in about the same poses, each at most once. No pose labels and no pairs are given.

C characters, N_POSES images of each; K prototypes of poses; D features.
"""

from itertools import combinations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial.distance import cdist
from torch import Tensor

from lib.config import HParams
from lib.data.shapes import features
from lib.data.sprites import N_POSES

ALIGNED_CHARACTERS = 40  # that the prototypes start from
ROUNDS = 4  # of assigning and averaging; more change nothing


def find_matches(images: np.ndarray, valid: Tensor, hp: HParams, seed: int) -> Tensor:
    """Match the images (N, 60, 60, 3) that `valid` (C, N_POSES) admits.

    Returns: (C, K) int64, the image of each character at each prototype, -1 where it has none.
    """
    rng = np.random.default_rng(seed)
    characters = rng.permutation(np.flatnonzero(valid.numpy().any(axis=1)))[: hp.match_characters]
    index = [character * N_POSES + np.flatnonzero(valid[character]) for character in characters]
    index.sort(key=len, reverse=True)  # the first has an image for every prototype
    feature_sets = features(images[rows] for rows in index)
    places = align(feature_sets[:ALIGNED_CHARACTERS])
    for _ in range(ROUNDS):
        prototypes = average(feature_sets, places)
        places = [assign(feature_set, prototypes) for feature_set in feature_sets]

    matches = torch.full((len(valid), len(prototypes)), -1)
    for rows, place in zip(index, places, strict=True):
        matches[rows[0] // N_POSES, place] = torch.from_numpy(rows)
    return matches


def align(feature_sets: list[np.ndarray]) -> list[np.ndarray]:
    """(n,) the prototype of each image, from one character to the next most alike.

    Characters with the same outline are easily matched, very different ones are not. So each is
    matched with its neighbour in the minimum spanning tree of all distances.
    """
    cost = np.zeros((len(feature_sets), len(feature_sets)))
    for i, j in combinations(range(len(feature_sets)), 2):
        distance = cdist(feature_sets[i], feature_sets[j], "sqeuclidean")
        cost[i, j] = 1e-9 + distance[linear_sum_assignment(distance)].mean()  # 0 would be no edge
    order, parents = breadth_first_order(minimum_spanning_tree(cost), 0, directed=False)
    places = {0: np.arange(len(feature_sets[0]))}
    prototypes = {0: feature_sets[0]}
    for child in order[1:]:
        parent = prototypes[parents[child]]
        places[child] = assign(feature_sets[child], parent)
        prototypes[child] = parent.copy()  # they stay where the child has no image
        prototypes[child][places[child]] = feature_sets[child]
    return [places[number] for number in range(len(feature_sets))]


def average(feature_sets: list[np.ndarray], places: list[np.ndarray]) -> np.ndarray:
    """(K, D) the mean features of the images at each prototype; the first set has K images."""
    sums = np.zeros_like(feature_sets[0])
    members = np.zeros((len(sums), 1))
    for feature_set, place in zip(feature_sets, places, strict=False):
        sums[place] += feature_set
        members[place] += 1
    return sums / members


def assign(features: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """(n,) a separate one of K >= n prototypes for each image, at the least total squared distance.

    Otherwise frames that look alike would share a prototype, and others would have none.
    """
    return linear_sum_assignment(cdist(features, prototypes, "sqeuclidean"))[1]
