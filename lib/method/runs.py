"""A run: one training, its files model.pt and checkpoint.pt, its progress bar and history."""

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lib.config import HParams
from lib.data.image_set import ImageSet
from lib.method.networks import PUBLISHED_SIZE, CycleVAE
from lib.method.parallel import Share, mean_over_processes
from lib.method.rivals.learner import Parts
from lib.method.schedules import learning_rate
from lib.system import paths
from lib.system.errors import UserError
from lib.system.files import atomic_write, exclusive_lock
from lib.system.paths import run_dir

CHECKPOINT_SECONDS = 30
LOGGED_POINTS = 200  # rows of the history, at least
LOGGED_STEPS = 250  # steps from one row to the next, at most: a checkpoint may be due there
MONITORED_POINTS = 20  # rows in which the model is measured

Monitor = Callable[[CycleVAE], dict[str, float]]
OnLog = Callable[[dict[str, float]], None]


@dataclass
class Run:
    """A training, finished or not: its settings, its model and its history."""

    name: str
    source: str
    preset: str
    seed: int
    hp: HParams
    model: CycleVAE
    data: str  # fingerprint of the training images
    split: str = "identity"  # see `lib.data.splits.split_images`
    split_seed: int = 0
    size: int = PUBLISHED_SIZE  # pixels of each side of an image
    background: str = "black"  # on which narrow and transparent images are put
    device: str = "cpu"
    step: int = 0
    seconds: float = 0.0
    matches: Tensor | None = None  # see `lib.method.matching.find_matches`
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.step >= self.hp.steps

    @property
    def folder(self) -> Path:
        return run_dir(self.name)


def new_run(
    name: str,
    dataset: ImageSet,
    preset: str,
    seed: int,
    hp: HParams,
    split: str = "identity",
    split_seed: int = 0,
) -> Run:
    """A run that is not trained yet; `seed` draws its weights and, later, its batches."""
    torch.manual_seed(seed)
    return Run(
        name,
        dataset.source,
        preset,
        seed,
        hp,
        CycleVAE(hp, dataset.size),
        dataset.fingerprint,
        split,
        split_seed,
        size=dataset.size,
        background=dataset.background,
    )


def training_lock(run: Run) -> contextlib.AbstractContextManager[None]:
    """Lets one process at a time train this run; raises UserError in the second."""
    remedy = "wait until it is done, or give this one another name"
    return exclusive_lock(run.folder / "model.pt", f"training run '{run.name}'", remedy)


class TrainingLog(contextlib.AbstractContextManager):
    """Follows a training: the progress bar, the history of the run, and its checkpoints.

    Only the first of several processes shows and writes.
    """

    def __init__(
        self,
        run: Run,
        parts: Parts,
        generator: torch.Generator,
        share: Share,
        monitor: Monitor | None,
        on_log: OnLog | None,
    ) -> None:
        self.run, self.parts, self.generator, self.share = run, parts, generator, share
        self.monitor, self.on_log = monitor, on_log
        self.terms: dict[str, list[Tensor]] = {}  # of the steps since the last row
        self.every = max(1, min(run.hp.steps // LOGGED_POINTS, LOGGED_STEPS))
        self.monitor_every = max(1, run.hp.steps // MONITORED_POINTS // self.every) * self.every
        self.started, self.saved = time.monotonic() - run.seconds, time.monotonic()
        self.pairs = run.hp.batch_images / 2  # of a step
        self.bar = tqdm(
            total=run.hp.steps * self.pairs,
            initial=run.step * self.pairs,
            unit="pair",
            unit_scale=True,
            desc="training",
            dynamic_ncols=True,
            disable=share.rank > 0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def show(self, activity: str) -> None:
        self.bar.set_description(activity)

    def add(self, terms: dict[str, Tensor], x: Tensor) -> None:
        """Record the terms of the last step, which was on x (B, ...).

        Raises: UserError where a term, or what the model makes of x, is not finite.
        """
        run, first = self.run, self.share.rank == 0
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value)
        self.bar.update(self.pairs)
        if run.step % self.every and not run.finished:
            return

        means = self._mean_terms()
        save_now = first and (run.finished or time.monotonic() - self.saved > CHECKPOINT_SECONDS)
        # The terms come from the weights before the last update. Saved weights must work after it.
        if not np.isfinite(list(means.values())).all() or (save_now and not _works(run.model, x)):
            raise UserError(
                f"the loss is not finite at step {run.step} of run '{run.name}': lower"
                f" learning_rate ({run.hp.learning_rate}); the last checkpoint is kept"
            )
        self._add_row(means)
        if save_now and not run.finished:
            save_run(run, self.parts, self.generator)
            self.saved = time.monotonic()

    def _mean_terms(self) -> dict[str, float]:
        means = torch.stack([torch.stack(values).float().mean() for values in self.terms.values()])
        means = mean_over_processes(means, self.share.world)
        named = dict(zip(self.terms, means.tolist(), strict=True))
        self.terms.clear()
        return named

    def _add_row(self, means: dict[str, float]) -> None:
        run, first = self.run, self.share.rank == 0
        self.bar.set_postfix({name: f"{mean:.3g}" for name, mean in means.items()}, refresh=False)
        run.seconds = time.monotonic() - self.started
        row = {
            "images": run.step * run.hp.batch_images,
            "seconds": run.seconds,
            "learning_rate": learning_rate(run.step - 1, run.hp),
            **means,
        }
        if self.monitor and first and (run.step % self.monitor_every == 0 or run.finished):
            run.model.eval()
            row |= self.monitor(run.model)
            run.model.train()
        run.history.append(row)
        if self.on_log and first:
            self.on_log(row)


@torch.no_grad()
def _works(model: CycleVAE, x: Tensor) -> bool:
    """Whether reconstructions of x and samples of z are finite."""
    z_mu, z_logvar, s = model.encoder(x)
    return bool(model.decoder(z_mu, s).isfinite().all() and z_logvar.exp().isfinite().all())


def save_run(run: Run, parts: Parts = (), generator: torch.Generator | None = None) -> Path:
    """Write `model.pt`; with parts and a generator, `checkpoint.pt`, which can be resumed."""
    fields = {f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.name != "model"}
    state = fields | {"hp": dataclasses.asdict(run.hp), "weights": run.model.state_dict()}
    path = run.folder / ("model.pt" if generator is None else "checkpoint.pt")
    if generator is not None:
        state["parts"] = [part.state_dict() for part in parts]
        state["generator"] = generator.get_state()
    buffer = io.BytesIO()  # torch.save into a file would hide why it could not be written
    torch.save(state, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())
    if generator is None:
        (run.folder / "checkpoint.pt").unlink(missing_ok=True)
    return path


def load_run(name: str, device: torch.device | str = "cpu") -> Run:
    """A finished run, its model in evaluation mode on `device`.

    Raises: UserError where there is none, or where its file is damaged.
    """
    path = run_dir(name) / "model.pt"
    if not path.exists():
        raise UserError(
            f"run '{name}' has no trained model ({path.name} is missing in reports/{name}): run"
            " 02_train.ipynb first"
        )
    return load_model(path, device)


def load_model(path: Path, device: torch.device | str = "cpu") -> Run:
    """The finished run in a file model.pt, wherever it lies. Raises UserError as `load_run`."""
    state = _read(path)
    if "generator" in state:
        raise UserError(f"{_named(path)} is of a training that has not ended: give its model.pt")
    model = CycleVAE(state["hp"], state["size"])
    _load_weights(model, state.pop("weights"), path)
    return Run(model=model.to(device, memory_format=torch.channels_last).eval(), **state)


def resume(run: Run, parts: Parts, generator: torch.Generator) -> None:
    """Bring `run` to the state of its model.pt, else of its checkpoint.pt, if it has one.

    Raises: UserError where these have other settings, or are damaged.
    """
    found = [
        path for path in (run.folder / "model.pt", run.folder / "checkpoint.pt") if path.exists()
    ]
    if not found:
        return
    state = _read(found[0])
    _check_settings(run, state)
    _load_weights(run.model, state["weights"], found[0])
    for name in ("step", "seconds", "history", "device", "matches"):
        setattr(run, name, state[name])
    if "generator" in state:
        for part, saved in zip(parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        generator.set_state(state["generator"])


def _check_settings(run: Run, state: dict) -> None:
    names = ("source", "preset", "seed", "split", "split_seed", "data")
    wanted = {name: getattr(run, name) for name in names} | dataclasses.asdict(run.hp)
    stored = {name: state[name] for name in names} | dataclasses.asdict(state["hp"])
    different = [
        "other images" if name == "data" else f"{name} {stored[name]}, not {value}"
        for name, value in wanted.items()
        if stored[name] != value
    ]
    if different:
        raise UserError(
            f"reports/{run.name} holds a run with {'; '.join(different[:3])}: name this one with"
            " --run, or start afresh with --fresh"
        )


def _read(path: Path) -> dict:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = {"size": PUBLISHED_SIZE, "background": "black", **state}  # before they were kept
        known = {f.name for f in dataclasses.fields(Run)} - {"model"} | {"weights"}
        same = set(state) - {"parts", "generator"} == known
        same = same and set(state["hp"]) == {f.name for f in dataclasses.fields(HParams)}
        if same:
            state["hp"] = HParams(**state["hp"])
    except Exception as error:
        remedy = "delete it and run again" if _is_run(path) else "give a run, or its model.pt"
        raise UserError(
            f"{_named(path)} cannot be read as a model ({type(error).__name__}): {remedy}"
        ) from None
    if not same:
        raise _other_version(path)
    return state


def _load_weights(model: CycleVAE, weights: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError:  # names or shapes that these networks do not have
        raise _other_version(path) from None


def _other_version(path: Path) -> UserError:
    return UserError(
        f"{_named(path)} comes from another version of this program: start afresh with --fresh"
    )


def _is_run(path: Path) -> bool:
    return path.parent.parent == paths.REPORTS


def _named(path: Path) -> str:
    return f"{path.name} in reports/{path.parent.name}" if _is_run(path) else str(path)
