"""Processes that end with the one that started them."""

import multiprocessing.connection
import os
import threading


def end_with_parent() -> None:
    """Initializes a worker of a pool: without this, workers wait when the parent is killed."""

    def watch() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
