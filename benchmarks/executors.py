"""Where the runs of a study are computed: on cores of this machine, or as jobs of a cluster.

A run is a function `work` of a training, which writes `outcome.json` into the run's folder, or ends
without one. While it trains, it may write `progress.json` there.
"""

import multiprocessing
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

import submitit
import torch
from tqdm import tqdm

from lib.config import HParams
from lib.system.errors import UserError
from lib.system.files import read_json
from lib.system.paths import run_dir
from lib.system.processes import end_with_parent, interrupts_blocked

OUTCOME = "outcome.json"
POLL_SECONDS, SHOWN_SECONDS = 2.0, 300.0  # from one look at the runs, one table to the next
MOST_JOBS = 1_000  # at once


class Training(Protocol):
    """What an executor knows of a run."""

    name: str  # of its folder
    hp: HParams


Work = Callable[[Training], None]


class Executor:
    """Starts runs, each followed by a thread of this process."""

    def __init__(self, work: Work, at_once: int) -> None:
        self.work, self.threads = work, ThreadPoolExecutor(at_once)
        self.running: dict[Training, object] = {}
        self.stopped = False

    def submit(self, training: Training) -> Future:
        """A future of the outcome: {failed: why}, or what the run wrote."""
        return self.threads.submit(self._follow, training)

    def _follow(self, training: Training) -> dict[str, object]:
        path = run_dir(training.name) / OUTCOME
        try:
            path.unlink(missing_ok=True)  # of an earlier call
            why = self._run(training)
            return read_json(path, "remove it") if path.exists() else {"failed": why}
        except Exception as error:  # the other runs go on
            return {"failed": f"{type(error).__name__}: {error}"}
        finally:
            self.running.pop(training, None)

    def _run(self, training: Training) -> str:
        """Returns, when the run has ended, how it ended."""
        raise NotImplementedError

    def stop(self) -> None:
        """End all runs that go on. Their checkpoints stay."""
        self.stopped = True
        self.threads.shutdown(wait=False, cancel_futures=True)


class LocalExecutor(Executor):
    """A process with one thread for each run."""

    def _run(self, training: Training) -> str:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_work_alone, args=(self.work, training), daemon=True)
        with interrupts_blocked():
            process.start()
        self.running[training] = process
        if self.stopped:  # in the meantime
            process.terminate()
        process.join()
        return f"its process ended with {process.exitcode}"

    def stop(self) -> None:
        super().stop()
        for process in list(self.running.values()):
            process.terminate()


def _work_alone(work: Work, training: Training) -> None:
    end_with_parent()
    torch.set_num_threads(1)
    work(training)


class ClusterExecutor(Executor):
    """A job for each run, through submitit. The folders of data and runs must be shared."""

    def __init__(
        self, work: Work, cluster: str, folder: Path, parameters: Mapping[str, object]
    ) -> None:
        super().__init__(work, MOST_JOBS)
        self.lock = Lock()
        try:
            self.jobs = submitit.AutoExecutor(folder, cluster=cluster)
            self.jobs.update_parameters(**{"name": "study", "timeout_min": 24 * 60, **parameters})
        except (RuntimeError, NameError, TypeError) as error:
            raise UserError(f"the cluster cannot be used: {error}") from None

    def _run(self, training: Training) -> str:
        with self.lock:  # submitit's executors are not made for threads
            if self.stopped:
                return "it was stopped"
            self.running[training] = job = self.jobs.submit(self.work, training)
        try:
            job.result()
        except Exception as error:  # submitit raises that of the job, or one of its own
            kind = type(error).__name__
            return f"its job {job.job_id} failed ({kind}): its log is in {self.jobs.folder}"
        return f"its job {job.job_id} ended without an outcome"

    def stop(self) -> None:
        super().stop()
        with self.lock:
            for job in list(self.running.values()):
                job.cancel()


class Progress(NamedTuple):
    """How far a run is."""

    images: int = 0
    seconds: float = 0.0


def progress_path(training: Training) -> Path:
    return run_dir(training.name) / "progress.json"


def read_progress(training: Training) -> Progress:
    path = progress_path(training)
    return Progress(**read_json(path, "remove it")) if path.exists() else Progress()


def run_all(
    trainings: Sequence[Training], executor: Executor, store: Callable[[Training, dict], None]
) -> dict[Training, str]:
    """Run the trainings, `store` the outcome of each at once, and show the progress.

    Returns: why each run failed that did.
    """
    futures = {executor.submit(training): training for training in trainings}
    pending, failed, shown = set(futures), {}, -SHOWN_SECONDS
    total = sum(training.hp.images_seen for training in trainings)
    look = dict(unit="image", unit_scale=True, dynamic_ncols=True, mininterval=5)
    with tqdm(total=total, desc="study", **look) as bar:
        try:
            while pending:
                done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    training, outcome = futures[future], future.result()
                    if "failed" in outcome:
                        failed[training] = outcome["failed"]
                    else:
                        store(training, outcome)
                if done or time.monotonic() - shown > SHOWN_SECONDS:
                    waiting = {futures[future] for future in pending} - set(executor.running)
                    bar.write(progress_table(trainings, executor.running, waiting, failed))
                    shown = time.monotonic()
                bar.update(sum(read_progress(training).images for training in trainings) - bar.n)
        finally:
            executor.stop()
    return failed


def progress_table(
    trainings: Sequence[Training],
    running: Collection[Training],
    waiting: Collection[Training],
    failed: Collection[Training],
) -> str:
    """A line for each run: its state and, while it trains, the minutes left."""
    lines = []
    for training in trainings:
        images, seconds = read_progress(training)
        state = "failed" if training in failed else "finished"
        state = "waiting" if training in waiting else state
        if training in running:
            left = training.hp.images_seen - images
            state = f"{images / training.hp.images_seen:4.0%}"
            state += f"  {left * seconds / images / 60:.0f} min left" if images else ""
            state = "measuring" if left <= 0 else state
        lines.append(f"{training.name:40s} {state}")
    return "\n".join(lines)
