"""Images change their form here and nowhere else: uint8 (N, H, W, 3) at rest, float32 (B, 3, H, W)
in [0, 1] in flight.
"""

import numpy as np
import torch
from torch import Tensor


def to_float(images: np.ndarray | Tensor, device: torch.device | str | None = None) -> Tensor:
    """Images uint8 (..., 60, 60, 3) as float32 (B, 3, 60, 60) in [0, 1], in memory still with the
    channels last.
    """
    images = torch.as_tensor(images, device=device)
    return images.reshape(-1, *images.shape[-3:]).permute(0, 3, 1, 2).float().div_(255)


def to_uint8(images: Tensor) -> np.ndarray:
    """Images (B, 3, 60, 60), clamped to [0, 1] and rounded, as uint8 (B, 60, 60, 3)."""
    return (
        images.detach()
        .clamp(0, 1)
        .mul(255)
        .round()
        .byte()
        .permute(0, 2, 3, 1)
        .cpu()
        .contiguous()
        .numpy()
    )
