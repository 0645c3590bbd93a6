"""The cycle-consistent VAE with one thing changed that is no hyper-parameter."""

import dataclasses

import torch
from torch import Tensor, nn

from lib.config import HParams
from lib.method.networks import CycleVAE
from lib.method.rivals.learner import CycleLearner, descend
from lib.method.sampling import Batch, paired_characters
from lib.method.step import train_step


class Undetached(CycleLearner):
    """The reverse cycle sends its gradient through the decoder and s, too. The encoder learns.

    Source: the code of Chetan and Joshi (2020), which lacks the authors' detach.
    """

    def step(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        terms = train_step(objective, self.parts, batch._replace(prior_z=None), step, self.hp)
        if batch.prior_z is None:
            return terms
        a, b = paired_characters(len(batch.x), self.hp.group_size, batch.x.device)
        distance = objective(undetached_reverse_loss, batch.x[a], batch.x[b], batch.prior_z)
        descend(self.parts.reverse, self.hp.reverse_weight * distance)
        return terms | {"reverse": distance.detach()}


def undetached_reverse_loss(model: CycleVAE, x_a: Tensor, x_b: Tensor, z: Tensor) -> Tensor:
    """See `lib.method.losses.reverse_cycle_loss`."""
    images = [model.decoder(z, model.encoder(x).s) for x in (x_a, x_b)]
    z_a, z_b = (model.encoder(image).z_mu for image in images)
    return (z_a - z_b).abs().sum(dim=1).mean()


class OwnS(CycleLearner):
    """Each image is decoded from its own s: the forward cycle exchanges nothing."""

    def __init__(self, model: CycleVAE, hp: HParams, images: int, characters: int) -> None:
        super().__init__(model, dataclasses.replace(hp, mean_s=False), images, characters)

    def step(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        itself = torch.arange(len(batch.x), device=batch.x.device)
        return super().step(objective, batch._replace(s_index=itself), step)
