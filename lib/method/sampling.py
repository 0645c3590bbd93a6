"""Batches: B images in G groups of hp.group_size, each group of one of C characters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.config import HParams
from lib.data.image_set import UNKNOWN
from lib.data.images import to_float
from lib.system.devices import send
from lib.system.errors import UserError


class Batch(NamedTuple):
    """The images and the random numbers of one step; in several processes, the part of one."""

    # in groups of hp.group_size images of one character: (B, 3, H, W) in [0, 1], or (B, K)
    # coordinates (`lib.data.components`)
    x: Tensor
    s_index: Tensor  # (B,) the image that gives s to each image: another of the same character
    z_index: Tensor  # (B,) the image that gives z: itself, or a matched one of another character
    z_noise: Tensor  # (B, Z) ~ N(0, I), to sample z
    s_noise: Tensor | None = None  # (B, S) ~ N(0, I), added to s; None without hp.s_noise
    prior_z: Tensor | None = None  # (B/2, Z) ~ N(0, I); None in a step without a reverse cycle
    # (B,) each, for methods that learn codes: the indices of the images, and of their characters
    image: Tensor | None = None
    character: Tensor | None = None


@dataclass
class Sampler:
    """Draws batches from one generator on the CPU: a seed gives the same ones on every device.

    Each of `world` processes draws the whole batch and returns its part, number `rank`.
    """

    images: Tensor  # (N, ...), on the device that trains
    members: Tensor  # (C, M) the images that may be drawn (`ImageSet.members`)
    hp: HParams
    generator: torch.Generator
    rank: int = 0
    world: int = 1
    read: Callable[[Tensor], Tensor] = to_float  # from rows of `images` to x of a batch
    matches: Tensor | None = None  # see `lib.method.matching.find_matches`

    def draw(self, step: int) -> Batch:
        size, device = self.hp.group_size, self.images.device
        groups = self.hp.batch_images // size
        if self.matches is None:
            drawn = sample_groups(self.members, size, groups, self.generator)
            drawn += (torch.zeros(groups, dtype=torch.bool),)
        else:
            drawn = sample_matched(self.members, self.matches, size, groups, self.generator)
        character, index, matched = (part.chunk(self.world)[self.rank] for part in drawn)
        image = send(index.flatten(), device)
        character = send(character.repeat_interleave(size), device)
        x = self.read(self.images[image])
        s_from = send(s_index(len(index), size, shift=1 + step % (size - 1)), device)
        z_from = send(z_index(matched, size), device)
        z_noise = self._normal(len(x), self.hp.z_dim)
        s_noise = self._normal(len(x), self.hp.s_dim) if self.hp.s_noise else None
        reverse = self.hp.reverse_weight and step % self.hp.reverse_every == 0
        prior_z = self._normal(len(index) // 2 * size, self.hp.z_dim) if reverse else None
        return Batch(x, s_from, z_from, z_noise, s_noise, prior_z, image, character)

    def _normal(self, n: int, size: int) -> Tensor:
        noise = torch.randn(n * self.world, size, generator=self.generator)
        return send(noise[self.rank * n : (self.rank + 1) * n], self.images.device)


def s_index(groups: int, group_size: int, shift: int) -> Tensor:
    """(B,) the image `shift` places on in the same group; groups of two are the published pairs."""
    index = torch.arange(groups * group_size).view(groups, group_size)
    return index.roll(-shift, dims=1).flatten()


def z_index(matched: Tensor, group_size: int) -> Tensor:
    """(B,) the image at the same place in the paired group, or itself where not `matched` (G,)."""
    index = torch.arange(len(matched) * group_size).view(-1, group_size)
    exchanged = index.clone()
    paired = len(matched) // 2 * 2
    exchanged[:paired] = index[:paired].view(-1, 2, group_size).flip(1).flatten(0, 1)
    return torch.where(matched[:, None], exchanged, index).flatten()


def paired_characters(images: int, group_size: int, device: torch.device | None = None) -> Tensor:
    """(2, n) images of two different characters: those of groups 2i, and those of groups 2i + 1."""
    pairs = images // (2 * group_size)
    index = torch.arange(pairs * 2 * group_size, device=device).view(pairs, 2, group_size)
    return index.transpose(0, 1).flatten(1)


def sample_groups(
    members: Tensor, group_size: int, groups: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(G,) characters, and (G, group_size) indices of different images of each.

    No character comes twice while there are enough. Raises UserError where none has enough images.
    """
    # NumPy counts in one thread. On busy cores torch's threads would wait for each other.
    images = np.count_nonzero(members.numpy() != UNKNOWN, axis=1)
    able = torch.from_numpy(np.flatnonzero(images >= group_size))
    if len(able) == 0:
        raise UserError(
            f"no character has {group_size} images: lower group_size, or give more images"
        )
    if len(able) >= groups:
        chosen = able[torch.randperm(len(able), generator=generator)[:groups]]
    else:
        chosen = able[torch.randint(len(able), (groups,), generator=generator)]
    present = members[chosen]
    order = torch.rand(present.shape, generator=generator).masked_fill(present == UNKNOWN, -1)
    return chosen, present.gather(1, order.topk(group_size, dim=1).indices)


def sample_matched(
    members: Tensor, matches: Tensor, group_size: int, groups: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """As `sample_groups`, but groups 2i and 2i + 1 show matched poses; and which do so, (G,) bool.

    Two characters with fewer than `group_size` prototypes in common are not matched.
    """
    character, index = sample_groups(members, group_size, groups, generator)
    pairs = index[: groups // 2 * 2].view(-1, 2, group_size)
    characters = character[: 2 * len(pairs)].view(-1, 2)
    common = (matches[characters] != UNKNOWN).all(dim=1)
    order = torch.rand(common.shape, generator=generator).masked_fill(~common, -1)
    places = order.topk(group_size, dim=1).indices

    enough = common.gather(1, places).all(dim=1)
    pairs[enough] = matches[characters].gather(2, places[:, None].expand(-1, 2, -1))[enough]
    matched = torch.zeros(groups, dtype=torch.bool)
    matched[: 2 * len(pairs)] = enough.repeat_interleave(2)
    return character, index, matched
