"""Matches: which images of different characters show one pose, as far as z and the images
themselves can tell.

The published losses never see what a swap between characters should have been, so what z says of
its own character is never corrected, and nothing teaches the decoder to take it from s instead. But
once z knows poses roughly, images that are alike in z and in outline show one pose, and then the
truth is at hand: the z of one decoded with the s of the other should give the other. So a training
that has come some way looks for such matches and goes on with them, as self-labelling does for
classes (Asano et al., ICLR 2020). No pose is named and no pair given. What is assumed, beyond which
images show the same character, is that characters are seen in about the same poses, each at most
once.

C characters, P = 178 images of each; K prototypes, as many as the most images that a character has.
"""

from collections.abc import Iterable

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from lib.config import HParams
from lib.data.images import to_float
from lib.data.sprites import N_POSES, SIZE
from lib.method.networks import CycleVAE, encode_images

STARTS = 8  # characters that the prototypes begin as, in turn
ROUNDS = 6  # of assigning and averaging, which has settled by then
ROUND_CHARACTERS = 60  # characters that the prototypes are averaged over
COMPONENTS = 48  # principal components that are kept of pooled images
Z_VARIANCE = 0.25  # total variance of z among the features


# what else: averaged over so many of 60 pixels, each way, and of which total variance
PARTS = (("edges", 2, 0.5), ("edges", 4, 0.5), ("outline", 4, 1.0))


def find_matches(
    model: CycleVAE, images: np.ndarray, valid: Tensor, hp: HParams, seed: int
) -> Tensor:
    """Match the images (N, 60, 60, 3) that `valid` (C, P) admits, of hp.match_characters characters
    at most.

    Returns (C, K) int64, the index of each character's image at each prototype, -1 where it has
    none; images of different characters at one prototype are held to show one pose. The prototypes
    begin as the `features` of one character and become means over characters, whose images are
    assigned to them in turn (`refine_prototypes`). Of STARTS such beginnings, with characters drawn by `seed`,
    the one that ends nearest to the images counts: most end in a worse optimum.
    """
    rng = np.random.default_rng(seed)
    characters = rng.permutation(np.flatnonzero(valid.numpy().any(axis=1)))[: hp.match_characters]
    counts = np.count_nonzero(valid.numpy()[characters], axis=1)
    index = [character * N_POSES + np.flatnonzero(valid[character]) for character in characters]
    z_mu = encode_images(model, images[np.concatenate(index)]).z_mu.numpy()
    described = features(z_mu, (images[of] for of in index))

    some = [described[c] for c in rng.permutation(len(described))[:ROUND_CHARACTERS]]
    whole = np.flatnonzero(counts == counts.max())
    _, prototypes = min(
        (refine_prototypes(some, described[start]) for start in whole[:STARTS]),
        key=lambda settled: settled[0],
    )
    matches = torch.full((len(valid), len(prototypes)), -1)
    for character, of, own in zip(characters, index, described, strict=True):
        matches[character, assign(own, prototypes)] = torch.from_numpy(of)
    return matches


def refine_prototypes(
    described: list[np.ndarray], prototypes: np.ndarray
) -> tuple[float, np.ndarray]:
    """Prototypes (K, D) as means of the images that are assigned to them, ROUNDS times; and what
    distance, squared, is left.
    """
    whole = np.concatenate(described)
    for _ in range(ROUNDS):
        chosen = np.concatenate([assign(own, prototypes) for own in described])
        left = float(np.square(whole - prototypes[chosen]).sum())
        sums, members = (
            np.zeros_like(prototypes),
            np.bincount(chosen, minlength=len(prototypes))[:, None],
        )
        np.add.at(sums, chosen, whole)
        prototypes = np.where(members > 0, sums / np.maximum(members, 1), prototypes)
    return left, prototypes


def features(z_mu: np.ndarray, images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """What images are matched by, for each character (n, D): z, the edges and the outline, in the
    proportions given above.

    `images` are those of each character (n, 60, 60, 3), z_mu (N, Z) the codes of all of them in
    that order. Edges (how much the brightness of neighbouring pixels differs) and outline (where an
    image is not black) are averaged over squares of pixels, and what a character's images have in
    common is taken off: its mean. Colours tell more of who it is than these do.
    """
    pooled: list[list[np.ndarray]] = [[] for _ in PARTS]
    for own in images:
        x = to_float(own)
        brightness = F.pad(x.mean(dim=1, keepdim=True), (0, 1, 0, 1), mode="replicate")
        steps = [brightness.diff(dim=2)[..., :-1], brightness.diff(dim=3)[..., :-1, :]]
        drawn = {
            "edges": torch.cat(steps, dim=1).abs(),
            "outline": (x > 0).any(dim=1, keepdim=True).float(),
        }
        for (kind, pixels, _), into in zip(PARTS, pooled, strict=True):
            coarse = F.avg_pool2d(drawn[kind], pixels * x.shape[-1] // SIZE).flatten(1)
            into.append((coarse - coarse.mean(dim=0)).numpy())
    variances = (Z_VARIANCE, *(variance for *_, variance in PARTS))
    parts = (z_mu, *(_principal_components(np.concatenate(part)) for part in pooled))
    scaled = [
        part * np.sqrt(v / (part.var(axis=0).sum() + 1e-12))
        for part, v in zip(parts, variances, strict=True)
    ]
    return np.split(np.concatenate(scaled, axis=1), np.cumsum([len(own) for own in pooled[0]])[:-1])


def assign(described: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """The prototype (n,) of each of n images, each another of the K >= n, by the least sum of
    squared distances.

    Without that constraint frames that look alike would share one, and others have none.
    """
    return linear_sum_assignment(cdist(described, prototypes, "sqeuclidean"))[1]


def _principal_components(x: np.ndarray) -> np.ndarray:
    return PCA(min(COMPONENTS, *x.shape), svd_solver="covariance_eigh").fit_transform(x)
