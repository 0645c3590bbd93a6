"""Image sets that are made up: small, and with every image, pose and twin known."""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.data.image_set import Attribution, ImageSet, distinct_images
from lib.data.sprites import N_POSES


def numbered(numbers: np.ndarray, size: int) -> np.ndarray:
    """Images (N, size, size, 3), black but for one pixel; equal numbers give equal images."""
    images = np.zeros((numbers.size, size, size, 3), np.uint8)
    images[:, 0, 0] = numbers.reshape(-1, 1) >> np.array([0, 8, 16]) & 255
    return images


def paired(characters: int) -> np.ndarray:
    """Numbers of images (C, 178), all different, but twins 2k and 2k + 1 share half of theirs."""
    numbers = np.arange(characters * N_POSES).reshape(characters, N_POSES)
    numbers[1::2, : N_POSES // 2] = numbers[::2, : N_POSES // 2]
    return numbers


def made_up(
    poses: Sequence[Sequence[int]],
    numbers: Sequence[Sequence[int]] | None = None,
    images: np.ndarray | None = None,
    **fields: object,
) -> ImageSet:
    """A set of characters with these poses each, and with images of these numbers.

    Without numbers, all images differ.
    """
    character = np.repeat(np.arange(len(poses)), [len(own) for own in poses])
    pose = np.concatenate(poses).astype(np.int64)
    if images is None:
        every = np.arange(1, len(pose) + 1) if numbers is None else np.concatenate(numbers)
        images = numbered(every, 8)
    given: Mapping[str, object] = {
        "source": "folder-made-up",
        "names": tuple(f"character {c}" for c in range(len(poses))),
        "fingerprint": "made up",
        "attribution": Attribution("made-up images", "A test made them up."),
        "pose_names": tuple(f"pose {p}" for p in range(pose.max() + 1)),
        **fields,
    }
    return ImageSet(
        images=images, character=character, pose=pose, distinct=distinct_images(images), **given
    )
