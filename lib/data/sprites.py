"""2D Sprites (Reed et al., NIPS 2015) as arrays: the structure and the truth, the stored form, the
split.

C characters, P = 178 poses, N = C * P images; image n shows character n // P in pose n % P, for
every character the same action, view and frame, so the true image of every swap (s of one
character, z of another's pose) exists. Images are uint8 (N, 60, 60, 3) at rest; `lib.batches`
brings them in flight, `lib.sources` is where they come from.
"""

import dataclasses
import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.system import paths
from lib.system.errors import UserError
from lib.system.files import atomic_write

SIZE = 60  # pixels, both sides
ACTIONS = ("spellcast", "thrust", "walk", "slash", "shoot", "hurt")
VIEWS = (
    "up",
    "left",
    "down",
    "right",
)  # where the character faces, in the order of the Liberated Pixel Cup sheets


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
READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)  # of a damaged .npz


@dataclass(frozen=True, eq=False)
class Sprites:
    """A data set and its truth; `identity` joins the characters that differ in the weapon alone
    (weapon twins).
    """

    source: str  # "sprites" or "drawn"
    images: np.ndarray  # (N, 60, 60, 3) uint8
    labels: np.ndarray  # (C, L) uint8 values of the attributes; the last is the weapon
    attributes: tuple[str, ...]  # L names
    numbers: np.ndarray  # (C,) number of each character in its source, where some may be missing
    distinct: np.ndarray  # (N,) int32, equal exactly where two images are equal to the bit: 0..D-1
    fingerprint: str  # what the arrays were made from

    @property
    def n_characters(self) -> int:
        return len(self.labels)

    @property
    def n_identities(self) -> int:
        return int(self.identity_of_character.max()) + 1

    @property
    def identity_of_character(self) -> np.ndarray:
        """(C,) int64: 0..n_identities-1."""
        return np.unique(self.labels[:, :-1], axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def character(self) -> np.ndarray:
        """(N,) int64: the row of `labels` that each image belongs to."""
        return np.arange(len(self.images)) // N_POSES

    @property
    def pose(self) -> np.ndarray:
        """(N,) int64: the row of `POSES` of each image."""
        return np.arange(len(self.images)) % N_POSES

    @property
    def identity(self) -> np.ndarray:
        """(N,) int64: the identity that each image shows."""
        return self.identity_of_character[self.character]


def distinct_images(images: np.ndarray) -> np.ndarray:
    """(N,) int32 cluster ids of images (N, ...), equal exactly where images are equal, numbered by
    first appearance.
    """
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return np.array(
        [seen.setdefault(hashlib.sha256(row).digest(), len(seen)) for row in rows], dtype=np.int32
    )


def bayes_ceiling(distinct: np.ndarray, target: np.ndarray) -> float:
    """The best accuracy that any classifier of one image can reach where equal images bear
    different targets.

    Of each set of equal images (equal `distinct`, (N,)) at best the most frequent target (N,) is
    named right.
    """
    pairs, counts = np.unique(np.stack([distinct, target]), axis=1, return_counts=True)
    best = np.zeros(distinct.max() + 1)
    np.maximum.at(best, pairs[0], counts)
    return float(best.sum() / len(target))


def split_by_identity(sprites: Sprites, seed: int) -> dict[str, np.ndarray]:
    """Sorted int64 image indices of train, validation (10 % of the identities) and test (15 %).

    A split by character would put a twin, half of whose images are the same, on either side. As
    even different identities share a few images (a hidden weapon is not all that a frame can hide),
    an image that is also in test is left out of validation and of train, and one that is in
    validation out of train: no split has an image of another, to the bit. Raises `UserError` for
    fewer than six identities: each split needs two, to swap between.
    """
    count = sprites.n_identities
    if count < 6:
        raise UserError(
            f"{count} identities cannot be split into train, validation and test: give at least 6"
            " (12 characters)"
        )
    order = np.random.default_rng(seed).permutation(count)
    test, validation = max(2, round(0.15 * count)), max(2, round(0.10 * count))
    parts = {
        "test": order[:test],
        "validation": order[test : test + validation],
        "train": order[test + validation :],
    }
    identity, taken, split = sprites.identity, np.zeros(sprites.distinct.max() + 1, dtype=bool), {}
    for name, identities in parts.items():
        split[name] = np.flatnonzero(np.isin(identity, identities) & ~taken[sprites.distinct])
        taken[sprites.distinct[split[name]]] = True
    return {name: split[name] for name in ("train", "validation", "test")}


def save_sprites(sprites: Sprites) -> Path:
    """Writes `data/<source>.npz`, whole or not at all: zip at level 1, a third of the time of
    np.savez_compressed to load.
    """
    path = paths.DATA / f"{sprites.source}.npz"
    with (
        atomic_write(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as members,
    ):
        for field in dataclasses.fields(Sprites):
            with members.open(f"{field.name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(
                    member, np.asarray(getattr(sprites, field.name)), allow_pickle=False
                )
    return path


def load_sprites(source: str, fingerprint: str | None = None) -> Sprites:
    """What `save_sprites` wrote; raises `UserError` where it is missing, broken, or made from other
    than `fingerprint` says.
    """
    path, remedy = (
        stored_path(source),
        "run notebooks/01_create_sprites.ipynb or ./run_all.sh to create it",
    )
    try:
        with np.load(path, allow_pickle=False) as file:
            if fingerprint not in (None, str(file["fingerprint"])):
                raise UserError(f"{path} was made from something else: {remedy} again")
            values = {field.name: file[field.name] for field in dataclasses.fields(Sprites)}
        values |= {
            "fingerprint": str(values["fingerprint"]),
            "attributes": tuple(values["attributes"].tolist()),
        }
        sprites = Sprites(**{**values, "source": source})
        if str(values["source"]) != source or sprites.images.shape != (
            len(sprites.labels) * N_POSES,
            SIZE,
            SIZE,
            3,
        ):
            raise ValueError
    except FileNotFoundError:
        raise UserError(f"there is no {path} yet: {remedy}") from None
    except READ_ERRORS:
        raise UserError(f"{path} is damaged: remove it, then {remedy} again") from None
    return sprites


def stored_path(source: str) -> Path:
    """Where the sprites of a source are kept; raises `UserError` for an unknown source."""
    if source not in SOURCES:
        raise UserError(f"there is no source '{source}': choose one of {', '.join(SOURCES)}")
    return paths.DATA / f"{source}.npz"
