"""Training: the author's two updates a step, progress, checkpoints, and going on where a killed run stopped.

The algorithm (Jha et al., ECCV 2018, section 3.4, and the author's training.py): a first Adam updates encoder and decoder
by the forward cycle, a second Adam updates the encoder alone by the reverse cycle. Ours, some way into the training, looks for
images of different characters in one pose (`lib.matching`) and exchanges their z in the forward cycle.

Everything random comes from one generator on the CPU, whose state is kept in the checkpoint, so a run that was killed
and resumed ends with the weights of one that never stopped, and a seed draws the same batches on every device. Under
torchrun (see `lib.launch`) every process draws the whole batch and trains on its share of it, so that several processes
follow the course of one.
"""

import contextlib
import dataclasses
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from lib.batches import sample_groups, to_float, valid_mask
from lib.config import HParams, UserError, run_dir
from lib.files import held, written
from lib.losses import crossed_sources, forward_cycle_loss, reverse_cycle_loss, swap_partners
from lib.model import CycleVAE
from lib.sprites import Sprites

CHECKPOINT_SECONDS = 30
LOGGED_POINTS = 200  # rows of the history at least, and
LOGGED_STEPS = 250  # the most steps between two, where a checkpoint may be due
MONITORED_POINTS = 20  # rows with a look at validation identities
COMPILE_STEPS = 50_000  # steps from which the half minute that torch.compile takes on a GPU is worth it


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


class Objective(nn.Module):
    """A loss as the forward pass of a module, which is what DistributedDataParallel and autocast take hold of.

    On cuda it computes in bfloat16 where that is safe; CPUs without instructions for it would only be slower.
    """

    def __init__(self, model: CycleVAE, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    def forward(self, loss: Callable, *arguments: object) -> object:
        with self.autocast:
            return loss(self.model, *arguments)


def shares(hp: HParams) -> tuple[int, int]:
    """(which share of every batch this process trains on, number of shares): (0, 1) without torch.distributed.

    Raises `UserError` where the batch cannot be shared: the groups of a share are taken two by two.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    world = distributed.get_world_size()
    whole = 2 * world * hp.group_size
    if hp.batch_images % whole:
        raise UserError(f"{world} processes cannot share batch_images {hp.batch_images}: set it to a multiple of {whole}")
    return distributed.get_rank(), world


def new_run(name: str, sprites: Sprites, preset: str, seed: int, hp: HParams) -> Run:
    """An untrained run; weights are drawn from `seed`."""
    torch.manual_seed(seed)
    return Run(name, sprites.source, preset, seed, hp, CycleVAE(hp), sprites.fingerprint)


def make_optimizers(model: CycleVAE, hp: HParams) -> tuple[torch.optim.Optimizer, ...]:
    """(forward cycle: encoder and decoder, reverse cycle: encoder alone)."""
    settings = dict(lr=hp.learning_rate, betas=(0.9, hp.beta2), fused=True)
    encoder, decoder = list(model.encoder.parameters()), list(model.decoder.parameters())
    return torch.optim.Adam(encoder + decoder, **settings), torch.optim.Adam(encoder, **settings)


def learning_rate(step: int, hp: HParams) -> float:
    """Linear warm-up over hp.lr_warmup steps, then, with hp.lr_decay, linear decay to 0 at the last step."""
    warmup = min(1.0, (step + 1) / hp.lr_warmup) if hp.lr_warmup else 1.0
    return hp.learning_rate * warmup * (1 - step / hp.steps if hp.lr_decay else 1.0)


def kl_weight(step: int, hp: HParams) -> float:
    """Rises linearly from 0 to hp.kl_weight over the first hp.kl_warmup of the training: z learns to be used before it pays."""
    rise = hp.kl_warmup * hp.steps
    return hp.kl_weight * min(1.0, step / rise) if rise else hp.kl_weight


def train_step(
    objective: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, ...],
    x: Tensor,
    step: int,
    hp: HParams,
    generator: torch.Generator,
    share: tuple[int, int] = (0, 1),
    matched: Tensor | None = None,
) -> dict[str, Tensor]:
    """One forward cycle and, every hp.reverse_every steps, one reverse cycle.

    x (B, 3, 60, 60) are groups of hp.group_size images of a character, each group of another; those that
    `matched` (groups,) names are so two by two, and exchange their z (`lib.matching.sample_matched`).

    `objective` is an `Objective`, or one in DistributedDataParallel; x is the part of the batch that `share` names (see
    `shares`). Returns the terms in units of one image: reconstruction (squared error), kl (nats), and reverse (L1) where it was
    run.
    """
    forward, reverse = optimizers
    for group in (*forward.param_groups, *reverse.param_groups):
        group["lr"] = learning_rate(step, hp)
    rank, world = share

    def noise(n: int) -> Tensor:
        return torch.randn(n * world, hp.z_dim, generator=generator)[rank * n : (rank + 1) * n].to(x.device)

    shift = 1 + step % (hp.group_size - 1)
    partner = swap_partners(len(x) // hp.group_size, hp.group_size, shift).to(x.device)
    source = None if matched is None else crossed_sources(matched, hp.group_size).to(x.device)
    cycle = objective(forward_cycle_loss, x, partner, noise(len(x)), kl_weight(step, hp), hp, source)
    forward.zero_grad()
    cycle.loss.backward()
    forward.step()
    terms = {"reconstruction": cycle.reconstruction.detach(), "kl": cycle.kl.detach()}

    if step % hp.reverse_every == 0:
        # Groups show different characters, so two that follow each other in the batch give the two that share a z.
        whole = len(x) // (2 * hp.group_size) * 2 * hp.group_size
        a, b = torch.arange(whole, device=x.device).view(-1, 2, hp.group_size).transpose(0, 1).flatten(1)
        agreement = objective(reverse_cycle_loss, x[a], x[b], noise(len(a)))
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
    the history as it comes. Where torch.distributed is initialized, each of its processes calls this and trains on its share;
    the first alone writes, shows and asks. Raises `UserError` where the folder holds a run with other settings, another process
    is training it, or the loss is not finite.
    """
    first = shares(run.hp)[0] == 0
    lock = held(run.folder / "model.pt", f"training run '{run.name}'", "wait until it is done, or give this one another name")
    with lock if first else contextlib.nullcontext():
        return _fit(run, sprites, train, device, monitor, on_log)


def _fit(
    run: Run,
    sprites: Sprites,
    train: np.ndarray,
    device: torch.device,
    monitor: Callable[[CycleVAE], dict[str, float]] | None,
    on_log: Callable[[dict[str, float]], None] | None,
) -> Run:
    from lib.matching import find_matches, sample_matched  # here, as scikit-learn would add seconds to each start of run_all.sh

    hp = run.hp
    rank, world = share = shares(hp)
    model = run.model.to(device, memory_format=torch.channels_last)
    optimizers = make_optimizers(model, hp)
    generator = torch.Generator().manual_seed(run.seed)
    _resume(run, optimizers, generator)
    if run.finished:
        model.eval()
        return run
    run.device = str(device)

    objective = Objective(model, device)
    if world > 1:
        objective = DistributedDataParallel(objective, find_unused_parameters=True)  # the reverse cycle uses half of them
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        if hp.steps - run.step >= COMPILE_STEPS:
            model.encoder.compile()
            model.decoder.compile()

    images = torch.from_numpy(sprites.images).to(device)
    valid = valid_mask(sprites, train)
    groups, match_at = hp.batch_images // hp.group_size, round(hp.match_from * hp.steps)
    every = max(1, min(hp.steps // LOGGED_POINTS, LOGGED_STEPS))
    look_every = max(1, hp.steps // MONITORED_POINTS // every) * every
    sums: dict[str, list[Tensor]] = {}
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    model.train()
    pairs = hp.batch_images / 2
    with tqdm(
        total=hp.steps * pairs, initial=run.step * pairs, unit="pair", unit_scale=True, desc="training", dynamic_ncols=True,
        disable=rank > 0,
    ) as bar:  # fmt: skip
        while not run.finished:
            if run.step == match_at:
                bar.set_description("matching poses")
                run.matches = find_matches(model, sprites.images, valid, hp, run.seed)
                bar.set_description("training")
            if run.matches is None:
                index, matched = sample_groups(valid, hp.group_size, groups, generator), None
            else:
                index, matched = sample_matched(valid, run.matches, hp.group_size, groups, generator)
                matched = matched.chunk(world)[rank]
            x = to_float(images[index.chunk(world)[rank].flatten().to(device)])
            for name, value in train_step(objective, optimizers, x, run.step, hp, generator, share, matched).items():
                sums.setdefault(name, []).append(value)
            run.step += 1
            bar.update(pairs)
            if run.step % every and not run.finished:
                continue

            means = torch.stack([torch.stack(values).float().mean() for values in sums.values()])
            if world > 1:
                distributed.all_reduce(means)
            terms = dict(zip(sums, (means / world).tolist(), strict=True))
            sums.clear()
            due = rank == 0 and (run.finished or time.monotonic() - saved > CHECKPOINT_SECONDS)
            # the terms are of the weights before the last update; what is kept must also work after it
            if not np.isfinite(list(terms.values())).all() or (due and not _works(model, x)):
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
            if monitor and rank == 0 and (run.step % look_every == 0 or run.finished):
                model.eval()
                row |= monitor(model)
                model.train()
            run.history.append(row)
            if on_log and rank == 0:
                on_log(row)
            if due and not run.finished:
                save_run(run, optimizers, generator)
                saved = time.monotonic()
    model.eval()
    if rank == 0:
        save_run(run)
    return run


@torch.no_grad()
def _works(model: CycleVAE, x: Tensor) -> bool:
    """Whether images still come out finite, samples of z included."""
    z_mu, z_logvar, s = model.encode(x)
    return bool(model.decode(z_mu, s).isfinite().all() and z_logvar.exp().isfinite().all())


def save_run(run: Run, optimizers: tuple[torch.optim.Optimizer, ...] = (), generator: torch.Generator | None = None) -> Path:
    """Write `model.pt` of a finished run, or `checkpoint.pt` of one under way with all that is needed to go on."""
    state = {
        **{f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.name not in ("hp", "model")},
        "hp": dataclasses.asdict(run.hp),
        "weights": run.model.state_dict(),
    }
    if generator is not None:
        state |= {"optimizers": [optimizer.state_dict() for optimizer in optimizers], "generator": generator.get_state()}
    path = run.folder / ("model.pt" if generator is None else "checkpoint.pt")
    write_state(path, state)
    if generator is None:
        (run.folder / "checkpoint.pt").unlink(missing_ok=True)
    return path


def write_state(path: Path, state: dict) -> None:
    """Write `state` for torch.load, whole or not at all. Raises `UserError` as `written`."""
    buffer = io.BytesIO()  # for torch.save would hide the reason why it could not write to a file
    torch.save(state, buffer)
    with written(path) as file:
        file.write(buffer.getbuffer())


def load_run(name: str, device: torch.device | str = "cpu") -> Run:
    """A finished run, its model in evaluation mode on `device`. Raises `UserError` where there is none."""
    path = run_dir(name) / "model.pt"
    if not path.exists():
        raise UserError(
            f"run '{name}' has no trained model ({path.name} is missing in reports/{name}): run 02_train.ipynb first"
        )
    state = _read(path)
    model = CycleVAE(state["hp"])
    _load_weights(model, state.pop("weights"), path)
    return Run(model=model.to(device, memory_format=torch.channels_last).eval(), **state)


def _resume(run: Run, optimizers: tuple[torch.optim.Optimizer, ...], generator: torch.Generator) -> None:
    """Bring `run` to the state of its finished model or else its checkpoint, if the folder has one of the same settings."""
    path = next((p for p in (run.folder / "model.pt", run.folder / "checkpoint.pt") if p.exists()), None)
    if path is None:
        return
    state = _read(path)
    new = {"source": run.source, "preset": run.preset, "seed": run.seed, "data": run.data, **dataclasses.asdict(run.hp)}
    old = {**{name: state[name] for name in ("source", "preset", "seed", "data")}, **dataclasses.asdict(state["hp"])}
    differing = [f"{name} {old.get(name)}, not {value}" for name, value in new.items() if old.get(name) != value]
    if differing:
        raise UserError(
            f"reports/{run.name} holds a run with {'; '.join(differing[:3])}: name this one with --run, or "
            "start afresh with --fresh"
        )
    _load_weights(run.model, state["weights"], path)
    for name in ("step", "seconds", "history", "device", "matches"):
        setattr(run, name, state[name])
    if "generator" in state:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        generator.set_state(state["generator"])


def _read(path: Path) -> dict:
    """The content of a model or checkpoint. Raises `UserError` where it cannot be read or another version wrote it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        known = {f.name for f in dataclasses.fields(Run)} - {"model"} | {"weights"}
        same = set(state) - {"optimizers", "generator"} == known
        same = same and set(state["hp"]) == {f.name for f in dataclasses.fields(HParams)}
        if same:
            state["hp"] = HParams(**state["hp"])
    except Exception as error:
        raise UserError(
            f"{path.name} in reports/{path.parent.name} cannot be read ({type(error).__name__}): delete it and run again"
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
        f"{path.name} in reports/{path.parent.name} is of another version of this program: start afresh with --fresh"
    )
