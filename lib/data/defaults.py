"""Hyper-parameters that follow from the images, where the user did not set them."""

from collections.abc import Mapping

import numpy as np

from lib.config import HParams, make_hparams
from lib.data.image_set import UNKNOWN, ImageSet
from lib.data.stored import DIGIT_SOURCES

DENSE_SIZE = 64  # pixels, up to which the dense networks are the default
BLACK = 0.1  # share of black pixels from which the background counts as black
ABLE = 0.9  # share of characters that must have enough images for a group
FEWEST = 2  # images of a group
CODE_SIZE = 16  # of z and of s for digits: Jha et al. (ECCV 2018), table 1


def hparams_for(
    dataset: ImageSet, train: np.ndarray, preset: str, overrides: Mapping[str, object]
) -> tuple[HParams, list[str]]:
    """The hyper-parameters of a preset for these images, and a sentence for each that changes.

    `train` are image indices. What `overrides` sets stays as it is.

    Raises: UserError as `make_hparams`.
    """
    plain = make_hparams(preset, **overrides)
    chosen, said = {}, []
    for name, value, reason in _choices(dataset, train, plain):
        if name not in overrides and getattr(plain, name) != value:
            chosen[name] = value
            said.append(f"{name} is {value}, not {getattr(plain, name)}: {reason}.")
    return make_hparams(preset, **{**overrides, **chosen}), said


def _choices(dataset: ImageSet, train: np.ndarray, hp: HParams) -> list[tuple[str, object, str]]:
    """(name, value, reason) of every setting that the images decide."""
    found: list[tuple[str, object, str]] = []
    images = np.count_nonzero(dataset.members(train) != UNKNOWN, axis=1)
    if (images[images > 0] >= hp.group_size).mean() < ABLE:
        few = f"over {100 - 100 * ABLE:.0f} % of the training groups have fewer images"
        found.append(("group_size", FEWEST, few))
    if dataset.size > DENSE_SIZE and hp.architecture != "published":
        large = f"the images have more than {DENSE_SIZE}x{DENSE_SIZE} pixels"
        fewer = affordable(hp.images_seen, dataset.size)
        found += [("architecture", "conv", large), ("images_seen", fewer, large)]
    if dataset.source in DIGIT_SOURCES:
        paper = f"the paper has {CODE_SIZE} for MNIST"
        found += [("z_dim", CODE_SIZE, paper), ("s_dim", CODE_SIZE, paper)]
    if not dataset.has_truth:
        found.append(("match_from", 1.0, "matching needs shared poses, and none is known"))
    if black_share(dataset.images[train]) < BLACK:
        found.append(("background_level", 0.0, "the images have no black background"))
    return found


def affordable(n: int, size: int) -> int:
    """n images, or fewer large ones, which have about as many pixels as n of 64x64.

    So a training and an evaluation of large images take about as long.
    """
    return max(1, round(n * min(1.0, (DENSE_SIZE / size) ** 2)))


def black_share(images: np.ndarray) -> float:
    """The share of black pixels in some of the images (N, H, H, 3)."""
    some = images[:: max(1, len(images) // 1_000)]
    return float((some.max(axis=-1) == 0).mean())
