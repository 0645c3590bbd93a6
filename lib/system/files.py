"""Files that are whole or not there, and work that one process does at a time."""

import contextlib
import fcntl
import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lib.system.errors import ELSEWHERE, UserError


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A new file to write, which takes the name `path` when the block ends; a block that fails
    leaves what was there.

    Until then it lies beside `path`, named after this process; what killed processes left so is
    removed. Folders are made. Raises `UserError` where the file cannot be written: no space, no
    permission, a folder of that name.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
            if not _alive(left.suffixes[-2][1:]):
                left.unlink(missing_ok=True)
        with open(beside, "wb") as file:
            yield file
        os.replace(beside, path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): {ELSEWHERE}") from None
    finally:
        with contextlib.suppress(OSError):  # where it could not be made, it need not be removed
            beside.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write `content`, whole or not at all; numbers must be finite, else it raises `ValueError`.
    Raises `UserError` as `written`.
    """
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())


def read_json(path: Path, remedy: str) -> dict:
    """What `write_json` wrote. Raises `UserError` that says `remedy` where it is no such object."""
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged: {remedy}") from None
    return content


@contextlib.contextmanager
def exclusive_lock(path: Path, what: str, remedy: str = "") -> Iterator[None]:
    """Holds the lock of `path`, a file beside it, while the block runs; the kernel lets go of it
    whatever ends this process.

    Where another process holds it, raises `UserError` naming that process, `what` it does and the
    `remedy`; without one, waits. Where the disk has no locks, as some of a network, it says so and
    goes on.
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
            owner = file.read() or "another process"
            if remedy:
                raise UserError(f"{owner} is {what}: {remedy}") from None
            print(f"{owner} is {what}: waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            print(
                f"{lock.parent} has no locks ({error.strerror}): see that nothing else there is"
                f" {what}",
                flush=True,
            )
        with contextlib.suppress(OSError):  # on a full disk the owner has no name
            file.truncate(0)
            file.write(f"process {os.getpid()}")
            file.flush()
        yield


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
