"""Image sets as files, `data/<source>.npz`."""

import re
from collections.abc import Callable
from pathlib import Path

from lib.data.image_set import ImageSet, from_arrays, to_arrays
from lib.system import paths
from lib.system.errors import UserError
from lib.system.files import READ_ERRORS, cached, read_arrays

SPRITE_SOURCES = ("sprites", "drawn")  # all characters have the same poses
DIGIT_SOURCES = ("digits", "mnist")  # ten characters, without known poses
SOURCES = (*SPRITE_SOURCES, *DIGIT_SOURCES, "folder")
FOLDER_SOURCE = re.compile(r"folder-[a-z0-9-]+")  # one for each folder and way to read it
FORMAT = 2  # raised when files have other arrays: they are then made again


def stored_path(source: str) -> Path:
    """`data/<source>.npz`. Raises UserError for an unknown source."""
    if source not in SOURCES and not FOLDER_SOURCE.fullmatch(source):
        raise UserError(f"there is no source '{source}': choose one of {', '.join(SOURCES)}")
    return paths.DATA / f"{source}.npz"


def load_images(source: str) -> ImageSet:
    """The images in `data/<source>.npz`. Raises UserError where they are absent or damaged."""
    path = stored_path(source)
    remedy = "run notebooks/01_create_sprites.ipynb or ./run_all.sh to create it"
    try:
        dataset = from_arrays(read_arrays(path))
        if dataset.source != source:
            raise ValueError
    except FileNotFoundError:
        raise UserError(f"there is no {path} yet: {remedy}") from None
    except READ_ERRORS:
        raise _damaged(path, f"{remedy} again") from None
    return dataset


def store_images(source: str, stamp: str, make: Callable[[], ImageSet]) -> ImageSet:
    """The images that are stored for this stamp; else those of `make`, which are stored."""
    path = stored_path(source)
    arrays = cached(path, f"format {FORMAT}, {stamp}", lambda: to_arrays(make()))
    try:
        return from_arrays(arrays)
    except READ_ERRORS:
        raise _damaged(path, "run the same command again") from None


def _damaged(path: Path, remedy: str) -> UserError:
    return UserError(f"{path} is damaged or of another version: remove it, then {remedy}")
