"""Training: the author's two updates a step, progress, checkpoints, and going on where a killed run
stopped.

The algorithm (Jha et al., ECCV 2018, section 3.4, and the author's training.py): a first Adam
updates encoder and decoder by the forward cycle, a second Adam updates the encoder alone by the
reverse cycle. Ours, some way into the training, looks for images of different characters in one
pose (`lib.matching`) and exchanges their z in the forward cycle.

Everything random comes from one generator on the CPU, whose state is kept in the checkpoint, so a
run that was killed and resumed ends with the weights of one that never stopped, and a seed draws
the same batches on every device. Under torchrun (see `lib.commands.train`) every process draws the
whole batch and trains on its share of it, so that several processes follow the course of one.
"""

import contextlib
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from lib.data.images import to_float
from lib.data.sprites import Sprites
from lib.method.networks import CycleVAE
from lib.method.parallel import Objective, shares
from lib.method.runs import Run, _resume, save_run
from lib.method.sampling import sample_groups, sample_matched, valid_mask
from lib.method.step import learning_rate, make_optimizers, train_step
from lib.system.errors import UserError
from lib.system.files import exclusive_lock

CHECKPOINT_SECONDS = 30
LOGGED_POINTS = 200  # rows of the history at least, and
LOGGED_STEPS = 250  # the most steps between two, where a checkpoint may be due
MONITORED_POINTS = 20  # rows with a look at validation identities
COMPILE_STEPS = (
    50_000  # steps from which the half minute that torch.compile takes on a GPU is worth it
)


def fit(
    run: Run,
    sprites: Sprites,
    train: np.ndarray,
    device: torch.device,
    monitor: Callable[[CycleVAE], dict[str, float]] | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> Run:
    """Train `run` on the images with indices `train` until hp.images_seen; go on from its
    checkpoint where there is one.

    `monitor` is asked MONITORED_POINTS times for more numbers (an error on validation identities);
    `on_log` sees each row of the history as it comes. Where torch.distributed is initialized, each
    of its processes calls this and trains on its share; the first alone writes, shows and asks.
    Raises `UserError` where the folder holds a run with other settings, another process is training
    it, or the loss is not finite.
    """
    first = shares(run.hp)[0] == 0
    lock = exclusive_lock(
        run.folder / "model.pt",
        f"training run '{run.name}'",
        "wait until it is done, or give this one another name",
    )
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
    from lib.method.matching import (
        find_matches,
    )  # here, as scikit-learn would add seconds to each start of run_all.sh

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
        objective = DistributedDataParallel(
            objective, find_unused_parameters=True
        )  # the reverse cycle uses half of them
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
        total=hp.steps * pairs,
        initial=run.step * pairs,
        unit="pair",
        unit_scale=True,
        desc="training",
        dynamic_ncols=True,
        disable=rank > 0,
    ) as bar:
        while not run.finished:
            if run.step == match_at:
                bar.set_description("matching poses")
                run.matches = find_matches(model, sprites.images, valid, hp, run.seed)
                bar.set_description("training")
            if run.matches is None:
                index, matched = sample_groups(valid, hp.group_size, groups, generator), None
            else:
                index, matched = sample_matched(
                    valid, run.matches, hp.group_size, groups, generator
                )
                matched = matched.chunk(world)[rank]
            x = to_float(images[index.chunk(world)[rank].flatten().to(device)])
            for name, value in train_step(
                objective, optimizers, x, run.step, hp, generator, share, matched
            ).items():
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
            # the terms are of the weights before the last update; what is kept must also work after
            # it
            if not np.isfinite(list(terms.values())).all() or (due and not _works(model, x)):
                raise UserError(
                    f"the loss is not finite at step {run.step} of run '{run.name}': lower"
                    f" learning_rate ({hp.learning_rate}); the last checkpoint is kept"
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
