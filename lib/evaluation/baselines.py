"""Simple predictors of a swap, without a network. Some use more information than the model."""

import numpy as np
import torch
from torch import Tensor

from lib.data.image_set import UNKNOWN, ImageSet
from lib.data.images import mean_image, to_float
from lib.evaluation.swaps import Predict, Swaps, errors_in_chunks

NEIGHBOURS = (2, 3, 5, 10)  # of which validation swaps choose


def predictors(
    dataset: ImageSet, train: np.ndarray, swaps: Swaps, neighbours: int = 3
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
    images, characters = dataset.images, np.unique(dataset.character[train])
    pose_mean = _pose_means(dataset, characters)
    mean = torch.from_numpy(pose_mean.numpy().mean(axis=0))
    s_character = dataset.character[swaps.s_image]
    target_pose = dataset.pose[swaps.target]
    character_mean = {c: mean_image(images[dataset.images_of(c)]) for c in np.unique(s_character)}
    nearest = _nearest_images(dataset, characters, swaps, neighbours)

    def additive(part: slice) -> torch.Tensor:
        characters_mean = torch.stack([character_mean[c] for c in s_character[part]])
        return (pose_mean[target_pose[part]] + characters_mean - mean).clamp(0, 1)

    return {
        "black": lambda part: torch.zeros_like(pose_mean[target_pose[part]]),
        "mean": lambda part: mean.expand(len(target_pose[part]), -1, -1, -1),
        "pose_mean": lambda part: pose_mean[target_pose[part]],
        "additive": additive,
        "retrieval": lambda part: to_float(images[nearest[part, 0]]),
        "retrieval_mean": _means(dataset, nearest),
    }


def _pose_means(dataset: ImageSet, characters: np.ndarray) -> Tensor:
    """(P, 3, H, H): the mean image of the characters in each pose; of all theirs if none has it."""
    every, means = np.flatnonzero(np.isin(dataset.character, characters)), []
    for pose in range(dataset.n_poses):
        index = dataset.image_at(characters, pose)
        index = index[index != UNKNOWN]
        means.append(mean_image(dataset.images[index if len(index) else every]))
    return torch.stack(means)


def choose_neighbours(dataset: ImageSet, train: np.ndarray, validation: Swaps) -> int:
    """The number of NEIGHBOURS whose mean has the least squared error on validation swaps."""

    characters = np.unique(dataset.character[train])
    counts = [count for count in NEIGHBOURS if count <= len(characters)]
    nearest = _nearest_images(dataset, characters, validation, max(counts))

    def error(count: int) -> float:
        predict = _means(dataset, nearest[:, :count])
        return float(errors_in_chunks(dataset, validation, predict)[:, 0].mean())

    return min(counts, key=error)


def _means(dataset: ImageSet, images: np.ndarray) -> Predict:
    """The mean of the images with the indices `images` (n, K), for each swap."""

    def predict(part: slice) -> Tensor:
        return torch.stack([mean_image(dataset.images[index]) for index in images[part]])

    return predict


def predictor_errors(dataset: ImageSet, train: np.ndarray, swaps: Swaps) -> dict[str, np.ndarray]:
    """`image_errors` (n, 3) of each of the `predictors`."""
    found = predictors(dataset, train, swaps)
    return {name: errors_in_chunks(dataset, swaps, predict) for name, predict in found.items()}


def _nearest_images(
    dataset: ImageSet, characters: np.ndarray, swaps: Swaps, count: int
) -> np.ndarray:
    """(n, count) the images in the target pose of those `characters` that are nearest to the s
    image in its pose, the nearest first.

    Where too few of them have both poses, the nearest comes again; where none has, any of their
    images.
    """
    s_pose, target_pose = dataset.pose[swaps.s_image], dataset.pose[swaps.target]
    nearest = np.empty((len(s_pose), count), np.int64)
    for pose in np.unique(s_pose):
        is_pose = np.flatnonzero(s_pose == pose)
        present = characters[dataset.image_at(characters, pose) != UNKNOWN]
        index = dataset.image_at(present, target_pose[is_pose, None])
        distance = _squared_distances(dataset, swaps.s_image[is_pose], present, pose)
        distance[index == UNKNOWN] = np.inf
        order = distance.argsort(axis=1, kind="stable")[:, :count]
        found = np.take_along_axis(index, order, axis=1)
        found = np.pad(found, ((0, 0), (0, count - found.shape[1])), constant_values=UNKNOWN)
        found[found[:, 0] == UNKNOWN] = dataset.first_image[characters[0]]
        nearest[is_pose] = np.where(found == UNKNOWN, found[:, :1], found)
    return nearest


def _squared_distances(
    dataset: ImageSet, images: np.ndarray, characters: np.ndarray, pose: int
) -> np.ndarray:
    """(n, K) from each image to each character in a pose, less the square of the image."""
    candidates = dataset.images[dataset.image_at(characters, pose)]
    candidates = candidates.reshape(len(characters), 3 * dataset.size**2).astype(np.float32)
    queries, inverse = np.unique(images, return_inverse=True)
    x = dataset.images[queries].reshape(len(queries), -1).astype(np.float32)
    return ((candidates**2).sum(1) - 2 * x @ candidates.T)[inverse]
