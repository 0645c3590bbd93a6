"""Images change their form here and nowhere else.

At rest they are uint8 (N, H, W, 3). In flight they are float32 (B, 3, H, W) in [0, 1].
"""

import numpy as np
import torch
from torch import Tensor

GAP = 2  # pixels between the images of a grid


def to_float(images: np.ndarray | Tensor, device: torch.device | str | None = None) -> Tensor:
    """(..., H, W, 3) uint8 to (B, 3, H, W); in memory the channels stay last."""
    images = torch.as_tensor(images, device=device)
    return images.reshape(-1, *images.shape[-3:]).permute(0, 3, 1, 2).float().div_(255)


def to_uint8(images: Tensor) -> np.ndarray:
    """(B, 3, H, W), clamped to [0, 1] and rounded, to (B, H, W, 3) uint8."""
    levels = images.detach().clamp(0, 1).mul(255).round().byte()
    return levels.permute(0, 2, 3, 1).cpu().contiguous().numpy()


def mean_image(images: np.ndarray) -> Tensor:
    """(3, H, W), the mean of images (N, H, W, 3) uint8."""
    return torch.from_numpy(images.mean(axis=0, dtype=np.float32)).permute(2, 0, 1).div(255)


def flat_pixels(images: np.ndarray) -> np.ndarray:
    """(N, H * W * 3) float32 in [0, 1], for methods that see an image as a list of numbers."""
    return images.reshape(len(images), -1) / np.float32(255)


def joined(images: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8: images (R, C, H, W, 3) in rows and columns, GAP apart on white."""
    margin = (GAP // 2, GAP // 2)
    tiles = np.pad(images, ((0, 0), (0, 0), margin, margin, (0, 0)), constant_values=255)
    rows, columns, height, width, _ = tiles.shape
    return tiles.swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def with_headers(images: np.ndarray, top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """(R + 1, C + 1, H, W, 3): images (R, C, H, W, 3) below `top` (C, ...), beside `left` (R, ...).

    The corner is white.
    """
    corner = np.full_like(top[:1], 255)
    first, rows = np.concatenate([corner, top]), np.concatenate([left[:, None], images], axis=1)
    return np.concatenate([first[None], rows])
