"""A training, finished or under way, and its files: model.pt and checkpoint.pt."""

import dataclasses
import io
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lib.config import HParams
from lib.data.sprites import Sprites
from lib.method.networks import CycleVAE
from lib.system.errors import UserError
from lib.system.files import atomic_write
from lib.system.paths import run_dir


@dataclass
class Run:
    """A training, finished or under way: what it is, its model, and what happened."""

    name: str
    source: str
    preset: str
    seed: int
    hp: HParams
    model: CycleVAE
    data: str  # fingerprint of the images it was trained on
    device: str = "cpu"
    step: int = 0
    seconds: float = 0.0
    matches: Tensor | None = None  # that the training goes by, see `lib.matching`
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.step >= self.hp.steps

    @property
    def folder(self) -> Path:
        return run_dir(self.name)


def new_run(name: str, sprites: Sprites, preset: str, seed: int, hp: HParams) -> Run:
    """An untrained run; weights are drawn from `seed`."""
    torch.manual_seed(seed)
    return Run(name, sprites.source, preset, seed, hp, CycleVAE(hp), sprites.fingerprint)


def save_run(
    run: Run,
    optimizers: tuple[torch.optim.Optimizer, ...] = (),
    generator: torch.Generator | None = None,
) -> Path:
    """Write `model.pt` of a finished run, or `checkpoint.pt` of one under way with all that is
    needed to go on.
    """
    state = {
        **{
            f.name: getattr(run, f.name)
            for f in dataclasses.fields(run)
            if f.name not in ("hp", "model")
        },
        "hp": dataclasses.asdict(run.hp),
        "weights": run.model.state_dict(),
    }
    if generator is not None:
        state |= {
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "generator": generator.get_state(),
        }
    path = run.folder / ("model.pt" if generator is None else "checkpoint.pt")
    write_state(path, state)
    if generator is None:
        (run.folder / "checkpoint.pt").unlink(missing_ok=True)
    return path


def write_state(path: Path, state: dict) -> None:
    """Write `state` for torch.load, whole or not at all. Raises `UserError` as `written`."""
    buffer = io.BytesIO()  # for torch.save would hide the reason why it could not write to a file
    torch.save(state, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def load_run(name: str, device: torch.device | str = "cpu") -> Run:
    """A finished run, its model in evaluation mode on `device`. Raises `UserError` where there is
    none.
    """
    path = run_dir(name) / "model.pt"
    if not path.exists():
        raise UserError(
            f"run '{name}' has no trained model ({path.name} is missing in reports/{name}): run"
            " 02_train.ipynb first"
        )
    state = _read(path)
    model = CycleVAE(state["hp"])
    _load_weights(model, state.pop("weights"), path)
    return Run(model=model.to(device, memory_format=torch.channels_last).eval(), **state)


def _resume(
    run: Run, optimizers: tuple[torch.optim.Optimizer, ...], generator: torch.Generator
) -> None:
    """Bring `run` to the state of its finished model or else its checkpoint, if the folder has one
    of the same settings.
    """
    path = next(
        (p for p in (run.folder / "model.pt", run.folder / "checkpoint.pt") if p.exists()), None
    )
    if path is None:
        return
    state = _read(path)
    new = {
        "source": run.source,
        "preset": run.preset,
        "seed": run.seed,
        "data": run.data,
        **dataclasses.asdict(run.hp),
    }
    old = {
        **{name: state[name] for name in ("source", "preset", "seed", "data")},
        **dataclasses.asdict(state["hp"]),
    }
    differing = [
        f"{name} {old.get(name)}, not {value}"
        for name, value in new.items()
        if old.get(name) != value
    ]
    if differing:
        raise UserError(
            f"reports/{run.name} holds a run with {'; '.join(differing[:3])}: name this one with"
            " --run, or start afresh with --fresh"
        )
    _load_weights(run.model, state["weights"], path)
    for name in ("step", "seconds", "history", "device", "matches"):
        setattr(run, name, state[name])
    if "generator" in state:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        generator.set_state(state["generator"])


def _read(path: Path) -> dict:
    """The content of a model or checkpoint. Raises `UserError` where it cannot be read or another
    version wrote it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        known = {f.name for f in dataclasses.fields(Run)} - {"model"} | {"weights"}
        same = set(state) - {"optimizers", "generator"} == known
        same = same and set(state["hp"]) == {f.name for f in dataclasses.fields(HParams)}
        if same:
            state["hp"] = HParams(**state["hp"])
    except Exception as error:
        raise UserError(
            f"{path.name} in reports/{path.parent.name} cannot be read ({type(error).__name__}):"
            " delete it and run again"
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
        f"{path.name} in reports/{path.parent.name} is of another version of this program: start"
        " afresh with --fresh"
    )
