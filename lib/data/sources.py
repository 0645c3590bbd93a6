"""Where sprites come from: the published archive, found or downloaded, or code that draws them."""

import os
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

import numpy as np

from lib.data import drawn
from lib.data.archive import ARCHIVE, archive_files, archive_stamp, read_archive
from lib.data.sprites import (
    N_POSES,
    Sprites,
    arrays_to_sprites,
    load_sprites,
    sprites_to_arrays,
    stored_path,
)
from lib.system import paths
from lib.system.download import download
from lib.system.errors import UserError
from lib.system.files import cached

MIRRORS = (
    f"http://www-personal.umich.edu/~reedscot/files/{ARCHIVE}",
    f"http://www.scottreed.info/files/{ARCHIVE}",
)


def create_sprites(
    source: str, archive: str | Path | None = None, progress: bool = True
) -> Sprites:
    """The sprites of a source, stored in `data/<source>.npz` until their source changes.

    Source "drawn" is drawn by code. Source "sprites" is read from the archive (`find_archive`);
    where it was put away, the stored sprites count. Nothing is downloaded.

    Raises: UserError where there is neither an archive nor a stored copy.
    """
    path = stored_path(source)
    if source == "drawn":
        return _stored(path, drawn.FINGERPRINT, lambda: drawn.draw_sprites(progress))
    found = find_archive(archive)
    if found is not None:
        stamp = archive_stamp(archive_files(found))
        return _stored(path, stamp, lambda: read_archive(found, progress))
    if path.exists():
        return load_sprites(source)
    raise UserError(
        f"there are no 2D Sprites here: give --archive PATH ({ARCHIVE} or its extracted folder),"
        f" put it into {paths.DATA / 'raw'}, or fetch it with --download"
    )


def _stored(path: Path, stamp: str, make: Callable[[], Sprites]) -> Sprites:
    arrays = cached(path, stamp, lambda: sprites_to_arrays(make()))
    try:
        return arrays_to_sprites(arrays)
    except (KeyError, ValueError):
        raise UserError(f"{path} is damaged: remove it, then run the same command again") from None


def exchanged_images(
    sprites: Sprites, labels: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 60, 60, 3) uint8: characters with the attribute values `labels` (n, L) in a pose (n,).

    Source "drawn" draws every character. Source "sprites" has those of the archive: the others are
    black. Also (n,) bool: which exist.
    """
    if sprites.source == "drawn":
        return drawn.draw_images(labels, pose), np.ones(len(labels), dtype=bool)
    number = {tuple(label): c for c, label in enumerate(sprites.labels.tolist())}
    character = np.array([number.get(tuple(label), -1) for label in labels.tolist()], dtype=int)
    exists = character >= 0
    images = sprites.images[character * N_POSES + pose]
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


def download_archive(
    mirrors: Sequence[str] = MIRRORS, progress: bool = True, timeout: float = 30
) -> Path:
    """Download the archive to `data/raw` from the first mirror that works.

    `create_sprites` checks its content when it reads it.

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
