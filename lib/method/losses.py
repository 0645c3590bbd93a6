"""Losses of the cycle-consistent VAE (Jha et al., ECCV 2018, sections 3.2 and 3.3).

B images, Z = hp.z_dim, S = hp.s_dim. Images x are (B, ...): pixels in [0, 1], or coordinates on
principal components, which have the same squared errors (`lib.data.components`). Each term is a
sum over one image, in nats or squared values. The published weights 2 and 3 refer to these sums.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lib.config import HParams
from lib.method.agreement import disagreement, mean_of_others
from lib.method.networks import CycleVAE
from lib.method.sampling import Batch
from lib.method.schedules import Weights


class ForwardCycle(NamedTuple):
    """The loss of the forward cycle and its terms, each a mean over the batch."""

    loss: Tensor  # divided by the number of values in x
    reconstruction: Tensor  # squared error, summed over the values of an image
    kl: Tensor  # nats


def reparameterize(z_mu: Tensor, z_logvar: Tensor, noise: Tensor) -> Tensor:
    """(B, Z) a sample z = z_mu + sigma * noise of q(z|x), for noise ~ N(0, I).

    Source: Kingma and Welling (ICLR 2014), section 2.4.
    """
    return z_mu + (0.5 * z_logvar).exp() * noise


def kl_to_standard_normal(z_mu: Tensor, z_logvar: Tensor) -> Tensor:
    """(B,) KL(N(z_mu, exp z_logvar) || N(0, I)) of each image, in nats.

    Source: Kingma and Welling (ICLR 2014), appendix B.
    """
    return 0.5 * (z_mu.square() + z_logvar.exp() - 1 - z_logvar).sum(dim=1)


def forward_cycle_loss(
    model: CycleVAE, batch: Batch, weights: Weights, hp: HParams
) -> ForwardCycle:
    """Decode each image from its own z and from the s of another image of the same character.

        E_q [ -log p(x1 | z1, s2) ] + KL(q(z1 | x1) || N(0, I)),   s2 = f_s(x2)

    `batch.s_index` says which image is x2. Our extension: `batch.z_index` may name an image of
    another character in the same pose, which then gives z in place of x1 (`lib.method.matching`).
    With hp.mean_s, s2 is the mean s of the others in the group; with noise on it, the decoder reads
    no pose from small differences. Codes may have to agree (`lib.method.agreement`).

    Source: equation 1.
    """
    z_mu, z_logvar, s = codes = model.encoder(batch.x)
    z = reparameterize(z_mu, z_logvar, batch.z_noise)
    s2 = mean_of_others(s, hp.group_size) if hp.mean_s else s[batch.s_index]
    if batch.s_noise is not None:
        s2 = s2 + hp.s_noise * batch.s_noise
    x_hat = model.decoder(z[batch.z_index], s2)

    reconstruction = (x_hat - batch.x).square().flatten(1).sum(dim=1).mean()
    kl = kl_to_standard_normal(z_mu, z_logvar).mean()
    total = hp.reconstruction_weight * reconstruction + weights.kl * kl
    if weights.agreement:
        total = total + weights.agreement * disagreement(codes, batch, hp)
    return ForwardCycle(total / batch.x[0].numel(), reconstruction + model.components.left, kl)


def reverse_cycle_loss(model: CycleVAE, x_a: Tensor, x_b: Tensor, z: Tensor) -> Tensor:
    """Decode one z with the s of two characters, and encode both images to the same z again.

        E_{z ~ N(0, I)} || f_z(g(z, s_a)) - f_z(g(z, s_b)) ||_1

    Only the encoder learns. The authors' code detaches s_a and s_b, so neither the decoder nor the
    first encoding needs a gradient.

    Shapes: x_a, x_b (B, ...) of any two characters; z (B, Z) ~ N(0, I).
    Returns: the L1 distance, summed over Z, a mean over the batch.
    Source: equation 2, and the authors' training.py.
    """
    both = torch.cat([x_a, x_b])  # one pass over both takes less time than two, above all on a GPU
    with torch.no_grad():
        images = model.decoder(z.repeat(2, 1), model.encoder(both).s)
    z_a, z_b = model.encoder(images).z_mu.chunk(2)
    return (z_a - z_b).abs().sum(dim=1).mean()
