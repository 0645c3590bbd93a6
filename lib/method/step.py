"""One training step: both cycles (Jha et al., ECCV 2018, section 3.4; the authors' training.py)."""

from typing import NamedTuple

from torch import Tensor

from lib.config import HParams
from lib.method.losses import forward_cycle_loss, reverse_cycle_loss
from lib.method.networks import CycleVAE
from lib.method.parallel import Objective
from lib.method.sampling import Batch, paired_characters
from lib.method.schedules import Weights, learning_rate, weights
from lib.system.optimizers import Adam


class Optimizers(NamedTuple):
    forward: Adam  # updates encoder and decoder
    reverse: Adam  # updates the encoder alone


def make_optimizers(model: CycleVAE, hp: HParams) -> Optimizers:
    settings = dict(lr=hp.learning_rate, betas=(0.9, hp.beta2), fused=True)
    encoder, decoder = list(model.encoder.parameters()), list(model.decoder.parameters())
    return Optimizers(Adam(encoder + decoder, **settings), Adam(encoder, **settings))


def train_step(
    objective: Objective, optimizers: Optimizers, batch: Batch, step: int, hp: HParams
) -> dict[str, Tensor]:
    """Both cycles on one batch.

    Returns: the terms per image: reconstruction (squared error), kl (nats), reverse (L1, if run).
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, hp)
    terms = forward_step(objective, optimizers.forward, batch, weights(step, hp), hp)
    if batch.prior_z is not None:
        terms |= reverse_step(objective, optimizers.reverse, batch, hp)
    return terms


def forward_step(
    objective: Objective, optimizer: Adam, batch: Batch, weights: Weights, hp: HParams
) -> dict[str, Tensor]:
    cycle = objective(forward_cycle_loss, batch, weights, hp)
    optimizer.zero_grad()
    cycle.loss.backward()
    optimizer.step()
    return {"reconstruction": cycle.reconstruction.detach(), "kl": cycle.kl.detach()}


def reverse_step(
    objective: Objective, optimizer: Adam, batch: Batch, hp: HParams
) -> dict[str, Tensor]:
    a, b = paired_characters(len(batch.x), hp.group_size, batch.x.device)
    distance = objective(reverse_cycle_loss, batch.x[a], batch.x[b], batch.prior_z)
    optimizer.zero_grad()
    (hp.reverse_weight * distance).backward()
    optimizer.step()
    return {"reverse": distance.detach()}
