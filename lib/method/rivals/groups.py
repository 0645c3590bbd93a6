"""Methods in which s is sampled, too, and the images of a group give evidence on one s.

G groups of g images, B images, S = hp.s_dim.
"""

import torch
from torch import Tensor, nn

from lib.config import HParams
from lib.method.losses import kl_to_standard_normal, reparameterize
from lib.method.networks import CycleVAE
from lib.method.rivals.learner import Learner, squared_error
from lib.method.sampling import Batch
from lib.method.schedules import Weights
from lib.system.errors import UserError


class MultiLevelVAE(Learner):
    """ML-VAE: q(s | group) is the product of the q(s | x) of its images, again a normal one.

        sum_i E [ -log p(x_i | z_i, s) ] + KL(q(z_i | x_i) || N(0, I)) + KL(q(s | group) || N(0, I))

    Source: Bouchacourt et al. (AAAI 2018), the group evidence lower bound.
    """

    def __init__(self, model: CycleVAE, hp: HParams, images: int, characters: int) -> None:
        if not hp.s_noise:
            raise UserError("this method samples s: s_noise must be positive, at any size")
        super().__init__(model, hp, nn.Linear(model.encoder.s_head.in_features, hp.s_dim))
        self.size = hp.group_size

    def combine(self, s_mu: Tensor, s_logvar: Tensor) -> tuple[Tensor, Tensor]:
        """(G, S) mean and log-variance of q(s | group), from (G, g, S) of its images."""
        logvar = -torch.logsumexp(-s_logvar, dim=1)
        return logvar.exp() * (s_mu * (-s_logvar).exp()).sum(dim=1), logvar

    def loss(
        self, model: CycleVAE, batch: Batch, weights: Weights
    ) -> tuple[Tensor, dict[str, Tensor]]:
        h = model.encoder.features(batch.x).flatten(1)
        z_mu, z_logvar, s_mu = model.encoder.heads(h)
        groups = (code.unflatten(0, (-1, self.size)) for code in (s_mu, self.extra(h)))
        group_mu, group_logvar = self.combine(*groups)
        s = reparameterize(group_mu, group_logvar, batch.s_noise[:: self.size])
        z = reparameterize(z_mu, z_logvar, batch.z_noise)
        x_hat = model.decoder(z, s.repeat_interleave(self.size, dim=0))

        reconstruction = squared_error(x_hat, batch.x)
        kl = kl_to_standard_normal(z_mu, z_logvar).mean()
        s_kl = kl_to_standard_normal(group_mu, group_logvar).mean() / self.size  # of an image
        loss = self.hp.reconstruction_weight * reconstruction + weights.kl * (kl + s_kl)
        left = model.components.left
        return loss, {"reconstruction": reconstruction + left, "kl": kl, "s_kl": s_kl}


class GroupVAE(MultiLevelVAE):
    """GVAE: q(s | group) has the mean of the means, and of the variances, of its images.

    Source: Hosoya (IJCAI 2019), the posterior of a group.
    """

    def combine(self, s_mu: Tensor, s_logvar: Tensor) -> tuple[Tensor, Tensor]:
        return s_mu.mean(dim=1), s_logvar.exp().mean(dim=1).log()


class PlainVAE(MultiLevelVAE):
    """A VAE whose code is z and s together: it does not know the groups.

    Source: Kingma and Welling (ICLR 2014).
    """

    def __init__(self, model: CycleVAE, hp: HParams, images: int, characters: int) -> None:
        super().__init__(model, hp, images, characters)
        self.size = 1
