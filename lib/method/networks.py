"""The networks of the cycle-consistent VAE (Jha et al., ECCV 2018, section 3): one encoder, one
decoder.

The encoder maps an image to q(z|x) = N(z_mu, exp z_logvar) and to a deterministic s; the decoder
maps (z, s) to an image. z is the *unspecified* factor (the pose), s the *specified* one (which
character). Two architectures share this interface:

- "published" (Chetan and Joshi, 2020): four 5x5 stride-2 convolutions, four 4x4 stride-2 transposed
  ones;
- "dense": the encoder folds 4x4 pixels into channels first, so that all its convolutions run at
  15x15 or less, where a CPU
  multiplies large matrices instead of moving thin ones; the decoder is a residual multilayer
  perceptron, whose weights no two places share: sprites are aligned, and what a pose shows is
  always at the same place.

B batch, Z = hp.z_dim, S = hp.s_dim; images are (B, 3, 60, 60) in [0, 1].
"""

from itertools import pairwise
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lib.config import HParams
from lib.data.images import to_float
from lib.data.sprites import SIZE

CHUNK = 500  # images encoded at once


class Latents(NamedTuple):
    """The codes of a batch of images."""

    z_mu: Tensor  # (B, Z)
    z_logvar: Tensor  # (B, Z)
    s: Tensor  # (B, S)


class CycleVAE(nn.Module):
    """Encoder and decoder of the networks that `hp` describes."""

    def __init__(self, hp: HParams) -> None:
        super().__init__()
        build_encoder, build_decoder = ARCHITECTURES[hp.architecture]
        self.encoder = build_encoder(hp)
        self.decoder = build_decoder(hp)

    def encode(self, x: Tensor) -> Latents:
        """Images (B, 3, 60, 60) to their codes."""
        return self.encoder(x)

    def decode(self, z: Tensor, s: Tensor) -> Tensor:
        """Codes (B, Z) and (B, S) to images (B, 3, 60, 60), near [0, 1] but not clamped."""
        return self.decoder(z, s)

    def transfer(self, x_z: Tensor, x_s: Tensor) -> Tensor:
        """The character of `x_s` in the pose of `x_z`: decode(z_mu of x_z, s of x_s)."""
        return self.decode(self.encode(x_z).z_mu, self.encode(x_s).s)


class Encoder(nn.Module):
    """A stack of convolutions and one linear head for each code."""

    def __init__(self, features: nn.Module, n_features: int, hp: HParams) -> None:
        super().__init__()
        self.features = features
        self.z_mu_head = nn.Linear(n_features, hp.z_dim)
        self.z_logvar_head = nn.Linear(n_features, hp.z_dim)
        self.s_head = nn.Linear(n_features, hp.s_dim)
        # Every image's s has one size, whatever its contrast, so that s of several images can be
        # exchanged.
        self.s_norm = nn.LayerNorm(hp.s_dim) if hp.normalize_s else nn.Identity()

    def forward(self, x: Tensor) -> Latents:
        h = self.features(x).flatten(1)
        return Latents(self.z_mu_head(h), self.z_logvar_head(h), self.s_norm(self.s_head(h)))


class Decoder(nn.Module):
    """Each code through its own linear layer, side by side into a stack of convolutions."""

    def __init__(self, z_features: nn.Module, s_features: nn.Module, image: nn.Module) -> None:
        super().__init__()
        self.z_features = z_features
        self.s_features = s_features
        self.image = image

    def forward(self, z: Tensor, s: Tensor) -> Tensor:
        return self.image(torch.cat([self.z_features(z), self.s_features(s)], dim=1))


@torch.no_grad()
def encode_images(model: CycleVAE, images: np.ndarray) -> Latents:
    """The codes of uint8 images (N, 60, 60, 3), computed on the model's device, in evaluation mode,
    and brought to the CPU.
    """
    device, training = next(model.parameters()).device, model.training
    model.eval()
    parts = [
        model.encode(to_float(images[start : start + CHUNK], device))
        for start in range(0, len(images), CHUNK)
    ]
    model.train(training)
    return Latents(*(torch.cat(code).cpu() for code in zip(*parts, strict=True)))


def published_encoder(hp: HParams) -> Encoder:
    """5x5 stride-2 convolutions 3-16-32-64-128, 60 -> 29 -> 14 -> 6 -> 2 pixels."""
    widths = [3, 16, 32, 64, 128]
    layers = []
    for c_in, c_out in pairwise(widths):
        layers += [nn.Conv2d(c_in, c_out, 5, stride=2, padding=1), _norm(c_out, hp), nn.ReLU()]
    return Encoder(nn.Sequential(*layers), 128 * 2 * 2, hp)


def published_decoder(hp: HParams) -> Decoder:
    """4x4 stride-2 transposed convolutions 256-64-32-16-3, 2 -> 6 -> 14 -> 30 -> 60 pixels, no
    output nonlinearity.
    """
    widths = [256, 64, 32, 16]
    layers: list[nn.Module] = [nn.Unflatten(1, (256, 2, 2))]
    for c_in, c_out in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(c_in, c_out, 4, stride=2),
            _norm(c_out, hp),
            nn.LeakyReLU(0.2),
        ]
    layers += [nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)]
    return Decoder(nn.Linear(hp.z_dim, 512), nn.Linear(hp.s_dim, 512), nn.Sequential(*layers))


class ResidualLayer(nn.Module):
    """h + ReLU(LayerNorm(W h + b)), (B, width) to (B, width) (He et al., CVPR 2016; Ba et al.,
    2016).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = dense_layer(width, width)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.change(h)


def dense_layer(n_in: int, n_out: int) -> nn.Sequential:
    """ReLU(LayerNorm(W h + b)), (B, n_in) to (B, n_out)."""
    return nn.Sequential(nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.ReLU())


def folded_encoder(hp: HParams, size: int = SIZE) -> Encoder:
    """`folded_features` and the heads; `size` pixels of an image, each way."""
    return Encoder(folded_features(hp), 128 * ceil(size / 16) ** 2, hp)


def folded_features(hp: HParams) -> nn.Sequential:
    """4x4 patches to 48 channels at 15x15, then two 3x3 stride-2 convolutions 48-96-128 to 4x4."""
    return nn.Sequential(
        nn.Conv2d(3, 48, 4, stride=4),
        _norm(48, hp),
        nn.ReLU(),
        nn.Conv2d(48, 96, 3, stride=2, padding=1),
        _norm(96, hp),
        nn.ReLU(),
        nn.Conv2d(96, 128, 3, stride=2, padding=1),
        _norm(128, hp),
        nn.ReLU(),
    )


def dense_decoder(hp: HParams, size: int = SIZE) -> Decoder:
    """Each code to 512, both to 768, two residual layers, and every value of an image as a sum over
    what these 768 found.
    """
    return Decoder(
        dense_layer(hp.z_dim, 512),
        dense_layer(hp.s_dim, 512),
        nn.Sequential(
            dense_layer(1024, 768),
            ResidualLayer(768),
            ResidualLayer(768),
            nn.LayerNorm(768),
            nn.Linear(768, 3 * size**2),
            nn.Unflatten(1, (3, size, size)),
        ),
    )


def _norm(channels: int, hp: HParams) -> nn.Module:
    """Statistics of each image alone, so that images encoded together do not change a code."""
    return nn.InstanceNorm2d(channels) if hp.norm == "instance" else nn.GroupNorm(8, channels)


ARCHITECTURES = {
    "published": (published_encoder, published_decoder),
    "dense": (folded_encoder, dense_decoder),
}
