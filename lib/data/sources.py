"""Where sprites come from: the published archive, found or downloaded, or drawn by code."""

import dataclasses
import os
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from lib.data import drawn
from lib.data.archive import ARCHIVE, _archive_files, _fingerprint, read_archive
from lib.data.sprites import Sprites, load_sprites, save_sprites, stored_path
from lib.system import paths
from lib.system.download import _fetch
from lib.system.errors import UserError
from lib.system.files import exclusive_lock

MIRRORS = (
    f"http://www-personal.umich.edu/~reedscot/files/{ARCHIVE}",
    f"http://www.scottreed.info/files/{ARCHIVE}",
)


def create_sprites(
    source: str, archive: str | Path | None = None, progress: bool = True
) -> Sprites:
    """The sprites of a source, from `data/<source>.npz` as long as what it was made from did not
    change, else made anew.

    `source` is "sprites" (see `find_archive`) or "drawn"; an archive is never downloaded here.
    """
    path = stored_path(source)
    if source == "drawn":
        fingerprint = drawn.FINGERPRINT
    else:
        found = find_archive(archive)
        if found is None and path.exists():
            return load_sprites(source)
        if found is None:
            raise UserError(
                f"there are no 2D Sprites here: give --archive PATH ({ARCHIVE} or its extracted"
                f" folder), put it into {paths.DATA / 'raw'}, or fetch it with --download"
            )
        fingerprint = _fingerprint(_archive_files(found))
    with exclusive_lock(path, f"making {path}"):
        try:
            return load_sprites(source, fingerprint)
        except UserError:  # missing, outdated or damaged: made anew
            sprites = (
                drawn.draw_sprites(progress) if source == "drawn" else read_archive(found, progress)
            )
        sprites = dataclasses.replace(sprites, fingerprint=fingerprint)
        save_sprites(sprites)
    return sprites


def find_archive(archive: str | Path | None = None) -> Path | None:
    """The archive given, else that of $CYCLE_VAE_ARCHIVE (both unchecked), else `data/raw` or None
    where it holds none.
    """
    if named := archive or os.environ.get("CYCLE_VAE_ARCHIVE"):
        return Path(named)
    raw = paths.DATA / "raw"
    return raw if raw.exists() and _archive_files(raw) else None


def default_source(archive: str | Path | None = None) -> str:
    """The source "sprites" where an archive, or `data/sprites.npz` made from one, is present, else
    "drawn".
    """
    return "sprites" if find_archive(archive) or stored_path("sprites").exists() else "drawn"


def download_archive(
    mirrors: Sequence[str] = MIRRORS, progress: bool = True, timeout: float = 30
) -> Path:
    """Fetches the archive to `data/raw`, from the first mirror that has it; an interrupted download
    goes on where it stopped.

    Raises `UserError` naming what each mirror failed with. What arrived is checked by reading it
    (`create_sprites`).
    """
    target, failures = paths.DATA / "raw" / ARCHIVE, []
    target.parent.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors:
        if not target.exists():
            try:
                _fetch(mirror, target, progress, timeout)
            except (OSError, HTTPException, ValueError) as error:
                failures.append(f"{mirror} failed ({error})")
    if not target.exists():
        raise UserError(
            f"{' and '.join(failures)}: try again to go on from there, or put a copy into"
            f" {target.parent}"
        )
    return target
