"""Losses of the cycle-consistent VAE (Jha et al., ECCV 2018, sections 3.2 and 3.3).

B batch, Z = hp.z_dim, S = hp.s_dim; images (B, 3, H, W) in [0, 1]. Each term is in nats or squared units *per image*,
so the published weights 2 and 3 mean what they say (the third, 10, scales a loss that has an Adam of its own).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lib.config import HParams
from lib.model import CycleVAE, Latents


class ForwardCycle(NamedTuple):
    """The forward cycle's objective and its terms, each a mean over the batch."""

    loss: Tensor  # what is minimised, divided by the number of values in an image
    reconstruction: Tensor  # squared error of an image, summed over its values
    kl: Tensor  # nats
    leak: Tensor  # nats; 0 without a critic
    latents: Latents  # the codes of x


def reparameterize(z_mu: Tensor, z_logvar: Tensor, noise: Tensor) -> Tensor:
    """z = z_mu + sigma * noise, (B, Z), a sample of q(z|x) for noise ~ N(0, I) (Kingma and Welling, 2014, section 2.4)."""
    return z_mu + (0.5 * z_logvar).exp() * noise


def kl_to_standard_normal(z_mu: Tensor, z_logvar: Tensor) -> Tensor:
    """KL(N(z_mu, exp z_logvar) || N(0, I)) of each image, in nats: (B,)."""
    return 0.5 * (z_mu.square() + z_logvar.exp() - 1 - z_logvar).sum(dim=1)


def swap_partners(groups: int, group_size: int, shift: int) -> Tensor:
    """For each image of `groups` stacked groups, the index of the group's image `shift` places on, cyclically: (B,).

    With groups of two and shift 1 these are the published pairs, x1 <-> x2.
    """
    index = torch.arange(groups * group_size).view(groups, group_size)
    return index.roll(-shift, dims=1).flatten()


def forward_cycle_loss(
    model: CycleVAE, x: Tensor, partner: Tensor, noise: Tensor, kl_weight: float, hp: HParams
) -> ForwardCycle:
    """Equation 1: decode each image from its own z and the s of another image of the same character.

        E_q [ -log p(x1 | z1, s2) ] + KL(q(z1 | x1) || N(0, I)),   s2 = f_s(x2)

    and, ours, hp.leak_weight times what the critic finds of the character in z1 (see `leak_to_critic`).

    x (B, 3, H, W); `partner` (B,) indexes an image of the same character for each; `noise` (B, Z) ~ N(0, I); `kl_weight`
    is hp.kl_weight or, while it warms up, less.
    """
    z_mu, z_logvar, s = model.encode(x)
    x_hat = model.decode(reparameterize(z_mu, z_logvar, noise), s[partner])
    reconstruction = (x_hat - x).square().flatten(1).sum(dim=1).mean()
    kl = kl_to_standard_normal(z_mu, z_logvar).mean()
    leak = leak_to_critic(critic_scores(frozen(model.critic), z_mu, s.detach(), hp)) if model.critic else torch.zeros_like(kl)
    loss = (hp.reconstruction_weight * reconstruction + kl_weight * kl + hp.leak_weight * leak) / x[0].numel()
    return ForwardCycle(loss, reconstruction, kl, leak, Latents(z_mu, z_logvar, s))


def reverse_cycle_loss(model: CycleVAE, x_a: Tensor, x_b: Tensor, z: Tensor) -> Tensor:
    """Equation 2: one z, two characters; what is decoded from both must be encoded to the same z again.

        E_{z ~ N(0, I)} || f_z(g(z, s_a)) - f_z(g(z, s_b)) ||_1

    x_a, x_b (B, 3, H, W) of any characters; z (B, Z) ~ N(0, I). As in the author's code s is detached and only the encoder
    learns, so both decodings need no gradient. The L1 distance is summed over Z and averaged over the batch.
    """
    with torch.no_grad():
        images = [model.decode(z, model.encode(x).s) for x in (x_a, x_b)]
    z_a, z_b = (model.encode(image).z_mu for image in images)
    return (z_a - z_b).abs().sum(dim=1).mean()


def frozen(module: nn.Module) -> Callable[..., Tensor]:
    """`module` as a function of its input alone: its parameters get no gradient."""
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return lambda *inputs: functional_call(module, parameters, inputs)


def critic_scores(critic: Callable[[Tensor, Tensor], Tensor], z_mu: Tensor, s: Tensor, hp: HParams) -> Tensor:
    """The critic's scores of each z for each of hp.critic_groups characters, its own among them: (B, hp.critic_groups).

    z_mu (B, Z) and s (B, S) belong to stacked groups of hp.group_size images of one character. A character is shown by the
    mean s of its group; each image's own by the mean of the others', so that nothing but who it is tells it from the rest.
    """
    blocks = (-1, hp.critic_groups, hp.group_size)
    z, s = z_mu.unflatten(0, blocks), s.unflatten(0, blocks)
    total = s.sum(dim=2, keepdim=True)
    others = (total - s) / (hp.group_size - 1)
    scores = critic(z.flatten(1, 2), total[:, :, 0] / hp.group_size).unflatten(1, blocks[1:])
    own = critic(z[..., None, :], others[..., None, :]).squeeze(-1)
    mine = torch.eye(hp.critic_groups, dtype=torch.bool, device=z.device)[:, None]
    return torch.where(mine, own, scores).flatten(0, 2)


def critic_loss(model: CycleVAE, z_mu: Tensor, s: Tensor, hp: HParams) -> Tensor:
    """Cross-entropy in nats of the critic's guess of who each z_mu (B, Z) belongs to, for s (B, S) of the same images.

    ln(hp.critic_groups) less this loss is a lower bound of the information between z and the character, and the more so the
    better the critic (InfoNCE: van den Oord et al., 2018, equation 4; Poole et al., ICML 2019). Who is who is known from the
    groups alone: no name or attribute is used.
    """
    scores = critic_scores(model.critic, z_mu.detach(), s.detach(), hp)
    own = torch.arange(hp.critic_groups, device=s.device).repeat_interleave(hp.group_size)
    return F.cross_entropy(scores, own.repeat(len(scores) // len(own)))


def leak_to_critic(scores: Tensor) -> Tensor:
    """KL(uniform || critic's belief) in nats, a mean over z: 0 where the critic has no idea who each z belongs to.

    Bounded below, unlike the critic's own loss with its sign reversed, which could be driven ever on by what fools it.
    """
    return -F.log_softmax(scores, dim=1).mean() - math.log(scores.shape[1])
