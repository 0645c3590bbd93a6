"""Training: the author's two updates a step, progress, checkpoints, and going on where a killed run stopped.

The algorithm (Jha et al., ECCV 2018, section 3.4, and the author's training.py): a first Adam updates encoder and decoder
by the forward cycle, a second Adam updates the encoder alone by the reverse cycle.

Everything random comes from one generator on the CPU, whose state is kept in the checkpoint, so a run that was killed
and resumed ends with the weights of one that never stopped, and a seed draws the same batches on every device.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lib.batches import sample_groups, to_float, valid_mask
from lib.config import HParams, UserError, run_dir
from lib.losses import forward_cycle_loss, reverse_cycle_loss, swap_partners
from lib.model import CycleVAE
from lib.sprites import Sprites

CHECKPOINT_SECONDS = 30
LOGGED_POINTS = 200  # rows of the history at least, and
LOGGED_STEPS = 250  # the most steps between two, where a checkpoint may be due
MONITORED_POINTS = 20  # rows with a look at validation identities


@dataclass
class Run:
    """A training, finished or under way: what it is, its model, and what happened. The codes are in `lib.evaluate`."""

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
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.step >= self.hp.steps

    @property
    def folder(self) -> Path:
        return run_dir(self.name)


def choose_device(name: str | None = None) -> torch.device:
    """`name`, else the environment's CYCLE_VAE_DEVICE, else the first of cuda, mps, cpu that is here. Raises `UserError`."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = name or os.environ.get("CYCLE_VAE_DEVICE") or next(kind for kind, here in present.items() if here)
    if name not in present:
        raise UserError(f"there is no device '{name}': choose one of {', '.join(present)}")
    if not present[name]:
        raise UserError(
            f"device {name} is not available on this machine: choose {' or '.join(k for k, here in present.items() if here)}"
        )
    return torch.device(name)


def new_run(name: str, sprites: Sprites, preset: str, seed: int, hp: HParams) -> Run:
    """An untrained run; weights are drawn from `seed`."""
    torch.manual_seed(seed)
    return Run(name, sprites.source, preset, seed, hp, CycleVAE(hp), sprites.fingerprint)


def make_optimizers(model: CycleVAE, hp: HParams) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """(forward cycle: encoder and decoder, reverse cycle: encoder alone)."""
    settings = dict(lr=hp.learning_rate, betas=(0.9, hp.beta2), fused=True)
    return torch.optim.Adam(model.parameters(), **settings), torch.optim.Adam(model.encoder.parameters(), **settings)


def learning_rate(step: int, hp: HParams) -> float:
    """Linear warm-up over hp.lr_warmup steps, then, with hp.lr_decay, linear decay to 0 at the last step."""
    warmup = min(1.0, (step + 1) / hp.lr_warmup) if hp.lr_warmup else 1.0
    return hp.learning_rate * warmup * (1 - step / hp.steps if hp.lr_decay else 1.0)


def kl_weight(step: int, hp: HParams) -> float:
    """Rises linearly from 0 to hp.kl_weight over the first hp.kl_warmup of the training: z learns to be used before it pays."""
    rise = hp.kl_warmup * hp.steps
    return hp.kl_weight * min(1.0, step / rise) if rise else hp.kl_weight


def train_step(
    model: CycleVAE,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    x: Tensor,
    step: int,
    hp: HParams,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """One forward cycle and, every hp.reverse_every steps, one reverse cycle, on x (B, 3, 60, 60): groups of a character.

    Returns the terms in units of one image: reconstruction (squared error), kl (nats), and reverse (L1) where it was run.
    """
    forward, reverse = optimizers
    for group in (*forward.param_groups, *reverse.param_groups):
        group["lr"] = learning_rate(step, hp)

    def noise(n: int) -> Tensor:
        return torch.randn(n, hp.z_dim, generator=generator).to(x.device)

    shift = 1 + step % (hp.group_size - 1)
    partner = swap_partners(len(x) // hp.group_size, hp.group_size, shift).to(x.device)
    cycle = forward_cycle_loss(model, x, partner, noise(len(x)), kl_weight(step, hp), hp)
    forward.zero_grad()
    cycle.loss.backward()
    forward.step()
    terms = {"reconstruction": cycle.reconstruction.detach(), "kl": cycle.kl.detach()}

    if step % hp.reverse_every == 0:
        # The batch is a sequence of groups, so its halves show different characters.
        half = len(x) // (2 * hp.group_size) * hp.group_size
        agreement = reverse_cycle_loss(model, x[:half], x[-half:], noise(half))
        reverse.zero_grad()
        (hp.reverse_weight * agreement).backward()
        reverse.step()
        terms["reverse"] = agreement.detach()
    return terms


def fit(
    run: Run,
    sprites: Sprites,
    train: np.ndarray,
    device: torch.device,
    monitor: Callable[[CycleVAE], dict[str, float]] | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> Run:
    """Train `run` on the images with indices `train` until hp.images_seen; go on from its checkpoint where there is one.

    `monitor` is asked MONITORED_POINTS times for more numbers (an error on validation identities); `on_log` sees each row of
    the history as it comes. Raises `UserError` where the folder holds a run with other settings, or the loss is not finite.
    """
    hp = run.hp
    model = run.model.to(device, memory_format=torch.channels_last)
    optimizers = make_optimizers(model, hp)
    generator = torch.Generator().manual_seed(run.seed)
    _resume(run, optimizers, generator)
    if run.finished:
        model.eval()
        return run
    run.device = str(device)

    images = torch.from_numpy(sprites.images)
    valid = valid_mask(sprites, train)
    every = max(1, min(hp.steps // LOGGED_POINTS, LOGGED_STEPS))
    look_every = max(1, hp.steps // MONITORED_POINTS // every) * every
    sums: dict[str, list[Tensor]] = {}
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    model.train()
    pairs = hp.batch_images / 2
    with tqdm(
        total=hp.steps * pairs, initial=run.step * pairs, unit="pair", unit_scale=True, desc="training", dynamic_ncols=True
    ) as bar:
        while not run.finished:
            index = sample_groups(valid, hp.group_size, hp.batch_images // hp.group_size, generator)
            x = to_float(images[index.flatten()], device)
            for name, value in train_step(model, optimizers, x, run.step, hp, generator).items():
                sums.setdefault(name, []).append(value)
            run.step += 1
            bar.update(pairs)
            if run.step % every and not run.finished:
                continue

            terms = {name: torch.stack(values).mean().item() for name, values in sums.items()}
            sums.clear()
            if not np.isfinite(list(terms.values())).all():
                raise UserError(
                    f"the loss is not finite at step {run.step} of run '{run.name}': lower learning_rate ({hp.learning_rate}); "
                    "the last checkpoint is kept"
                )
            bar.set_postfix({name: f"{value:.3g}" for name, value in terms.items()}, refresh=False)
            run.seconds = time.monotonic() - started
            row = {
                "images": run.step * hp.batch_images,
                "seconds": run.seconds,
                "learning_rate": learning_rate(run.step - 1, hp),
                **terms,
            }
            if monitor and (run.step % look_every == 0 or run.finished):
                model.eval()
                row |= monitor(model)
                model.train()
            run.history.append(row)
            if on_log:
                on_log(row)
            if time.monotonic() - saved > CHECKPOINT_SECONDS and not run.finished:
                save_run(run, optimizers, generator)
                saved = time.monotonic()
    model.eval()
    save_run(run)
    return run


def save_run(run: Run, optimizers: tuple[torch.optim.Optimizer, ...] = (), generator: torch.Generator | None = None) -> Path:
    """Write `model.pt` of a finished run, or `checkpoint.pt` of one under way with all that is needed to go on."""
    state = {
        **{f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.name not in ("hp", "model")},
        "hp": dataclasses.asdict(run.hp),
        "weights": run.model.state_dict(),
    }
    if generator is not None:
        state |= {"optimizers": [optimizer.state_dict() for optimizer in optimizers], "generator": generator.get_state()}
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / ("model.pt" if generator is None else "checkpoint.pt")
    beside = path.with_suffix(".pt.partial")
    torch.save(state, beside)
    os.replace(beside, path)
    if generator is None:
        (run.folder / "checkpoint.pt").unlink(missing_ok=True)
    return path


def load_run(name: str, device: torch.device | str = "cpu") -> Run:
    """A finished run, its model in evaluation mode on `device`. Raises `UserError` where there is none."""
    path = run_dir(name) / "model.pt"
    if not path.exists():
        raise UserError(
            f"run '{name}' has no trained model ({path.name} is missing in reports/{name}): run 02_train.ipynb first"
        )
    state = _read(path)
    hp = HParams(**state.pop("hp"))
    model = CycleVAE(hp)
    model.load_state_dict(state.pop("weights"))
    return Run(hp=hp, model=model.to(device, memory_format=torch.channels_last).eval(), **state)


def _resume(run: Run, optimizers: tuple[torch.optim.Optimizer, ...], generator: torch.Generator) -> None:
    """Bring `run` to the state of its finished model or else its checkpoint, if the folder has one of the same settings."""
    path = next((p for p in (run.folder / "model.pt", run.folder / "checkpoint.pt") if p.exists()), None)
    if path is None:
        return
    state = _read(path)
    new = {"source": run.source, "preset": run.preset, "seed": run.seed, "data": run.data, **dataclasses.asdict(run.hp)}
    old = {**{name: state[name] for name in ("source", "preset", "seed", "data")}, **state["hp"]}
    differing = [f"{name} {old.get(name)}, not {value}" for name, value in new.items() if old.get(name) != value]
    if differing:
        raise UserError(
            f"reports/{run.name} holds a run with {'; '.join(differing[:3])}: name this one with --run, or "
            "start afresh with --fresh"
        )
    run.model.load_state_dict(state["weights"])
    for name in ("step", "seconds", "history", "device"):
        setattr(run, name, state[name])
    if "generator" in state:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        generator.set_state(state["generator"])


def _read(path: Path) -> dict:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path.name} in reports/{path.parent.name} cannot be read ({type(error).__name__}): delete it and run again"
        ) from error
