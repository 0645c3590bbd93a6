"""Simple predictors of a swap, without a network. Some use more information than the model."""

import numpy as np
import torch
from torch import Tensor

from lib.data.images import mean_image, to_float
from lib.data.sprites import N_POSES, Sprites
from lib.evaluation.swaps import Predict, Swaps, errors_in_chunks

NEIGHBOURS = (2, 3, 5, 10)  # of which validation swaps choose


def predictors(
    sprites: Sprites, train: np.ndarray, swaps: Swaps, neighbours: int = 3
) -> dict[str, Predict]:
    """Predictors of the true images of `swaps`, which know the images with indices `train`.

    - black
    - mean: the mean training image
    - pose_mean: the mean training image of the target pose
    - additive: pose mean + mean image of the character - mean image; the best sum of a character
      and a pose, because it knows the mean of the held-out character
    - retrieval: of the training characters, the one whose image in the pose of the s image is
      nearest to the s image, in the target pose; it knows every pose label
    - retrieval_mean: the mean of so many `neighbours`, in place of one

    A model that does not beat these two may have remembered rather than composed. The mean has the
    lower squared error, although it shows no character.
    """
    grid = sprites.images.reshape(-1, N_POSES, *sprites.images.shape[1:])
    characters = np.unique(sprites.character[train])
    pose_mean = torch.stack([mean_image(grid[characters, pose]) for pose in range(N_POSES)])
    mean = torch.from_numpy(pose_mean.numpy().mean(axis=0))
    s_character = sprites.character[swaps.s_image]
    target_pose = sprites.pose[swaps.target]
    character_mean = {c: mean_image(grid[c]) for c in np.unique(s_character)}
    nearest = _nearest_characters(sprites, characters, swaps, neighbours)

    def additive(part: slice) -> torch.Tensor:
        characters_mean = torch.stack([character_mean[c] for c in s_character[part]])
        return (pose_mean[target_pose[part]] + characters_mean - mean).clamp(0, 1)

    return {
        "black": lambda part: torch.zeros_like(pose_mean[target_pose[part]]),
        "mean": lambda part: mean.expand(len(target_pose[part]), -1, -1, -1),
        "pose_mean": lambda part: pose_mean[target_pose[part]],
        "additive": additive,
        "retrieval": lambda part: to_float(grid[nearest[part, 0], target_pose[part]]),
        "retrieval_mean": _means_of_characters(sprites, nearest, swaps),
    }


def choose_neighbours(sprites: Sprites, train: np.ndarray, validation: Swaps) -> int:
    """The number of NEIGHBOURS whose mean has the least squared error on validation swaps."""

    characters = np.unique(sprites.character[train])
    counts = [count for count in NEIGHBOURS if count <= len(characters)]
    nearest = _nearest_characters(sprites, characters, validation, max(counts))

    def error(count: int) -> float:
        predict = _means_of_characters(sprites, nearest[:, :count], validation)
        return float(errors_in_chunks(sprites, validation, predict)[:, 0].mean())

    return min(counts, key=error)


def _means_of_characters(sprites: Sprites, characters: np.ndarray, swaps: Swaps) -> Predict:
    """The mean image of the characters (n, K) of each swap, in the target pose."""
    images = characters * N_POSES + sprites.pose[swaps.target][:, None]

    def predict(part: slice) -> Tensor:
        return torch.stack([mean_image(sprites.images[index]) for index in images[part]])

    return predict


def predictor_errors(sprites: Sprites, train: np.ndarray, swaps: Swaps) -> dict[str, np.ndarray]:
    """`image_errors` (n, 3) of each of the `predictors`."""
    found = predictors(sprites, train, swaps)
    return {name: errors_in_chunks(sprites, swaps, predict) for name, predict in found.items()}


def _nearest_characters(
    sprites: Sprites, characters: np.ndarray, swaps: Swaps, count: int
) -> np.ndarray:
    """(n, count) of `characters`, those nearest to the s image in the same pose, in order."""
    grid = sprites.images.reshape(-1, N_POSES, *sprites.images.shape[1:])
    s_character, s_pose = sprites.character[swaps.s_image], sprites.pose[swaps.s_image]
    nearest = np.empty((len(s_character), count), np.int64)
    for pose in np.unique(s_pose):
        is_pose = s_pose == pose
        candidates = grid[characters, pose].reshape(len(characters), -1).astype(np.float32)
        queries, inverse = np.unique(s_character[is_pose], return_inverse=True)
        images = grid[queries, pose].reshape(len(queries), -1).astype(np.float32)
        # squared distance less |image|^2, which is the same for all candidates
        distance = (candidates**2).sum(1) - 2 * images @ candidates.T
        order = distance.argsort(axis=1, kind="stable")[:, :count]
        nearest[is_pose] = characters[order][inverse]
    return nearest
