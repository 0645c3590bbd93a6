"""Predictors of a swap that need no network."""

import numpy as np

from lib.data.sprites import N_POSES, Sprites
from lib.evaluation.swaps import Predict, Swaps, _errors_in_chunks


def predictor_errors(sprites: Sprites, train: np.ndarray, swaps: Swaps) -> dict[str, np.ndarray]:
    """`image_errors` (n, 3) of the `predictors`."""
    return {
        name: _errors_in_chunks(sprites, swaps, predict)
        for name, predict in predictors(sprites, train, swaps).items()
    }


def predictors(sprites: Sprites, train: np.ndarray, swaps: Swaps) -> dict[str, Predict]:
    """Simple predictors of the swaps' truth, some of which know what the model is not told.

    black; mean: the mean training image; pose_mean: that of the target's pose; additive: pose mean
    + mean image of the character itself - mean image (the best sum of a character and a pose; it
    knows the held-out character's mean); retrieval: of the training characters, the one whose image
    in the pose of s_image is nearest to s_image, in the target pose (it knows every pose label). A
    model that does not beat retrieval remembers rather than composes.
    """
    grid = sprites.images.reshape(-1, N_POSES, *sprites.images.shape[1:])
    characters = np.unique(sprites.character[train])
    pose_mean = (
        np.stack([grid[characters, p].mean(axis=0, dtype=np.float32) for p in range(N_POSES)]) / 255
    )
    mean = pose_mean.mean(axis=0)
    a, q, p = (
        sprites.character[swaps.s_image],
        sprites.pose[swaps.s_image],
        sprites.pose[swaps.target],
    )
    own_mean = {c: grid[c].mean(axis=0, dtype=np.float32) / 255 for c in np.unique(a)}
    nearest = _nearest_characters(grid, characters, a, q)
    return {
        "black": lambda part: np.zeros_like(pose_mean[p[part]]),
        "mean": lambda part: np.broadcast_to(mean, pose_mean[p[part]].shape),
        "pose_mean": lambda part: pose_mean[p[part]],
        "additive": (
            lambda part: (
                pose_mean[p[part]] + np.stack([own_mean[c] for c in a[part]]) - mean
            ).clip(0, 1)
        ),
        "retrieval": lambda part: grid[nearest[part], p[part]].astype(np.float32) / 255,
    }


def _nearest_characters(
    grid: np.ndarray, characters: np.ndarray, a: np.ndarray, q: np.ndarray
) -> np.ndarray:
    """For each character a in pose q, that of `characters` with the nearest image in that pose."""
    nearest = np.empty(len(a), np.int64)
    for pose in np.unique(q):
        candidates = grid[characters, pose].reshape(len(characters), -1).astype(np.float32)
        queries, inverse = np.unique(a[q == pose], return_inverse=True)
        images = grid[queries, pose].reshape(len(queries), -1).astype(np.float32)
        distance = (candidates**2).sum(
            1
        ) - 2 * images @ candidates.T  # + |image|^2, the same for all candidates
        nearest[q == pose] = characters[distance.argmin(axis=1)][inverse]
    return nearest
