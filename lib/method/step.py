"""One training step: the forward cycle, and the reverse cycle."""

import torch
from torch import Tensor, nn

from lib.config import HParams
from lib.method.losses import forward_cycle_loss, reverse_cycle_loss, s_index, z_index
from lib.method.networks import CycleVAE


def make_optimizers(model: CycleVAE, hp: HParams) -> tuple[torch.optim.Optimizer, ...]:
    """(forward cycle: encoder and decoder, reverse cycle: encoder alone)."""
    settings = dict(lr=hp.learning_rate, betas=(0.9, hp.beta2), fused=True)
    encoder, decoder = list(model.encoder.parameters()), list(model.decoder.parameters())
    return torch.optim.Adam(encoder + decoder, **settings), torch.optim.Adam(encoder, **settings)


def learning_rate(step: int, hp: HParams) -> float:
    """Linear warm-up over hp.lr_warmup steps, then, with hp.lr_decay, linear decay to 0 at the last
    step.
    """
    warmup = min(1.0, (step + 1) / hp.lr_warmup) if hp.lr_warmup else 1.0
    return hp.learning_rate * warmup * (1 - step / hp.steps if hp.lr_decay else 1.0)


def kl_weight(step: int, hp: HParams) -> float:
    """Rises linearly from 0 to hp.kl_weight over the first hp.kl_warmup of the training: z learns
    to be used before it pays.
    """
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

    x (B, 3, 60, 60) are groups of hp.group_size images of a character, each group of another; those
    that `matched` (groups,) names are so two by two, and exchange their z
    (`lib.matching.sample_matched`).

    `objective` is an `Objective`, or one in DistributedDataParallel; x is the part of the batch
    that `share` names (see `shares`). Returns the terms in units of one image: reconstruction
    (squared error), kl (nats), and reverse (L1) where it was run.
    """
    forward, reverse = optimizers
    for group in (*forward.param_groups, *reverse.param_groups):
        group["lr"] = learning_rate(step, hp)
    rank, world = share

    def noise(n: int) -> Tensor:
        return torch.randn(n * world, hp.z_dim, generator=generator)[rank * n : (rank + 1) * n].to(
            x.device
        )

    shift = 1 + step % (hp.group_size - 1)
    partner = s_index(len(x) // hp.group_size, hp.group_size, shift).to(x.device)
    source = None if matched is None else z_index(matched, hp.group_size).to(x.device)
    cycle = objective(
        forward_cycle_loss, x, partner, noise(len(x)), kl_weight(step, hp), hp, source
    )
    forward.zero_grad()
    cycle.loss.backward()
    forward.step()
    terms = {"reconstruction": cycle.reconstruction.detach(), "kl": cycle.kl.detach()}

    if step % hp.reverse_every == 0:
        # Groups show different characters, so two that follow each other in the batch give the two
        # that share a z.
        whole = len(x) // (2 * hp.group_size) * 2 * hp.group_size
        a, b = (
            torch.arange(whole, device=x.device)
            .view(-1, 2, hp.group_size)
            .transpose(0, 1)
            .flatten(1)
        )
        agreement = objective(reverse_cycle_loss, x[a], x[b], noise(len(a)))
        reverse.zero_grad()
        (hp.reverse_weight * agreement).backward()
        reverse.step()
        terms["reverse"] = agreement.detach()
    return terms
