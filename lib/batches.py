"""Sprites in flight: groups of one character drawn by index, and the one place where images change their form.

At rest images are uint8 (N, 60, 60, 3), in flight float32 (B, 3, 60, 60) in [0, 1]. Apart from `lib.sprites`, so that the
processes that read an archive start without torch.
"""

import numpy as np
import torch
from torch import Tensor

from lib.config import UserError
from lib.sprites import P, Sprites


def valid_mask(sprites: Sprites, indices: np.ndarray) -> Tensor:
    """BoolTensor (C, 178): which pose of which character is among the image indices."""
    mask = torch.zeros(len(sprites.images), dtype=torch.bool)
    mask[torch.as_tensor(indices)] = True
    return mask.view(-1, P)


def sample_groups(valid: Tensor, group_size: int, groups: int, generator: torch.Generator) -> Tensor:
    """LongTensor (groups, group_size) of image indices: each row one character in distinct poses, drawn uniformly.

    `valid` (C, 178) says what may be drawn. A character comes once, as long as there are enough with `group_size` images.
    """
    # counted by NumPy, in one thread: on busy cores torch's threads would wait milliseconds for each other, every step
    able = torch.from_numpy(np.flatnonzero(np.count_nonzero(valid.numpy(), axis=1) >= group_size))
    if len(able) == 0:
        raise UserError(f"no character has {group_size} images to train on: set group_size lower or give more sprites")
    if len(able) >= groups:
        chosen = able[torch.randperm(len(able), generator=generator)[:groups]]
    else:
        chosen = able[torch.randint(len(able), (groups,), generator=generator)]
    order = torch.rand(groups, valid.shape[1], generator=generator).masked_fill(~valid[chosen], -1)
    return chosen[:, None] * valid.shape[1] + order.topk(group_size, dim=1).indices


def to_float(images: np.ndarray | Tensor, device: torch.device | str | None = None) -> Tensor:
    """Images uint8 (..., 60, 60, 3) as float32 (B, 3, 60, 60) in [0, 1], in memory still with the channels last."""
    images = torch.as_tensor(images, device=device)
    return images.reshape(-1, *images.shape[-3:]).permute(0, 3, 1, 2).float().div_(255)


def to_uint8(images: Tensor) -> np.ndarray:
    """Images (B, 3, 60, 60), clamped to [0, 1] and rounded, as uint8 (B, 60, 60, 3)."""
    return images.detach().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().contiguous().numpy()
