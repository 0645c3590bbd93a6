"""The published archive of 2D Sprites, read without unpacking it."""

import contextlib
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
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from tqdm import tqdm

from lib.data.image_set import ImageSet
from lib.data.sprites import ANIMATIONS, N_POSES, SIZE, sprite_set
from lib.system.errors import UserError
from lib.system.processes import end_with_parent, interrupts_blocked

ATTRIBUTES = ("body", "skin", "torso", "hair", "arms", "legs", "weapon")
# (672, 7): `sprite_large_labels.txt` of the archive; a file under a wrong number has other labels
LABELS = np.array(
    [
        (body, *rest)
        for body, hair in enumerate(((0, 1, 4), (2, 3, 4, 5)))
        for rest in itertools.product(range(4), range(3), hair, range(2), range(2), range(2))
    ],
    dtype=np.uint8,
)
CHARACTERS = len(LABELS)
# SHA-256 of the images of all characters
PUBLISHED_SHA256 = "ea4a05385d2a06860c569fa941ed9ed5a2bc630b26f7cc76bfd863ace4fbdd98"
CHARACTER_FILE = re.compile(r"sprites_(0|[1-9]\d*)\.mat")
ARCHIVE = "nips2015-analogy-data.tar.gz"


def read_archive(path: str | Path, progress: bool = True, workers: int | None = None) -> ImageSet:
    """The sprites of the published tar, or of a folder with its extracted `data/sprites`.

    The tar is streamed and never unpacked. Missing characters are noted on stderr. More than one
    worker means processes of kind `spawn`, which are safe beside torch's threads. A script then
    needs `if __name__ == "__main__":` around the call.

    Raises: UserError that names the first file that is damaged, renamed or foreign.
    """
    path = Path(path)
    files = archive_files(path)
    # pages of missing characters never take memory
    images = np.empty((CHARACTERS, N_POSES, SIZE, SIZE, 3), dtype=np.uint8)
    workers = workers or min(8, os.cpu_count() or 1)
    names, foreign = _read_characters(path, files, images, workers, progress)
    if not names:
        raise UserError(
            f"{path} holds no sprites_0.mat, sprites_1.mat, ...: give {ARCHIVE} or its extracted"
            " folder"
        )
    missing = [f"sprites_{number}.mat" for number in range(CHARACTERS) if number not in names]
    _note(path, f"of {CHARACTERS} characters missing", missing)
    _note(path, "files with a foreign name ignored", foreign)

    numbers = np.array(sorted(names))
    for row, number in enumerate(numbers):  # in place (number >= row): a copy would take 1.3 GB
        images[row] = images[number]
    flat = images[: len(numbers)].reshape(-1, SIZE, SIZE, 3)
    fingerprint = f"archive {hashlib.sha256(flat).hexdigest()}"
    return sprite_set("sprites", flat, LABELS[numbers], ATTRIBUTES, numbers, fingerprint)


def _read_characters(
    path: Path, files: list[Path], images: np.ndarray, workers: int, progress: bool
) -> tuple[dict[int, str], list[str]]:
    """Fills `images`; returns the file name of each character, and the names of other files."""
    names, foreign, pending = {}, [], deque()
    executor = _make_executor(workers)
    bar = tqdm(
        total=CHARACTERS, desc="reading the archive", unit=" characters", disable=not progress
    )

    def collect(leave: int) -> None:
        while len(pending) > leave:
            number, future = pending.popleft()
            images[number] = future.result()
            bar.update()

    with executor, bar:
        for name, content in _members(files):
            match = CHARACTER_FILE.fullmatch(PurePosixPath(name).name)
            if match is None or int(match[1]) >= CHARACTERS:
                foreign.append(name)
                continue
            number = int(match[1])
            if other := names.get(number):
                raise UserError(
                    f"{path} holds character {number} twice, as {other} and {name}: remove one of"
                    " them"
                )
            names[number] = name
            with interrupts_blocked():  # submit may start a worker
                task = executor.submit(_read_character, number, name, content)
            pending.append((number, task))
            collect(leave=4 * workers)  # a tar must not fill the memory faster than it is read
        collect(leave=0)
    return names, foreign


def _make_executor(workers: int) -> Executor:
    if workers > 1:
        context = multiprocessing.get_context("spawn")
        # Some systems have no semaphores, for want of /dev/shm.
        with contextlib.suppress(OSError, ImportError):
            return ProcessPoolExecutor(workers, context, end_with_parent)
    return ThreadPoolExecutor(1)


def _note(path: Path, fault: str, names: list[str]) -> None:
    if names:
        shown = ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])])
        print(f"note: {path}: {len(names)} {fault} ({shown})", file=sys.stderr)


def archive_files(path: Path) -> list[Path]:
    """The .mat files of the shallowest folder in `path` with characters, else [its tar], else [].

    Raises: UserError where `path` does not exist, or where two folders have characters.
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
    tars = (file for pattern in ("*.tar", "*.tar.gz", "*.tgz") for file in path.glob(pattern))
    return sorted(tars)[:1]


def archive_stamp(files: Sequence[Path]) -> str:
    """Changes with the names, sizes and times of the files, and with how they are read.

    While it is the same, the archive need not be read again.
    """
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    described = json.dumps([stats, ANIMATIONS, ATTRIBUTES])
    return hashlib.sha256(described.encode()).hexdigest()


def _members(files: Sequence[Path]) -> Iterator[tuple[str, Path | bytes]]:
    """Name and content (a path or bytes) of each sprites_*.mat, without the published splits."""
    if all(file.suffix == ".mat" for file in files):
        yield from ((str(file), file) for file in files if file.name != "sprites_splits.mat")
        return
    pattern, count = re.compile(r"(^|/)sprites_(?!splits)[^/]*\.mat$"), 0
    try:
        with tarfile.open(files[0], "r|*") as tar:
            for member in tar:
                count += 1
                if member.isfile() and pattern.search(member.name):
                    yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError):
        fault = f"breaks off after {count} files" if count else "is no tar file"
        raise UserError(
            f"{files[0]} {fault}: remove it and download {ARCHIVE} again, or give the folder that"
            " it was extracted to"
        ) from None


def _read_character(number: int, name: str, content: Path | bytes) -> np.ndarray:
    """(N_POSES, 60, 60, 3) uint8, the images of one .mat file.

    Raises: UserError for a file that is damaged, or not of this character.
    """
    try:
        data = content if isinstance(content, bytes) else content.read_bytes()
    except OSError as error:
        raise _bad_file(name, f"cannot be read ({error.strerror})") from None
    if not data:
        raise _bad_file(name, "is empty")
    if b"\x89HDF\r\n\x1a\n" not in data[:1024]:
        is_matlab_5 = data.startswith(b"MATLAB 5")
        found = (
            "a MATLAB 5 file instead of MATLAB 7.3" if is_matlab_5 else "no MATLAB 7.3 (HDF5) file"
        )
        raise _bad_file(name, f"is {found}")
    try:
        with h5py.File(io.BytesIO(data), "r") as file, np.errstate(invalid="ignore"):
            for key in ("sprites", "labels"):
                if not isinstance(file.get(key), h5py.Dataset):
                    raise _bad_file(name, f"lacks '{key}'")
            labels = file["labels"][()].ravel().tolist()
            images = _read_images(name, file)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        raise _bad_file(name, "is truncated or damaged") from None
    if labels != LABELS[number].tolist():
        raise _bad_file(
            name,
            f"is renamed or foreign, for it has the labels {labels}, not {LABELS[number].tolist()}",
        )
    return images


def _read_images(name: str, file: h5py.File) -> np.ndarray:
    cells = file["sprites"][()].ravel()
    if file["sprites"].dtype != h5py.ref_dtype or len(cells) != len(ANIMATIONS):
        raise _bad_file(
            name,
            f"holds {len(cells)} {file['sprites'].dtype} as 'sprites' instead of"
            f" {len(ANIMATIONS)} cells",
        )
    images, start = np.empty((N_POSES, SIZE, SIZE, 3), dtype=np.uint8), 0
    for cell, (action, view, frames) in zip(cells, ANIMATIONS, strict=True):
        rows = file[cell][()]
        if rows.shape != (frames, 3 * SIZE * SIZE) or rows.dtype.kind != "f":
            raise _bad_file(
                name,
                f"holds {action} {view} as {rows.dtype} {rows.shape}, not float ({frames},"
                f" {3 * SIZE * SIZE})",
            )
        levels = _read_levels(name, rows)
        if not levels.any(axis=1).all():  # HDF5 gives 0 for a piece that was never written
            raise _bad_file(name, f"holds {action} {view} with an empty image")
        planes = levels.reshape(frames, 3, SIZE, SIZE)  # a row is (60, 60, 3) in Fortran order
        for channel in range(3):  # a tenth of the time of one transpose(0, 3, 2, 1)
            target = images[start : start + frames, :, :, channel]
            target[:] = planes[:, channel].transpose(0, 2, 1)
        start += frames
    return images


def _read_levels(name: str, rows: np.ndarray) -> np.ndarray:
    """Values k/255 as the uint8 k. Overwrites `rows`."""
    rows *= 255
    levels = np.rint(rows)
    rows -= levels
    is_exact = max(-rows.min(), rows.max()) < 1e-3  # false for NaN
    if not (is_exact and levels.min() >= 0 and levels.max() <= 255):
        raise _bad_file(
            name, "holds pixels that are not k/255 for a whole k from 0 to 255, which uint8 rounds"
        )
    return levels.astype(np.uint8)


def _bad_file(name: str, fault: str) -> UserError:
    return UserError(
        f"{name} {fault}: extract it again from {ARCHIVE}, or remove it to do without this"
        " character"
    )
