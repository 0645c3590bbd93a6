"""The codes of all images."""

from typing import NamedTuple

import numpy as np
import torch

from lib.data.sprites import READ_ERRORS, Sprites
from lib.method.losses import reparameterize
from lib.method.networks import encode_images
from lib.method.runs import Run
from lib.system.files import atomic_write


class Codes(NamedTuple):
    """The codes of all N images, float32."""

    z_mu: np.ndarray  # (N, Z)
    z: np.ndarray  # (N, Z) one sample of q(z|x) for each image
    s: np.ndarray  # (N, S)


def encode_all(run: Run, sprites: Sprites) -> Codes:
    """The codes of all images, computed once for a model and kept in the run's folder."""
    path, model = run.folder / "codes.npz", run.folder / "model.pt"
    stamp = f"{model.stat().st_mtime_ns} {model.stat().st_size}"
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["stamp"]) == stamp:
                return Codes(stored["z_mu"], stored["z"], stored["s"])
    except READ_ERRORS:
        pass  # missing or damaged: computed anew
    z_mu, z_logvar, s = encode_images(run.model, sprites.images)
    z = reparameterize(
        z_mu, z_logvar, torch.randn(z_mu.shape, generator=torch.Generator().manual_seed(run.seed))
    )
    codes = Codes(z_mu.numpy(), z.numpy(), s.numpy())
    with atomic_write(path) as file:
        np.savez(file, stamp=np.array(stamp), **codes._asdict())
    return codes


def standardised(x: np.ndarray) -> np.ndarray:
    """x (n, D) with each column at mean 0 and standard deviation 1."""
    mean, std = standardisation(x)
    return (x - mean) / std


def standardisation(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; a constant column is left at its scale."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std > 1e-6, std, 1).astype(x.dtype)
