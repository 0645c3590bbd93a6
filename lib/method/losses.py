"""Losses of the cycle-consistent VAE (Jha et al., ECCV 2018, sections 3.2 and 3.3).

B batch, Z = hp.z_dim, S = hp.s_dim; images (B, 3, H, W) in [0, 1]. Each term is in nats or squared
units *per image*, so the published weights 2 and 3 mean what they say (the third, 10, scales a loss
that has an Adam of its own).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lib.config import HParams
from lib.method.networks import CycleVAE


class ForwardCycle(NamedTuple):
    """The forward cycle's objective and its terms, each a mean over the batch."""

    loss: Tensor  # what is minimised, divided by the number of values in an image
    reconstruction: Tensor  # squared error of an image, summed over its values
    kl: Tensor  # nats


def reparameterize(z_mu: Tensor, z_logvar: Tensor, noise: Tensor) -> Tensor:
    """z = z_mu + sigma * noise, (B, Z), a sample of q(z|x) for noise ~ N(0, I) (Kingma and Welling,
    2014, section 2.4).
    """
    return z_mu + (0.5 * z_logvar).exp() * noise


def kl_to_standard_normal(z_mu: Tensor, z_logvar: Tensor) -> Tensor:
    """KL(N(z_mu, exp z_logvar) || N(0, I)) of each image, in nats: (B,)."""
    return 0.5 * (z_mu.square() + z_logvar.exp() - 1 - z_logvar).sum(dim=1)


def s_index(groups: int, group_size: int, shift: int) -> Tensor:
    """For each image of `groups` stacked groups, the index of the group's image `shift` places on,
    cyclically: (B,).

    With groups of two and shift 1 these are the published pairs, x1 <-> x2.
    """
    index = torch.arange(groups * group_size).view(groups, group_size)
    return index.roll(-shift, dims=1).flatten()


def z_index(matched: Tensor, group_size: int) -> Tensor:
    """For each image of stacked groups, the index of the image whose z is decoded in place of its
    own: (B,).

    Where its group is `matched` (groups,), the one at the same place of the other of its two
    groups; else the image itself.
    """
    own = torch.arange(len(matched) * group_size).view(-1, group_size)
    whole = len(own) // 2 * 2
    other = own.clone()
    other[:whole] = own[:whole].view(-1, 2, group_size).flip(1).flatten(0, 1)
    return torch.where(matched[:, None], other, own).flatten()


def forward_cycle_loss(
    model: CycleVAE,
    x: Tensor,
    partner: Tensor,
    noise: Tensor,
    kl_weight: float,
    hp: HParams,
    source: Tensor | None = None,
) -> ForwardCycle:
    """Equation 1: decode each image from its own z and the s of another image of the same
    character.

        E_q [ -log p(x1 | z1, s2) ] + KL(q(z1 | x1) || N(0, I)),   s2 = f_s(x2)

    and, ours, with `source`, from the z of an image of another character that is held to show the
    same pose (`lib.matching`).

    x (B, 3, H, W); `partner` (B,) indexes an image of the same character for each, `source` (B,)
    the image whose z is decoded; `noise` (B, Z) ~ N(0, I); `kl_weight` is hp.kl_weight or, while it
    warms up, less.
    """
    z_mu, z_logvar, s = model.encode(x)
    z = reparameterize(z_mu, z_logvar, noise)
    x_hat = model.decode(z if source is None else z[source], s[partner])
    reconstruction = (x_hat - x).square().flatten(1).sum(dim=1).mean()
    kl = kl_to_standard_normal(z_mu, z_logvar).mean()
    loss = (hp.reconstruction_weight * reconstruction + kl_weight * kl) / x[0].numel()
    return ForwardCycle(loss, reconstruction, kl)


def reverse_cycle_loss(model: CycleVAE, x_a: Tensor, x_b: Tensor, z: Tensor) -> Tensor:
    """Equation 2: one z, two characters; what is decoded from both must be encoded to the same z
    again.

        E_{z ~ N(0, I)} || f_z(g(z, s_a)) - f_z(g(z, s_b)) ||_1

    x_a, x_b (B, 3, H, W) of any characters; z (B, Z) ~ N(0, I). As in the author's code s is
    detached and only the encoder learns, so both decodings need no gradient. The L1 distance is
    summed over Z and averaged over the batch.
    """
    with torch.no_grad():
        images = [model.decode(z, model.encode(x).s) for x in (x_a, x_b)]
    z_a, z_b = (model.encode(image).z_mu for image in images)
    return (z_a - z_b).abs().sum(dim=1).mean()
