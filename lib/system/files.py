"""Files that are complete or absent, caches, and work that one process does at a time."""

import contextlib
import fcntl
import glob
import json
import os
import platform
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lib.system.errors import ELSEWHERE, UserError

# what NumPy raises for a damaged .npz
READ_ERRORS = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A new file, which takes the name `path` when the block ends without an error.

    Until then it lies beside `path`, locked. Files that stopped processes left there are removed.
    Folders are made.

    Raises: UserError where the file cannot be written.
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        partial, file = _open_partial(path)
        with file:
            yield file
            file.flush()
            os.replace(partial, path)  # while it is locked
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): {ELSEWHERE}") from None
    finally:
        with contextlib.suppress(OSError):  # what could not be made need not be removed
            if partial:
                partial.unlink(missing_ok=True)


def _open_partial(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, whose lock says that a process is writing it."""
    while True:
        # Its number says nothing: processes of other containers and hosts may have the same one.
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        file = open(partial, "xb")
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_nlink:  # else it was removed before it was locked
            return partial, file
        file.close()


def _remove_left(path: Path) -> None:
    """Removes partial files of `path` that no process, on any host, is writing."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError), open(left, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write `content` atomically. Raises ValueError for a number that is not finite."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())


def read_json(path: Path, remedy: str) -> dict:
    """An object that `write_json` wrote. Raises UserError with the `remedy` where it is damaged."""
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged: {remedy}") from None
    return content


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz atomically. Only bytes, such as images, are compressed, and only lightly."""
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", compresslevel=1) as archive:
        for name, array in arrays.items():
            is_bytes = array.dtype == np.uint8
            archive.compression = zipfile.ZIP_DEFLATED if is_bytes else zipfile.ZIP_STORED
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_arrays(path: Path, stamp: str | None = None) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz; None where its member `stamp` is another. Loads no pickle.

    Raises: one of READ_ERRORS where the file is absent or damaged.
    """
    with np.load(path, allow_pickle=False) as stored:
        if stamp is not None and str(stored["stamp"]) != stamp:
            return None
        return {name: stored[name] for name in stored.files}


def cached(
    path: Path, stamp: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays that `path` holds for this stamp; else those of `make`, which are stored.

    One process makes them at a time. A damaged file counts as absent.
    """
    if (stored := _read_stored(path, stamp)) is not None:
        return stored
    with exclusive_lock(path, f"making {path}"):
        # another process may have made them meanwhile
        if (stored := _read_stored(path, stamp)) is not None:
            return stored
        arrays = {**make(), "stamp": np.array(stamp)}
        write_arrays(path, arrays)
        return arrays


def _read_stored(path: Path, stamp: str) -> dict[str, np.ndarray] | None:
    try:
        return read_arrays(path, stamp)
    except READ_ERRORS:
        return None


@contextlib.contextmanager
def exclusive_lock(path: Path, activity: str, remedy: str = "") -> Iterator[None]:
    """Holds the lock of `path`, a file beside it. The kernel frees it, however this process ends.

    Where another process holds it, this one waits or, with a `remedy`, raises UserError. Some
    network disks have no locks: a note says so, and the block runs without one.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "a+")
    except OSError as error:
        raise UserError(f"cannot write {lock} ({error.strerror}): {ELSEWHERE}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().removesuffix(f" on {platform.node()}") or "another process"
            if remedy:
                raise UserError(f"{owner} is {activity}: {remedy}") from None
            print(f"{owner} is {activity}: waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            print(
                f"{lock.parent} has no locks ({error.strerror}): make sure that nothing else there"
                f" is {activity}",
                flush=True,
            )
        with contextlib.suppress(OSError):  # on a full disk the owner stays unnamed
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
        yield
