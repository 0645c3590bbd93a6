"""Images as coordinates on the principal components of the training images.

Components are orthonormal. So the squared error between two images is the one between their
coordinates, plus a constant: the part of the image that no component shows. A training on
coordinates never computes a pixel, which makes a step much faster.

B images of D values, of which L are ever lit in a training image; K components.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lib.data.images import to_float

FITTED_IMAGES = 8  # for each component, at most
CHECKED_IMAGES = 1_000  # that say how much no component shows, at most
CHUNK = 500  # images at once

Read = Callable[[Tensor], Tensor]


class AllPixels(nn.Module):
    """Leaves images as they are, for networks that work on pixels."""

    left = 0.0  # see `PrincipalComponents`

    def fit(self, images: Tensor, indices: Tensor, seed: int) -> None:
        """There is nothing to find."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def image(self, x: Tensor) -> Tensor:
        return x

    def prepare(self, images: Tensor, indices: Tensor, draws: int) -> tuple[Tensor, Read]:
        """See `PrincipalComponents.prepare`."""
        return images, to_float


class Scale(nn.Module):
    """Multiplies each coordinate by its factor."""

    factors: Tensor  # (K,)

    def __init__(self, components: int) -> None:
        super().__init__()
        self.register_buffer("factors", torch.ones(components))

    def forward(self, c: Tensor) -> Tensor:
        return c * self.factors


class PrincipalComponents(nn.Module):
    """From images (B, 3, H, W) in [0, 1] to coordinates (B, K), and back."""

    lit: Tensor  # (L,) int64, in the order H, W, 3: the values that are not always 0
    mean: Tensor  # (L,)
    axes: Tensor  # (L, K)
    deviations: Tensor  # (K,) of the coordinates, falling; 0 where there are fewer components
    left: Tensor  # () squared error of an image that no component shows, a mean over images

    def __init__(self, components: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("lit", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(0))
        self.register_buffer("axes", torch.zeros(0, components))
        self.register_buffer("deviations", torch.zeros(components))
        self.register_buffer("left", torch.zeros(()))
        # The encoder sees large coordinates smaller, but still larger than small ones. The decoder
        # gives them in the same proportions; outputs of unit variance have that of the images.
        self.to_encoder, self.from_decoder = Scale(components), Scale(components)

    @torch.no_grad()
    def fit(self, images: Tensor, indices: Tensor, seed: int) -> None:
        """Find the components of the uint8 images (N, H, W, 3) that `indices` name.

        A random part of them is enough.

        Source: Halko et al. (SIAM Review 2011), algorithm 5.1, as torch computes it.
        """
        flat, indices = images.flatten(1), indices.to(images.device)
        brightest = [flat[chosen].amax(dim=0) for chosen in indices.split(CHUNK)]
        lit = torch.stack(brightest).amax(dim=0).nonzero().flatten()
        with torch.random.fork_rng():  # torch.svd_lowrank takes no generator
            torch.manual_seed(seed)
            order = indices[torch.randperm(len(indices)).to(images.device)]
            x = flat[order[: FITTED_IMAGES * len(self.deviations)]][:, lit].float().div_(255)
            x = x.cpu() if x.is_mps else x  # mps lacks the decomposition
            mean = x.mean(dim=0)
            rank = min(len(self.deviations), *x.shape)
            found = mean, *torch.svd_lowrank(x.sub_(mean), rank)[1:]
            mean, singular, axes = (part.to(images.device) for part in found)
        missing = len(self.deviations) - rank
        self.lit, self.mean, self.axes = lit, mean, pad(axes, (0, missing))
        self.deviations = pad(singular / len(x) ** 0.5, (0, missing))
        self.to_encoder.factors = self.deviations.rsqrt().nan_to_num(posinf=0.0)
        roots = self.deviations.sqrt()
        self.from_decoder.factors = roots * (self.deviations.norm() / roots.norm()).nan_to_num()
        x = to_float(images[order[-CHECKED_IMAGES:]])
        self.left = (self.image(self(x)) - x).square().flatten(1).sum(dim=1).mean()

    def forward(self, x: Tensor) -> Tensor:
        return (x.permute(0, 2, 3, 1).flatten(1)[:, self.lit] - self.mean) @ self.axes

    def image(self, c: Tensor) -> Tensor:
        """Images (B, 3, H, W); values that are never lit in a training image are 0."""
        x = c.new_zeros(len(c), 3 * self.size**2)
        x[:, self.lit] = torch.addmm(self.mean, c, self.axes.T)
        return x.unflatten(1, (self.size, self.size, 3)).permute(0, 3, 1, 2)

    @torch.no_grad()
    def prepare(self, images: Tensor, indices: Tensor, draws: int) -> tuple[Tensor, Read]:
        """Rows (N, ...) of images, and a function that makes inputs of the encoder from such rows.

        Where more images will be drawn than `indices` name of the uint8 images (N, H, W, 3), the
        rows are the coordinates of these, computed once.
        """
        if draws < len(indices):
            return images, lambda rows: self(to_float(rows))
        prepared = self.axes.new_zeros(len(images), len(self.deviations))
        for chosen in indices.to(images.device).split(CHUNK):
            prepared[chosen] = self(to_float(images[chosen]))
        return prepared, lambda rows: rows

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *arguments: object) -> None:
        for name in ("lit", "mean", "axes"):  # their size is that of the images they come from
            present = getattr(self, name)
            stored = state_dict.get(prefix + name, present)
            setattr(self, name, torch.empty_like(stored, device=present.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
