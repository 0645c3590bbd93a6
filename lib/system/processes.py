"""Processes that end with the one that started them, and what they may open."""

import contextlib
import multiprocessing.connection
import os
import resource
import signal
import threading
from collections.abc import Iterator

from lib.system.errors import UserError

OPEN_FILES = 1_024  # enough for kernels, their sockets and the workers that read an archive


def end_with_parent() -> None:
    """Initializes a worker of a pool: without this, workers wait when the parent is killed."""

    def watch() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes that start inside never see Ctrl-C, so they print no traceback of their own.

    This process sees it when the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def allow_open_files() -> None:
    """Lets this process and those that it starts open enough files.

    Raises: UserError where the system forbids it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES // 4:
        raise UserError(f"only {hard} files may be open at once: raise the limit (ulimit -n 1024)")
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
