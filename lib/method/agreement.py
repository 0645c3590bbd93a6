"""Our extension: codes that agree where they show the same thing.

The images of a group show one character, so they should give one s. Matched images show one pose,
so they should give one z. The second is the aim of the reverse cycle (Jha et al., ECCV 2018,
equation 2), with real images in place of decoded ones.

B images in groups of hp.group_size, Z = hp.z_dim, S = hp.s_dim.
"""

from torch import Tensor

from lib.config import HParams
from lib.method.networks import Latents
from lib.method.sampling import Batch


def mean_of_others(s: Tensor, group_size: int) -> Tensor:
    """(B, S) for each image, the mean s of the other images in its group.

    Their mean knows a weapon that one image hides, so z need not carry it. ML-VAE (Bouchacourt et
    al., AAAI 2018) also decodes from one code of a group.
    """
    groups = s.unflatten(0, (-1, group_size))
    return ((groups.sum(dim=1, keepdim=True) - groups) / (group_size - 1)).flatten(0, 1)


def disagreement(codes: Latents, batch: Batch, hp: HParams) -> Tensor:
    """() weighted distances of the codes of images that show the same thing, a mean over images.

    Of s: the squared distance to the mean s of the group. Of z: KL(q(z|x_a) || q(z|x_b)) of matched
    images, in nats, so that a difference counts in units of the noise in z.
    """
    groups = codes.s.unflatten(0, (-1, hp.group_size))
    s_distance = (groups - groups.mean(dim=1, keepdim=True)).square().sum(dim=2).mean()
    p, q = codes, Latents(*(code[batch.z_index] for code in codes))
    return hp.s_agreement * s_distance + hp.z_agreement * kl_between(p, q).mean()


def kl_between(p: Latents, q: Latents) -> Tensor:
    """(B,) KL(p || q) of the normal distributions of z, in nats."""
    change = p.z_logvar - q.z_logvar
    distance = (p.z_mu - q.z_mu).square() / q.z_logvar.exp()
    return 0.5 * (distance + change.exp() - 1 - change).sum(dim=1)
