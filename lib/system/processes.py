"""Processes that end with the one that started them."""

import contextlib
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator


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
