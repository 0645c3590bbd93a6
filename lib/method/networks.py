"""The networks (Jha et al., ECCV 2018, section 3), in three architectures.

- "published" (Chetan and Joshi, 2020): 5x5 convolutions, 4x4 transposed convolutions, for images
  of 60x60 pixels alone.
- "dense" (ours): residual perceptrons that see images as coordinates on principal components
  (`lib.data.components`), because sprites are aligned, and a CPU is fast at matrix products.
- "conv" (ours): 3x3 convolutions, for larger images.

B images, Z = hp.z_dim, S = hp.s_dim; images are (B, 3, H, H) in [0, 1]. The encoder and the
decoder work on (B, ...) pixels or coordinates; `CycleVAE` takes and gives images.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.config import HParams
from lib.data.components import AllPixels, PrincipalComponents
from lib.system.errors import UserError

PUBLISHED_SIZE = 60  # pixels of each side


class Latents(NamedTuple):
    """q(z|x) = N(z_mu, exp z_logvar) of the unspecified factor, and s, the specified factor."""

    z_mu: Tensor  # (B, Z)
    z_logvar: Tensor  # (B, Z)
    s: Tensor  # (B, S)


class CycleVAE(nn.Module):
    def __init__(self, hp: HParams, size: int = PUBLISHED_SIZE) -> None:
        super().__init__()
        self.components, self.encoder, self.decoder = BUILDERS[hp.architecture](hp, size)
        self.background_level = hp.background_level

    def encode(self, x: Tensor) -> Latents:
        return self.encoder(self.components(x))

    def decode(self, z: Tensor, s: Tensor) -> Tensor:
        """Images (B, 3, H, H), near [0, 1] but not clamped; dark pixels are background, so 0."""
        x = self.components.image(self.decoder(z, s))
        if not self.background_level:
            return x
        return torch.where(x.amax(dim=1, keepdim=True) < self.background_level, 0, x)

    def transfer(self, x_z: Tensor, x_s: Tensor) -> Tensor:
        """The character of `x_s` in the pose of `x_z`."""
        return self.decode(self.encode(x_z).z_mu, self.encode(x_s).s)


class Encoder(nn.Module):
    def __init__(self, features: nn.Module, n_features: int, hp: HParams) -> None:
        super().__init__()
        self.features = features
        self.z_mu_head = nn.Linear(n_features, hp.z_dim)
        self.z_logvar_head = nn.Linear(n_features, hp.z_dim)
        self.s_head = nn.Linear(n_features, hp.s_dim)
        # all s have the same size, whatever the contrast of the image, so they can be exchanged
        self.s_norm = nn.LayerNorm(hp.s_dim) if hp.normalize_s else nn.Identity()

    def forward(self, x: Tensor) -> Latents:
        return self.heads(self.features(x).flatten(1))

    def heads(self, h: Tensor) -> Latents:
        return Latents(self.z_mu_head(h), self.z_logvar_head(h), self.s_norm(self.s_head(h)))


class Decoder(nn.Module):
    def __init__(self, z_features: nn.Module, s_features: nn.Module, image: nn.Module) -> None:
        super().__init__()
        self.z_features, self.s_features, self.image = z_features, s_features, image

    def forward(self, z: Tensor, s: Tensor) -> Tensor:
        return self.image(torch.cat([self.z_features(z), self.s_features(s)], dim=1))


class ModulatedDecoder(Decoder):
    """Each code scales the features of the other, because what s changes depends on the pose.

    Source: FiLM (Perez et al., AAAI 2018), in both directions and without its shift.
    """

    def __init__(self, *parts: nn.Module, width: int) -> None:
        super().__init__(*parts)
        self.z_gain, self.s_gain = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, z: Tensor, s: Tensor) -> Tensor:
        h_z, h_s = self.z_features(z), self.s_features(s)
        modulated = h_z * (1 + self.z_gain(h_s)), h_s * (1 + self.s_gain(h_z))
        return self.image(torch.cat(modulated, dim=1))


def check_size(hp: HParams, size: int) -> None:
    """Raises UserError where the networks cannot take images of `size` x `size` pixels."""
    if hp.architecture == "published" and size != PUBLISHED_SIZE:
        raise UserError(
            f"the published networks take images of {PUBLISHED_SIZE}x{PUBLISHED_SIZE} pixels, not"
            f" {size}x{size}: set architecture to dense or conv, or scale the images"
        )


def published_networks(hp: HParams, size: int) -> tuple[AllPixels, Encoder, Decoder]:
    """Raises UserError as `check_size`."""
    check_size(hp, size)
    encoder: list[nn.Module] = []  # 60 -> 29 -> 14 -> 6 -> 2 pixels
    for c_in, c_out in pairwise([3, 16, 32, 64, 128]):
        encoder += [nn.Conv2d(c_in, c_out, 5, stride=2, padding=1), _norm(c_out, hp), nn.ReLU()]
    decoder: list[nn.Module] = [nn.Unflatten(1, (256, 2, 2))]  # 2 -> 6 -> 14 -> 30 -> 60 pixels
    for c_in, c_out in pairwise([256, 64, 32, 16]):
        convolution = nn.ConvTranspose2d(c_in, c_out, 4, stride=2)
        decoder += [convolution, _norm(c_out, hp), nn.LeakyReLU(0.2)]
    decoder.append(nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1))
    return (
        AllPixels(),
        Encoder(nn.Sequential(*encoder), 128 * 2 * 2, hp),
        Decoder(nn.Linear(hp.z_dim, 512), nn.Linear(hp.s_dim, 512), nn.Sequential(*decoder)),
    )


def dense_networks(hp: HParams, size: int) -> tuple[PrincipalComponents, Encoder, Decoder]:
    """K coordinates to 768 features; each code to 512 features, together to 768, and to K.

    The networks compute with coordinates of more equal sizes (`lib.data.components.Scale`).
    """
    components = PrincipalComponents(hp.components, size)
    encoder = [dense_layer(hp.components, 768), ResidualLayer(768)]
    z_features, s_features = dense_layer(hp.z_dim, 512), dense_layer(hp.s_dim, 512)
    decoder = [dense_layer(1024, 768), ResidualLayer(768), ResidualLayer(768)]
    decoder += [nn.LayerNorm(768), nn.Linear(768, hp.components)]
    return (
        components,
        Encoder(nn.Sequential(components.to_encoder, *encoder), 768, hp),
        ModulatedDecoder(
            z_features, s_features, nn.Sequential(*decoder, components.from_decoder), width=512
        ),
    )


def conv_networks(hp: HParams, size: int) -> tuple[AllPixels, Encoder, Decoder]:
    """Patches of 4x4 pixels, then convolutions to 4x4 places; back by PixelShuffle.

    Source: PixelShuffle, Shi et al. (CVPR 2016); GroupNorm, Wu and He (ECCV 2018).
    """
    side, channels = -(-size // 4), [32]
    encoder = [nn.ZeroPad2d((0, -size % 4) * 2), nn.PixelUnshuffle(4), *conv_layer(48, 32)]
    while side > 4:
        channels.append(min(2 * channels[-1], 128))
        encoder += conv_layer(*channels[-2:], stride=2)
        side = -(-side // 2)
    n_features = channels[-1] * side**2
    decoder = [dense_layer(1024, n_features), nn.Unflatten(1, (channels[-1], side, side))]
    for c_out, c_in in reversed(list(pairwise(channels))):
        decoder += [*conv_layer(c_in, 4 * c_out), nn.PixelShuffle(2)]
    excess = 4 * side * 2 ** (len(channels) - 1) - size  # pixels of the last layer, which cuts them
    decoder += [nn.Conv2d(32, 48, 3, padding=1), nn.PixelShuffle(4), nn.ZeroPad2d((0, -excess) * 2)]
    z_features, s_features = dense_layer(hp.z_dim, 512), dense_layer(hp.s_dim, 512)
    return (
        AllPixels(),
        Encoder(nn.Sequential(*encoder), n_features, hp),
        ModulatedDecoder(z_features, s_features, nn.Sequential(*decoder), width=512),
    )


def conv_layer(c_in: int, c_out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1)
    return [convolution, nn.GroupNorm(8, c_out), nn.ReLU()]


def dense_layer(n_in: int, n_out: int) -> nn.Sequential:
    """ReLU(LayerNorm(W h + b)) (Ba et al., 2016)."""
    return nn.Sequential(nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.ReLU())


class ResidualLayer(nn.Module):
    """h + ReLU(LayerNorm(W h + b)) (He et al., CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = dense_layer(width, width)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def _norm(channels: int, hp: HParams) -> nn.Module:
    """Normalises each image alone, so a code does not depend on the rest of the batch."""
    return nn.InstanceNorm2d(channels) if hp.norm == "instance" else nn.GroupNorm(8, channels)


BUILDERS = {"published": published_networks, "dense": dense_networks, "conv": conv_networks}
