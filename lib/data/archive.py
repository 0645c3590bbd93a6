"""The published archive of 2D Sprites, read without unpacking it."""

import hashlib
import io
import itertools
import json
import lzma
import multiprocessing
import os
import re
import sys
import tarfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from tqdm import tqdm

from lib.data.sprites import ANIMATIONS, N_POSES, SIZE, Sprites, distinct_images
from lib.system.errors import UserError
from lib.system.processes import end_with_parent

ATTRIBUTES = (
    "body",
    "skin",
    "torso",
    "hair",
    "arms",
    "legs",
    "weapon",
)  # of the archive; hair is style and colour in one


# (672, 7): the archive's `sprite_large_labels.txt`, by which a file under a wrong number is found
LABELS = np.array(
    [
        (body, *rest)
        for body, hair in enumerate(((0, 1, 4), (2, 3, 4, 5)))
        for rest in itertools.product(range(4), range(3), hair, range(2), range(2), range(2))
    ],
    dtype=np.uint8,
)
CHARACTERS = len(LABELS)


PUBLISHED_SHA256 = (  # of the images of all characters
    "ea4a05385d2a06860c569fa941ed9ed5a2bc630b26f7cc76bfd863ace4fbdd98"
)
CHARACTER_FILE = re.compile(r"sprites_(0|[1-9]\d*)\.mat")
ARCHIVE = "nips2015-analogy-data.tar.gz"


def read_archive(path: str | Path, progress: bool = True, workers: int | None = None) -> Sprites:
    """The sprites of the published tar (streamed, never unpacked to disk) or of a folder with its
    extracted `data/sprites`.

    Missing characters are noted on stderr and the rest is used. Raises `UserError` naming the first
    file that is truncated, renamed or foreign. More than one worker means processes of the `spawn`
    kind, which are safe beside torch's threads but need `if __name__ == "__main__":` around the
    call in a script.
    """
    path, names, strays, pending = Path(path), {}, [], deque()
    files = _archive_files(path)
    images = np.empty(
        (CHARACTERS, N_POSES, SIZE, SIZE, 3), dtype=np.uint8
    )  # pages of missing characters never take memory
    workers = workers or min(8, os.cpu_count() or 1)
    with (
        (
            ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), end_with_parent)
            if workers > 1
            else ThreadPoolExecutor(1)
        ) as pool,
        tqdm(
            total=CHARACTERS, desc="reading the archive", unit=" characters", disable=not progress
        ) as bar,
    ):

        def collect(leave: int) -> None:
            while len(pending) > leave:
                number, future = pending.popleft()
                images[number] = future.result()
                bar.update()

        for name, content in _members(files):
            match = CHARACTER_FILE.fullmatch(PurePosixPath(name).name)
            if match is None or int(match[1]) >= CHARACTERS:
                strays.append(name)
                continue
            if other := names.get(int(match[1])):
                raise UserError(
                    f"{path} holds character {match[1]} twice, as {other} and {name}: remove one of"
                    " them"
                )
            names[int(match[1])] = name
            pending.append(
                (int(match[1]), pool.submit(_read_character, int(match[1]), name, content))
            )
            collect(
                leave=4 * workers
            )  # a few ahead, so that a tar is not read into memory faster than it is worked off
        collect(leave=0)
    if not names:
        raise UserError(
            f"{path} holds no sprites_0.mat, sprites_1.mat, ...: give {ARCHIVE} or its extracted"
            " folder"
        )
    missing = [f"sprites_{number}.mat" for number in range(CHARACTERS) if number not in names]
    for what, found in (
        (f"of {CHARACTERS} characters missing", missing),
        ("files with a foreign name ignored", strays),
    ):
        if found:
            print(
                f"note: {path}: {len(found)} {what}"
                f" ({', '.join(found[:4])}{', ...' * (len(found) > 4)})",
                file=sys.stderr,
            )
    numbers = np.array(sorted(names))
    for row, number in enumerate(
        numbers
    ):  # in place, as number >= row: a second array would cost 1.3 GB
        images[row] = images[number]
    flat = images[: len(numbers)].reshape(-1, SIZE, SIZE, 3)
    return Sprites(
        "sprites",
        flat,
        LABELS[numbers],
        ATTRIBUTES,
        numbers,
        distinct_images(flat),
        _fingerprint(files),
    )


def _archive_files(path: Path) -> list[Path]:
    """[tar], or the files of the shallowest folder in `path` with characters, sorted; empty where
    there is neither.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise UserError(
            f"there is no {path}: give {ARCHIVE} or the folder that it was extracted to"
        )
    for depth in range(4):
        files = sorted(path.glob("*/" * depth + "sprites_*.mat"))
        folders = sorted({file.parent for file in files if CHARACTER_FILE.fullmatch(file.name)})
        if len(folders) > 1:
            raise UserError(
                f"{path} holds sprites in {folders[0]} and in {folders[1]}: give one of them"
            )
        if folders:
            return [file for file in files if file.parent == folders[0]]
    return sorted(
        file for pattern in ("*.tar", "*.tar.gz", "*.tgz") for file in path.glob(pattern)
    )[:1]


def _members(files: Sequence[Path]) -> Iterator[tuple[str, Path | bytes]]:
    """Name and content (a path to it, or of a tar the bytes) of each file sprites_*.mat but for the
    published splits.
    """
    if all(file.suffix == ".mat" for file in files):
        yield from ((str(file), file) for file in files if file.name != "sprites_splits.mat")
        return
    count = 0
    try:
        with tarfile.open(files[0], "r|*") as tar:
            for member in tar:
                count += 1
                if member.isfile() and re.search(
                    r"(^|/)sprites_(?!splits)[^/]*\.mat$", member.name
                ):
                    yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError):
        what = f"breaks off after {count} files" if count else "is no tar file"
        raise UserError(
            f"{files[0]} {what}: remove it and download {ARCHIVE} again, or give the folder that it"
            " was extracted to"
        ) from None


def _read_character(number: int, name: str, content: Path | bytes) -> np.ndarray:
    """Images (178, 60, 60, 3) uint8 of one .mat file; raises `UserError` for one that is not that
    character's.
    """

    def fault(what: str) -> UserError:
        return UserError(
            f"{name} {what}: extract it again from {ARCHIVE}, or remove it to do without this"
            " character"
        )

    try:
        data = content if isinstance(content, bytes) else content.read_bytes()
    except OSError as error:
        raise fault(f"cannot be read ({error.strerror})") from None
    if b"\x89HDF\r\n\x1a\n" not in data[:1024]:
        what = (
            "a MATLAB 5 file instead of MATLAB 7.3"
            if data.startswith(b"MATLAB 5")
            else "no MATLAB 7.3 (HDF5) file"
        )
        raise fault(f"is {what}" if data else "is empty")
    images, start = np.empty((N_POSES, SIZE, SIZE, 3), dtype=np.uint8), 0
    try:
        with h5py.File(io.BytesIO(data), "r") as file, np.errstate(invalid="ignore"):
            if lacking := [
                key for key in ("sprites", "labels") if not isinstance(file.get(key), h5py.Dataset)
            ]:
                raise fault(f"lacks '{lacking[0]}'")
            labels = file["labels"][()].ravel().tolist()
            cells = file["sprites"][()].ravel()
            if file["sprites"].dtype != h5py.ref_dtype or len(cells) != len(ANIMATIONS):
                raise fault(
                    f"holds {len(cells)} {file['sprites'].dtype} as 'sprites' instead of"
                    f" {len(ANIMATIONS)} cells"
                )
            for cell, (action, view, frames) in zip(
                cells, ANIMATIONS, strict=True
            ):  # each alone: small arrays stay in cache
                rows = file[cell][()]
                if rows.shape != (frames, 3 * SIZE * SIZE) or rows.dtype.kind != "f":
                    raise fault(
                        f"holds {action} {view} as {rows.dtype} {rows.shape}, not float ({frames},"
                        f" {3 * SIZE * SIZE})"
                    )
                rows *= 255
                levels = np.rint(rows)
                rows -= levels
                if not (
                    max(-rows.min(), rows.max()) < 1e-3
                    and levels.min() >= 0
                    and levels.max() <= 255
                ):  # nor NaN
                    raise fault(
                        "holds pixels that are not k/255 for a whole k from 0 to 255, which uint8"
                        " would round"
                    )
                if not levels.any(
                    axis=1
                ).all():  # what HDF5 gives for a piece of a file that was never written
                    raise fault(f"holds {action} {view} with an image of nothing")
                planes = levels.astype(np.uint8).reshape(
                    frames, 3, SIZE, SIZE
                )  # a row is (60, 60, 3) in Fortran order
                for channel in range(3):  # a tenth of the time of one transpose(0, 3, 2, 1)
                    images[start : start + frames, :, :, channel] = planes[:, channel].transpose(
                        0, 2, 1
                    )
                start += frames
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        raise fault("is truncated or damaged") from None
    if labels != LABELS[number].tolist():
        raise fault(
            f"is renamed or foreign, for it has the labels {labels}, not {LABELS[number].tolist()}"
        )
    return images


def _fingerprint(files: Sequence[Path]) -> str:
    """What the sprites of an archive were made from: names, sizes and times of its files, and how
    they were read.
    """
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    return (
        "archive "
        + hashlib.sha256(json.dumps([stats, ANIMATIONS, ATTRIBUTES]).encode()).hexdigest()
    )
