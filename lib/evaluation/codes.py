"""The codes of all images, computed once for a model, and maps of them."""

import hashlib
from typing import NamedTuple

import numpy as np
import torch

from lib.data.image_set import ImageSet
from lib.data.images import to_float
from lib.method.losses import reparameterize
from lib.method.networks import CycleVAE, Latents
from lib.method.runs import Run
from lib.system.files import cached

COPIED_AT_ONCE = 10_000  # images
ENCODED_AT_ONCE = 500


class Codes(NamedTuple):
    """The codes of N images, float32."""

    z_mu: np.ndarray  # (N, Z)
    z: np.ndarray  # (N, Z), one sample of q(z|x) for each image
    s: np.ndarray  # (N, S)


def encode_all(run: Run, dataset: ImageSet) -> Codes:
    """The codes of all images, stored in the folder of the run until its model changes."""
    with open(run.folder / "model.pt", "rb") as file:
        stamp = hashlib.file_digest(file, "sha256").hexdigest()

    def encode() -> dict[str, np.ndarray]:
        z_mu, z_logvar, s = encode_dataset(run.model, dataset)
        generator = torch.Generator().manual_seed(run.seed)
        z = reparameterize(z_mu, z_logvar, torch.randn(z_mu.shape, generator=generator))
        return Codes(z_mu.numpy(), z.numpy(), s.numpy())._asdict()

    arrays = cached(run.folder / "codes.npz", stamp, encode)
    return Codes(*(arrays[name] for name in Codes._fields))


def encode_dataset(model: CycleVAE, dataset: ImageSet) -> Latents:
    """The codes of all images, on the CPU. Images that are equal to the bit are encoded once."""
    _, first, inverse = np.unique(dataset.distinct, return_index=True, return_inverse=True)
    parts = [
        encode_images(model, dataset.images[some])
        for some in np.array_split(first, -(-len(first) // COPIED_AT_ONCE))
    ]
    return Latents(*(torch.cat(codes)[inverse] for codes in zip(*parts, strict=True)))


@torch.no_grad()
def encode_images(model: CycleVAE, images: np.ndarray) -> Latents:
    """The codes of uint8 images (N, 60, 60, 3), in evaluation mode, on the CPU."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    parts = torch.from_numpy(images).split(ENCODED_AT_ONCE)
    codes = [model.encode(to_float(part, device)) for part in parts]
    model.train(training)
    return Latents(*(torch.cat(parts).cpu() for parts in zip(*codes, strict=True)))


def standardised(x: np.ndarray) -> np.ndarray:
    """x (n, D) with mean 0 and standard deviation 1 in each column."""
    mean, std = mean_and_std(x)
    return (x - mean) / std


def mean_and_std(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 for a constant column."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std > 1e-6, std, 1).astype(x.dtype)


def tsne_map(codes: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2), the t-SNE of standardised codes (n, D)."""
    # here, because scikit-learn would add seconds to the start of what only needs codes
    from sklearn.manifold import TSNE

    perplexity = min(30, len(codes) // 4)
    return TSNE(random_state=seed, init="pca", perplexity=perplexity).fit_transform(
        standardised(codes)
    )


def subsample(index: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n of the indices without replacement, or all if there are fewer."""
    return index if len(index) <= n else np.random.default_rng(seed).choice(index, n, replace=False)
