"""What of an image shows the pose rather than the character: its edges and its outline."""

from collections.abc import Iterable

import numpy as np
import torch
from scipy.linalg import eigh
from torch.nn import functional as F

from lib.data.images import to_float

SIZE = 60  # pixels of images for which the features were chosen
COMPONENTS = 48  # principal components of the pooled images
# the features: what they show, over how many of 60 pixels each way, their total variance
POOLED = (("edges", 2, 0.5), ("edges", 4, 0.5), ("outline", 2, 1.0), ("outline", 4, 1.0))


def features(images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """(n, D) of each character's images (n, H, H, 3): edges and outline, scaled.

    Colours and the mean edges and outline are left out, because they show the character.
    """
    pooled: list[list[np.ndarray]] = [[] for _ in POOLED]
    for character_images in images:
        maps = pose_maps(character_images)
        for (kind, pixels, _), parts in zip(POOLED, pooled, strict=True):
            side = maps[kind].shape[-1]
            coarse = F.avg_pool2d(maps[kind], max(1, pixels * side // SIZE)).flatten(1)
            parts.append((coarse - coarse.mean(dim=0)).numpy())

    blocks = [_principal_components(np.concatenate(parts)) for parts in pooled]
    variances = [variance for *_, variance in POOLED]
    for k, (block, variance) in enumerate(zip(blocks, variances, strict=True)):
        blocks[k] = block * np.sqrt(variance / (block.var(axis=0).sum() + 1e-12))
    ends = np.cumsum([len(part) for part in pooled[0]])[:-1]
    return np.split(np.concatenate(blocks, axis=1), ends)


def pose_maps(images: np.ndarray) -> dict[str, torch.Tensor]:
    """Of uint8 images (n, H, H, 3): edges (n, 2, H, H), down and to the right, and outline."""
    x = to_float(images)
    brightness = F.pad(x.mean(dim=1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    steps = [brightness.diff(dim=2)[..., :-1], brightness.diff(dim=3)[..., :-1, :]]
    outline = (x > 0).any(dim=1, keepdim=True).float()
    return {"edges": torch.cat(steps, dim=1).abs(), "outline": outline}


def _principal_components(x: np.ndarray) -> np.ndarray:
    """Centred x (n, D) on its COMPONENTS principal axes of most variance, or on all D."""
    return x @ eigh(x.T @ x, subset_by_index=(max(0, x.shape[1] - COMPONENTS), x.shape[1] - 1))[1]
