"""2D Sprites (Reed et al., NIPS 2015) as arrays: structure, truth, split and stored form.

C characters, N_POSES = 178 poses, N = C * N_POSES images. Image n shows character n // N_POSES in
pose n % N_POSES. All characters have the same poses (action, view, frame), so each swap, the s of
one character and the z of another's pose, has a true image.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from lib.system import paths
from lib.system.errors import UserError
from lib.system.files import READ_ERRORS, read_arrays

SIZE = 60  # pixels, both sides
ACTIONS = ("spellcast", "thrust", "walk", "slash", "shoot", "hurt")
# where the character faces, in the order of the Liberated Pixel Cup sheets
VIEWS = ("up", "left", "down", "right")


ANIMATIONS = (  # (action, view, frames) in published order
    *(
        (action, view, frames)
        for action, frames in zip(ACTIONS[:5], (7, 8, 9, 6, 13), strict=True)
        for view in VIEWS
    ),
    ("hurt", "down", 6),
)
POSES = np.array(  # (178,): index into ACTIONS, index into VIEWS, frame
    [(ACTIONS.index(a), VIEWS.index(v), f) for a, v, frames in ANIMATIONS for f in range(frames)],
    dtype=[("action", np.uint8), ("view", np.uint8), ("frame", np.uint8)],
)
N_POSES = len(POSES)
SOURCES = ("sprites", "drawn")
SPLITS = ("identity", "outfit")


@dataclass(frozen=True, eq=False)
class Sprites:
    """A data set. An identity joins the characters that differ in the weapon alone (twins)."""

    source: str  # "sprites" or "drawn"
    images: np.ndarray  # (N, 60, 60, 3) uint8
    labels: np.ndarray  # (C, L) uint8 values of the attributes; the last is the weapon
    attributes: tuple[str, ...]  # L names
    numbers: np.ndarray  # (C,) number of each character in its source; some may be missing
    distinct: np.ndarray  # (N,) int32 from 0 to D-1; equal images have equal numbers
    fingerprint: str  # changes with the images, and with nothing else

    def mask(self, indices: np.ndarray) -> np.ndarray:
        """(C, N_POSES) bool: which poses of which characters the image indices name."""
        mask = np.zeros(len(self.images), dtype=bool)
        mask[indices] = True
        return mask.reshape(-1, N_POSES)

    @property
    def n_characters(self) -> int:
        return len(self.labels)

    @property
    def n_identities(self) -> int:
        return int(self.character_identity.max()) + 1

    @property
    def character_identity(self) -> np.ndarray:
        """(C,) int64: 0..n_identities-1."""
        return np.unique(self.labels[:, :-1], axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def character_outfit(self) -> np.ndarray:
        """(C,) int64 from 0: equal for characters that differ in skin and weapon alone."""
        worn = [k for k, name in enumerate(self.attributes[:-1]) if name != "skin"]
        return np.unique(self.labels[:, worn], axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def character(self) -> np.ndarray:
        """(N,) int64: the row of `labels` that each image belongs to."""
        return np.arange(len(self.images)) // N_POSES

    @property
    def pose(self) -> np.ndarray:
        """(N,) int64: the row of `POSES` of each image."""
        return np.arange(len(self.images)) % N_POSES

    @property
    def outfit(self) -> np.ndarray:
        """(N,) int64: the outfit that each image shows."""
        return self.character_outfit[self.character]

    @property
    def identity(self) -> np.ndarray:
        """(N,) int64: the identity that each image shows."""
        return self.character_identity[self.character]


def pose_number(action: str, view: str, frame: int) -> int:
    """The row of `POSES` of a frame, counted from 0. Raises ValueError where there is none."""
    return POSES.tolist().index((ACTIONS.index(action), VIEWS.index(view), frame))


def distinct_images(images: np.ndarray) -> np.ndarray:
    """(N,) int32: equal numbers for images (N, ...) that are equal to the bit, from 0."""
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    digests = (hashlib.sha256(row).digest() for row in rows)
    return np.array([seen.setdefault(digest, len(seen)) for digest in digests], dtype=np.int32)


def bayes_ceiling(distinct: np.ndarray, target: np.ndarray) -> float:
    """The best accuracy of any classifier of one image: equal images may have different targets.

    Of equal images, a classifier can name the most frequent target at best. `distinct` may also be
    all that is known of an image, such as whether it hides an attribute.

    Shapes: `distinct` and `target` (N,).
    """
    pairs, counts = np.unique(np.stack([distinct, target]), axis=1, return_counts=True)
    best = np.zeros(distinct.max() + 1)
    np.maximum.at(best, pairs[0], counts)
    return float(best.sum() / len(target))


def split_sprites(sprites: Sprites, split: str, seed: int) -> dict[str, np.ndarray]:
    """Sorted image indices of train, validation (10 % of the units) and test (15 %).

    - identity: the units are identities. Most of the test differ in one attribute from an identity
      of train, so a swap may be little more than a new colour.
    - outfit: the units are outfits, that is identities in all skins. No outfit of test is in train.

    A split by character would separate twins, half of whose images are equal. Even different
    identities share a few images, where the weapon and more is hidden. So an image that is in test
    is left out of validation and train, and one that is in validation is left out of train.

    Raises: UserError for an unknown split, and for fewer than six units, because each part needs
        two for a swap.
    """
    check_split(split)
    by_character = {"identity": sprites.character_identity, "outfit": sprites.character_outfit}
    unit = by_character[split][sprites.character]
    count = int(unit.max()) + 1
    if count < 6:
        names = {"identity": "identities", "outfit": "outfits"}
        raise UserError(
            f"{count} {names[split]} cannot be split into train, validation and test: give at least"
            " 6"
        )
    order = np.random.default_rng(seed).permutation(count)
    test, validation = max(2, round(0.15 * count)), max(2, round(0.10 * count))
    test_part, validation_part, train_part = np.split(order, [test, test + validation])

    index, taken = {}, np.zeros(sprites.distinct.max() + 1, dtype=bool)
    parts = {"test": test_part, "validation": validation_part, "train": train_part}
    for name, units in parts.items():
        index[name] = np.flatnonzero(np.isin(unit, units) & ~taken[sprites.distinct])
        taken[sprites.distinct[index[name]]] = True
    return {name: index[name] for name in ("train", "validation", "test")}


def check_split(split: str) -> None:
    """Raises UserError where there is no such split."""
    if split not in SPLITS:
        raise UserError(f"there is no split '{split}': choose one of {', '.join(SPLITS)}")


def sprites_to_arrays(sprites: Sprites) -> dict[str, np.ndarray]:
    return {field.name: np.asarray(getattr(sprites, field.name)) for field in fields(Sprites)}


def arrays_to_sprites(arrays: Mapping[str, np.ndarray]) -> Sprites:
    """Raises KeyError or ValueError where these arrays are no sprites."""
    values = {field.name: arrays[field.name] for field in fields(Sprites)}
    values |= {name: str(values[name]) for name in ("source", "fingerprint")}
    values["attributes"] = tuple(values["attributes"].tolist())
    sprites = Sprites(**values)
    if sprites.images.shape != (len(sprites.labels) * N_POSES, SIZE, SIZE, 3):
        raise ValueError(f"images of shape {sprites.images.shape}")
    return sprites


def load_sprites(source: str) -> Sprites:
    """The sprites in `data/<source>.npz`. Raises UserError where they are absent or damaged."""
    path = stored_path(source)
    remedy = "run notebooks/01_create_sprites.ipynb or ./run_all.sh to create it"
    try:
        sprites = arrays_to_sprites(read_arrays(path))
        if sprites.source != source:
            raise ValueError
    except FileNotFoundError:
        raise UserError(f"there is no {path} yet: {remedy}") from None
    except READ_ERRORS:
        raise UserError(f"{path} is damaged: remove it, then {remedy} again") from None
    return sprites


def stored_path(source: str) -> Path:
    """`data/<source>.npz`. Raises UserError for an unknown source."""
    if source not in SOURCES:
        raise UserError(f"there is no source '{source}': choose one of {', '.join(SOURCES)}")
    return paths.DATA / f"{source}.npz"
