"""Batches: groups of images of one character, drawn by index."""

import numpy as np
import torch
from torch import Tensor

from lib.data.sprites import N_POSES, Sprites
from lib.system.errors import UserError


def valid_mask(sprites: Sprites, indices: np.ndarray) -> Tensor:
    """BoolTensor (C, 178): which pose of which character is among the image indices."""
    mask = torch.zeros(len(sprites.images), dtype=torch.bool)
    mask[torch.as_tensor(indices)] = True
    return mask.view(-1, N_POSES)


def sample_groups(
    valid: Tensor, group_size: int, groups: int, generator: torch.Generator
) -> Tensor:
    """LongTensor (groups, group_size) of image indices: each row one character in distinct poses,
    drawn uniformly.

    `valid` (C, 178) says what may be drawn. A character comes once, as long as there are enough
    with `group_size` images.
    """
    # counted by NumPy, in one thread: on busy cores torch's threads would wait milliseconds for
    # each other, every step
    able = torch.from_numpy(np.flatnonzero(np.count_nonzero(valid.numpy(), axis=1) >= group_size))
    if len(able) == 0:
        raise UserError(
            f"no character has {group_size} images to train on: set group_size lower or give more"
            " sprites"
        )
    if len(able) >= groups:
        chosen = able[torch.randperm(len(able), generator=generator)[:groups]]
    else:
        chosen = able[torch.randint(len(able), (groups,), generator=generator)]
    order = torch.rand(groups, valid.shape[1], generator=generator).masked_fill(~valid[chosen], -1)
    return chosen[:, None] * valid.shape[1] + order.topk(group_size, dim=1).indices


def sample_matched(
    valid: Tensor, matches: Tensor, group_size: int, groups: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Groups (groups, group_size) as `sample_groups` draws them, but two by two in matched poses;
    and which are so, (groups,).

    Groups 2i and 2i + 1 show two characters, and at each place the same prototype, drawn uniformly.
    Two characters with less than `group_size` prototypes in common stay as they were drawn.
    """
    index = sample_groups(valid, group_size, groups, generator)
    pairs = index[: groups // 2 * 2].view(-1, 2, group_size)
    characters = pairs[:, :, 0] // N_POSES  # (pairs, 2)
    present = (matches[characters] >= 0).all(dim=1)
    places = (
        torch.rand(present.shape, generator=generator)
        .masked_fill(~present, -1)
        .topk(group_size, dim=1)
        .indices
    )
    found = present.gather(1, places).all(dim=1)
    pairs[found] = matches[characters].gather(2, places[:, None].expand(-1, 2, -1))[found]
    matched = torch.zeros(groups, dtype=torch.bool)
    matched[: 2 * len(pairs)] = found.repeat_interleave(2)
    return index, matched
