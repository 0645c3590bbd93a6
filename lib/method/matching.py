"""Our extension: match images of different characters that show the same pose, without labels.

The published losses never see the true image of a swap between characters, so z may leak the
character. But once z roughly encodes poses, images a and b that are alike in z, edges and outline
show the same pose. Then z of b and s of a must decode to a. Matches are found once, as
self-labelling finds classes (Asano et al., ICLR 2020). They assume that characters appear in about
the same poses, each at most once. No pose labels and no pairs are given.

C characters, N_POSES images of each; K prototypes of poses; D features.
"""

from collections.abc import Iterable

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn import functional as F

from lib.config import HParams
from lib.data.images import to_float
from lib.data.sprites import N_POSES, SIZE
from lib.method.networks import CycleVAE, encode_images

STARTS = 8  # characters that the prototypes start from, one after the other
ROUNDS = 6  # of assigning and averaging; more change nothing
ROUND_CHARACTERS = 60  # characters that the prototypes are averaged over
COMPONENTS = 48  # principal components of the pooled images
Z_VARIANCE = 0.25  # total variance of z among the features
# the other features: what they show, over how many of 60 pixels each way, their total variance
POOLED = (("edges", 2, 0.5), ("edges", 4, 0.5), ("outline", 4, 1.0))


def find_matches(
    model: CycleVAE, images: np.ndarray, valid: Tensor, hp: HParams, seed: int
) -> Tensor:
    """Match the images (N, 60, 60, 3) that `valid` (C, N_POSES) admits.

    The prototypes start as the features of one character and become means over characters. Most
    starts end in a poor optimum, so the best of STARTS counts.

    Returns: (C, K) int64, the image of each character at each prototype, -1 where it has none.
    """
    rng = np.random.default_rng(seed)
    characters = rng.permutation(np.flatnonzero(valid.numpy().any(axis=1)))[: hp.match_characters]
    index = [character * N_POSES + np.flatnonzero(valid[character]) for character in characters]
    z_mu = encode_images(model, images[np.concatenate(index)]).z_mu.numpy()
    feature_sets = features(z_mu, (images[rows] for rows in index))
    averaged = [feature_sets[c] for c in rng.permutation(len(characters))[:ROUND_CHARACTERS]]
    counts = np.array([len(rows) for rows in index])
    starts = np.flatnonzero(counts == counts.max())[:STARTS]
    ends = [refine_prototypes(averaged, feature_sets[start]) for start in starts]
    _, prototypes = min(ends, key=lambda end: end[0])

    matches = torch.full((len(valid), len(prototypes)), -1)
    for character, rows, feature_set in zip(characters, index, feature_sets, strict=True):
        matches[character, assign(feature_set, prototypes)] = torch.from_numpy(rows)
    return matches


def refine_prototypes(
    feature_sets: list[np.ndarray], prototypes: np.ndarray
) -> tuple[float, np.ndarray]:
    """Assign images to prototypes (K, D) and average them, ROUNDS times: (distance left, means)."""
    for _ in range(ROUNDS):
        sums, members, distance = np.zeros_like(prototypes), np.zeros_like(prototypes[:, :1]), 0.0
        for feature_set in feature_sets:
            chosen = assign(feature_set, prototypes)  # each prototype once, at most
            distance += float(np.square(feature_set - prototypes[chosen]).sum())
            sums[chosen] += feature_set
            members[chosen] += 1
        prototypes = np.where(members > 0, sums / np.maximum(members, 1), prototypes)
    return distance, prototypes


def assign(features: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """(n,) a separate one of K >= n prototypes for each image, at the least total squared distance.

    Otherwise frames that look alike would share a prototype, and others would have none.
    """
    return linear_sum_assignment(cdist(features, prototypes, "sqeuclidean"))[1]


def features(z_mu: np.ndarray, images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """(n, D) of each character's images (n, 60, 60, 3): z (N, Z), edges and outline, scaled.

    Colours and the mean edges and outline are left out, because they show the character.
    """
    pooled: list[list[np.ndarray]] = [[] for _ in POOLED]
    for character_images in images:
        x = to_float(character_images)
        brightness = F.pad(x.mean(dim=1, keepdim=True), (0, 1, 0, 1), mode="replicate")
        steps = [brightness.diff(dim=2)[..., :-1], brightness.diff(dim=3)[..., :-1, :]]
        outline = (x > 0).any(dim=1, keepdim=True).float()
        maps = {"edges": torch.cat(steps, dim=1).abs(), "outline": outline}
        for (kind, pixels, _), parts in zip(POOLED, pooled, strict=True):
            coarse = F.avg_pool2d(maps[kind], pixels * x.shape[-1] // SIZE).flatten(1)
            parts.append((coarse - coarse.mean(dim=0)).numpy())

    blocks = [z_mu, *(_principal_components(np.concatenate(parts)) for parts in pooled)]
    variances = [Z_VARIANCE, *(variance for *_, variance in POOLED)]
    for k, (block, variance) in enumerate(zip(blocks, variances, strict=True)):
        blocks[k] = block * np.sqrt(variance / (block.var(axis=0).sum() + 1e-12))
    ends = np.cumsum([len(part) for part in pooled[0]])[:-1]
    return np.split(np.concatenate(blocks, axis=1), ends)


def _principal_components(x: np.ndarray) -> np.ndarray:
    """Centred x (n, D) on its COMPONENTS principal axes of most variance, or on all D."""
    return x @ eigh(x.T @ x, subset_by_index=(max(0, x.shape[1] - COMPONENTS), x.shape[1] - 1))[1]
