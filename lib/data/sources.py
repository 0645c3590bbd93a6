"""Where images come from: the published archive, found or downloaded, or code that draws them."""

import os
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

import numpy as np

from lib.data import digits, drawn, mnist
from lib.data import folder as folders
from lib.data.archive import ARCHIVE, archive_files, archive_stamp, read_archive
from lib.data.image_set import UNKNOWN, ImageSet
from lib.data.stored import DIGIT_SOURCES, load_images, store_images, stored_path
from lib.system import paths
from lib.system.download import download
from lib.system.errors import UserError

NO_FOLDER: Mapping[str, object] = {}
ABSENT = {
    "sprites": (
        f"there are no 2D Sprites here: give --archive PATH ({ARCHIVE} or its extracted folder),"
        " put it into {raw}, or fetch it with --download"
    ),
    "mnist": "MNIST is not in {raw}: fetch it with --download, or put its four files there",
}
MIRRORS = (
    f"http://www-personal.umich.edu/~reedscot/files/{ARCHIVE}",
    f"http://www.scottreed.info/files/{ARCHIVE}",
)


def create_images(
    source: str,
    archive: str | Path | None = None,
    folder: Mapping[str, object] = NO_FOLDER,
    progress: bool = True,
) -> ImageSet:
    """The images of a source, stored in `data/<source>.npz` until their source changes.

    Source "drawn" is drawn by code. Source "sprites" is read from the archive (`find_archive`);
    where it was put away, the stored sprites count. Source "folder" is a folder of the user: the
    arguments of `lib.data.folder.read_folder`. Nothing is downloaded.

    Raises: UserError where the images are neither present nor stored.
    """
    name = stored_name(source, folder)
    if source == "folder":
        stamp = folders.folder_stamp(**folder)
        return store_images(name, stamp, lambda: folders.read_folder(**folder, progress=progress))
    if source == "drawn":
        return store_images(name, drawn.FINGERPRINT, lambda: drawn.draw_sprites(progress))
    if source == "digits":
        return store_images(name, digits.DIGITS_STAMP, digits.read_digits)
    if source == "mnist":
        found, read, stamp_of = mnist.find_mnist(), mnist.read_mnist, mnist.mnist_stamp
    else:
        found, read = find_archive(archive), read_archive
        stamp_of = lambda path: archive_stamp(archive_files(path))  # noqa: E731
    if found is not None:
        return store_images(name, stamp_of(found), lambda: read(found, progress))
    if stored_path(name).exists():
        return load_images(name)
    raise UserError(ABSENT[source].format(raw=paths.DATA / "raw"))


def stored_name(source: str, folder: Mapping[str, object] = NO_FOLDER) -> str:
    """The name that `load_images` knows the images by.

    Raises: UserError for an unknown source, and where a folder is missing or not asked for.
    """
    if source == "folder" and "path" not in folder:
        raise UserError("source 'folder' needs the path of your images: give --images PATH")
    if source != "folder" and folder:
        raise UserError(f"source '{source}' takes no folder of images: choose source 'folder'")
    stored_path(source)
    return folders.folder_source(**folder) if source == "folder" else source


def exchanged_images(
    dataset: ImageSet, labels: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, H, H, 3) uint8: characters with the attribute values `labels` (n, L) in a pose (n,).

    Source "drawn" draws every character. Other sources have some: the others are black. Also (n,)
    bool: which exist.
    """
    if dataset.source == "drawn":
        return drawn.draw_images(labels, pose), np.ones(len(labels), dtype=bool)
    number = {tuple(label): c for c, label in enumerate(dataset.labels.tolist())}
    character = np.array([number.get(tuple(label), UNKNOWN) for label in labels.tolist()], int)
    index = np.where(character == UNKNOWN, UNKNOWN, dataset.image_at(character, pose))
    exists = index != UNKNOWN
    images = dataset.images[index]
    images[~exists] = 0
    return images, exists


def find_archive(archive: str | Path | None = None) -> Path | None:
    """`archive`, else $CYCLE_VAE_ARCHIVE, else `data/raw` if it holds one, else None."""
    if named := archive or os.environ.get("CYCLE_VAE_ARCHIVE"):
        return Path(named)
    raw = paths.DATA / "raw"
    return raw if raw.exists() and archive_files(raw) else None


def default_source(archive: str | Path | None = None) -> str:
    """ "sprites" where an archive or its stored copy is present, else "drawn"."""
    return "sprites" if find_archive(archive) or stored_path("sprites").exists() else "drawn"


def default_split(source: str) -> str:
    """ "image" for sources of a few characters, all of which are seen in training."""
    return "image" if source in DIGIT_SOURCES else "identity"


def download_archive(
    mirrors: Sequence[str] = MIRRORS, progress: bool = True, timeout: float = 30
) -> Path:
    """Download the archive to `data/raw` from the first mirror that works.

    `create_images` checks its content when it reads it.

    Raises: UserError that says why each mirror failed.
    """
    target, failures = paths.DATA / "raw" / ARCHIVE, []
    target.parent.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors:
        if not target.exists():
            try:
                download(mirror, target, progress, timeout)
            except (OSError, HTTPException, ValueError) as error:
                failures.append(f"{mirror} failed ({error})")
    if not target.exists():
        raise UserError(
            f"{' and '.join(failures)}: try again to go on from there, or put a copy into"
            f" {target.parent}"
        )
    return target
