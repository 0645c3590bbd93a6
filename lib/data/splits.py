"""Which images are for training, validation and test."""

import numpy as np

from lib.data.image_set import ImageSet
from lib.data.stored import FOLDER_SOURCE
from lib.system.errors import UserError

SPLITS = ("identity", "outfit", "image")
VALIDATION, TEST = 0.10, 0.15  # of the units
PARTS = ("train", "validation", "test")


def split_images(dataset: ImageSet, split: str, seed: int) -> dict[str, np.ndarray]:
    """Sorted image indices of train, validation (10 % of the units) and test (15 %).

    - identity: the units are identities. Most of the test differ in one attribute from an identity
      of train, so a swap may be little more than a new colour.
    - outfit: the units are clusters of similar identities. Of sprites, these are outfits, that is
      identities in all skins. No outfit of test is in train.
    - image: the units are images, so each part shows all characters. It is for sets of a few
      characters whose poses are not known.

    A split by character would separate twins, half of whose images are equal. Even different
    identities share a few images, where the weapon and more is hidden. So an image that is in test
    is left out of validation and train, and one that is in validation is left out of train.

    Raises: UserError for a split that this set does not have, and for fewer than six units, because
        each part needs two for a swap.
    """
    unit, name = _units(dataset, split)
    count = int(unit.max()) + 1
    if count < 6:
        raise UserError(
            f"{count} {name} cannot be split into train, validation and test: give at least 6"
        )
    order = np.random.default_rng(seed).permutation(count)
    test, validation = max(2, round(TEST * count)), max(2, round(VALIDATION * count))
    test_part, validation_part, train_part = np.split(order, [test, test + validation])

    index, taken = {}, np.zeros(dataset.distinct.max() + 1, dtype=bool)
    parts = {"test": test_part, "validation": validation_part, "train": train_part}
    for name, units in parts.items():
        index[name] = np.flatnonzero(np.isin(unit, units) & ~taken[dataset.distinct])
        taken[dataset.distinct[index[name]]] = True
    return {name: index[name] for name in PARTS}


def _units(dataset: ImageSet, split: str) -> tuple[np.ndarray, str]:
    """(N,) the unit of each image, and what the units are called."""
    check_split(split)
    if split == "identity":
        return dataset.identity, "identities"
    if split == "outfit":
        if dataset.cluster_of_character is None:
            more = ", or give labels.csv a column 'cluster'" if _is_folder(dataset) else ""
            raise UserError(
                f"the images of source '{dataset.source}' have no outfits, that is clusters of"
                f" similar identities: split them by identity{more}"
            )
        pairs = np.unique([dataset.identity, dataset.cluster], axis=1)
        if len(pairs.T) > dataset.n_identities:
            raise UserError(
                f"source '{dataset.source}' has identities that share many images in two clusters:"
                " give them one"
            )
        return dataset.cluster, "outfits"
    if dataset.has_truth:
        more = ", or say --poses unknown" if _is_folder(dataset) else ""
        raise UserError(
            f"the images of source '{dataset.source}' have known poses, so a split by image would"
            f" show the model the true images of swaps: split them by identity{more}"
        )
    return dataset.distinct.astype(np.int64), "images"


def _is_folder(dataset: ImageSet) -> bool:
    return bool(FOLDER_SOURCE.fullmatch(dataset.source))


def check_split(split: str) -> None:
    """Raises UserError where there is no such split."""
    if split not in SPLITS:
        raise UserError(f"there is no split '{split}': choose one of {', '.join(SPLITS)}")
