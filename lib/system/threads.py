"""Independent work on all cores."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

Item, Result = TypeVar("Item"), TypeVar("Result")


def on_all_cores(
    work: Callable[[Item], Result], items: Sequence[Item], description: str, unit: str
) -> list[Result]:
    """[work(item) for each of the items], in a thread of each core, with a progress bar.

    Each thread computes on one core, because a small matrix product gains little from a second one.
    `work` may not use the random generator that torch shares among threads.
    """
    cores = torch.get_num_threads()
    with threadpool_limits(1):  # sets back what the threads limit for all
        pool = ThreadPoolExecutor(cores, initializer=_use_one_core)
        try:
            results = pool.map(work, items)
            return list(tqdm(results, description, len(items), unit=unit, dynamic_ncols=True))
        finally:
            pool.shutdown(cancel_futures=True)


def _use_one_core() -> None:
    torch.get_num_threads()  # torch sets a thread up when it is first used there
    threadpool_limits(1)
