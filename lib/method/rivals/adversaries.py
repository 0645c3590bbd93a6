"""Methods with an adversary, which finds what a code should not hold.

B images, Z = hp.z_dim. The discriminator has an Adam of its own and learns in each step.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.config import HParams
from lib.method.losses import kl_to_standard_normal, reparameterize
from lib.method.networks import CycleVAE, dense_layer
from lib.method.rivals.learner import Learner, descend, set_rate, squared_error
from lib.method.sampling import Batch, z_index
from lib.method.schedules import Weights, learning_rate, weights

WIDTH = 256  # of the discriminators' last layers


class Adversary(Learner):
    """A learner whose `extra` is a discriminator, which learns by `discriminator_loss`."""

    def __init__(
        self, model: CycleVAE, hp: HParams, discriminator: nn.Module, weight: float
    ) -> None:
        super().__init__(model, hp, discriminator, weight, joint=False)
        self.similarity_weight = 0.0  # of two s of a character

    def step(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        for optimizer in (self.optimizer, self.extra_optimizer):
            set_rate(optimizer, learning_rate(step, self.hp))
        loss, terms, seen = objective(self.loss, batch, weights(step, self.hp))
        descend(self.optimizer, loss / batch.x[0].numel())
        distinction = objective(self.discriminator_loss, batch, seen.detach())
        descend(self.extra_optimizer, distinction)
        terms["discriminator"] = distinction
        return {name: term.detach() for name, term in terms.items()}

    def loss(
        self, model: CycleVAE, batch: Batch, weights: Weights
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """As `Learner.loss`, and what the discriminator sees of it: z_mu or swapped images."""
        hp = self.hp
        z_mu, z_logvar, s = model.encoder(batch.x)
        z = reparameterize(z_mu, z_logvar, batch.z_noise)
        reconstruction = squared_error(model.decoder(z, s[batch.s_index]), batch.x)
        kl = kl_to_standard_normal(z_mu, z_logvar).mean()
        seen, penalty = self.penalty(model, batch, z_mu, z, s)
        loss = hp.reconstruction_weight * reconstruction + weights.kl * kl
        loss = loss + self.similarity_weight * squared_error(s, s[batch.s_index])
        left = model.components.left
        terms = {"reconstruction": reconstruction + left, "kl": kl, "adversary": penalty}
        return loss + self.weight * penalty, terms, seen

    def others(self, batch: Batch) -> Tensor:
        """(B,) for each image one of another character."""
        groups = torch.ones(len(batch.x) // self.hp.group_size, dtype=torch.bool)
        return z_index(groups, self.hp.group_size).to(batch.x.device)


class ImageAdversary(Adversary):
    """A discriminator compares a swap with an image of the character that gave s.

    It knows pairs of true images of one character. A swap between characters must pass for one.

    Source: Mathieu et al. (NIPS 2016), its adversarial term for swaps.
    """

    def __init__(
        self, model: CycleVAE, hp: HParams, images: int, characters: int, weight: float = 1.0
    ) -> None:
        super().__init__(model, hp, PairOfImages(model), weight)

    def penalty(
        self, model: CycleVAE, batch: Batch, z_mu: Tensor, z: Tensor, s: Tensor
    ) -> tuple[Tensor, Tensor]:
        other = self.others(batch)
        swapped = model.decoder(z, s[other])
        return swapped, real_or_not(self.extra(swapped, batch.x[batch.s_index[other]]), True)

    def discriminator_loss(self, model: CycleVAE, batch: Batch, swapped: Tensor) -> Tensor:
        other = self.others(batch)
        of_character = batch.x[batch.s_index[other]]
        true, false = self.extra(batch.x[other], of_character), self.extra(swapped, of_character)
        return real_or_not(true, True) + real_or_not(false, False)


class PairOfImages(nn.Module):
    """A logit for two images of (B, ...) each, by features as the encoder has them."""

    def __init__(self, model: CycleVAE) -> None:
        super().__init__()
        encoder = model.encoder
        shared = [part for part in model.components.modules() if not [*part.parameters()]]
        self.features = copy.deepcopy(encoder.features, {id(part): part for part in shared})
        n = encoder.s_head.in_features
        self.compare = nn.Sequential(dense_layer(2 * n, WIDTH), nn.Linear(WIDTH, 1))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        features = [self.features(each).flatten(1) for each in (x, other)]
        return self.compare(torch.cat(features, dim=1))


class PoseAdversary(Adversary):
    """A discriminator says whether two z come from one character. z must leave it undecided.

    The s of two images of a character must be similar, which counts by hp.s_agreement.

    Source: DrNet, Denton and Birodkar (NIPS 2017), equations 2 to 4.
    """

    def __init__(
        self, model: CycleVAE, hp: HParams, images: int, characters: int, weight: float = 1.0
    ) -> None:
        layers = dense_layer(2 * hp.z_dim, WIDTH), dense_layer(WIDTH, WIDTH), nn.Linear(WIDTH, 1)
        super().__init__(model, hp, nn.Sequential(*layers), weight)
        self.similarity_weight = hp.s_agreement

    def penalty(
        self, model: CycleVAE, batch: Batch, z_mu: Tensor, z: Tensor, s: Tensor
    ) -> tuple[Tensor, Tensor]:
        logit = self.extra(torch.cat([z_mu, z_mu[batch.s_index]], dim=1))
        return z_mu, (real_or_not(logit, True) + real_or_not(logit, False)) / 2

    def discriminator_loss(self, model: CycleVAE, batch: Batch, z_mu: Tensor) -> Tensor:
        same, other = (z_mu[index] for index in (batch.s_index, self.others(batch)))
        logits = [self.extra(torch.cat([z_mu, each], dim=1)) for each in (same, other)]
        return real_or_not(logits[0], True) + real_or_not(logits[1], False)


def real_or_not(logit: Tensor, real: bool) -> Tensor:
    """() the binary cross-entropy in nats."""
    return binary_cross_entropy_with_logits(logit, torch.full_like(logit, float(real)))
