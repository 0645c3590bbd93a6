"""Processes that end with the one that started them."""

import multiprocessing.connection
import os
import threading


def end_with_parent() -> None:
    """The initializer of a pool's processes: they end when what made them is killed, which would
    else leave them waiting.
    """

    def watch() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
