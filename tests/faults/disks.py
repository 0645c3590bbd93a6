"""Small disks (tmpfs), to be filled or made read-only."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.place import Ended, check_refused

NO_SPACE = "No space left on device.*: free space"
READ_ONLY = r"cannot write .*\(Read-only file system\): free"


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of `size` at `path`, and a function that mounts it again with other options.

    Skips the test where mounting is refused.
    """
    path.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small disk takes root ({error})")
    try:
        yield lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", path], check=True
        )
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def check_full(ended: Ended) -> None:
    check_refused(ended, 1, NO_SPACE)


def check_read_only(ended: Ended) -> None:
    check_refused(ended, 1, READ_ONLY)
