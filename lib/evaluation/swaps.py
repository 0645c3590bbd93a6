"""Swaps against the true sprites, beside simple predictors and the best codes found for the
decoder.

A swap takes s from an image of A and z from an image of B in pose p, A and B of different
identities; its truth is the image of A in pose p, which 2D Sprites holds. No swap is judged on an
image that the model was trained on, to the bit.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.data.images import to_float
from lib.data.sprites import ACTIONS, N_POSES, POSES, VIEWS, Sprites
from lib.evaluation.intervals import bootstrap_interval, ratio_interval
from lib.method.networks import CycleVAE

CHUNK = 500  # images decoded or compared at once
SIMILAR = 1_000  # images of which the structural similarity is taken
OPTIMIZED_STEPS, OPTIMIZED_RATE = 100, 0.05  # of Adam, for the best codes of an image


Predict = Callable[[slice], np.ndarray]  # of some of the swaps, the images (B, 60, 60, 3) in [0, 1]


class Swaps(NamedTuple):
    """Image indices of n swaps."""

    s_image: np.ndarray  # (n,) where s is read
    z_image: np.ndarray  # (n,) where z is read
    target: np.ndarray  # (n,) the true image: the character of s_image in the pose of z_image

    def first(self, n: int) -> "Swaps":
        """The first n of them."""
        return Swaps(*(index[:n] for index in self))


def sample_swaps(
    sprites: Sprites, split: np.ndarray, n: int, seed: int, z_split: np.ndarray | None = None
) -> Swaps:
    """n swaps among the images with indices `split`: different identities, different poses, uniform
    otherwise.

    With `z_split` (image indices) z is read there instead.
    """
    rng = np.random.default_rng(seed)
    z_split = split if z_split is None else z_split
    s, z = np.empty(0, np.int64), np.empty(0, np.int64)
    while len(s) < n:
        a, b = rng.choice(split, size=2 * n), rng.choice(z_split, size=2 * n)
        good = (sprites.identity[a] != sprites.identity[b]) & (sprites.pose[a] != sprites.pose[b])
        s, z = np.append(s, a[good]), np.append(z, b[good])
    s, z = s[:n], z[:n]
    return Swaps(s, z, sprites.character[s] * N_POSES + sprites.pose[z])


def image_errors(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For images (B, 60, 60, 3) in [0, 1]: (B, 3), mean squared error, squared error on the
    foreground, foreground values.

    The foreground is where the truth is not black: most of a sprite is background, which every
    predictor gets right.
    """
    squared = (prediction - truth) ** 2
    foreground = truth.any(axis=-1, keepdims=True)
    return np.stack(
        [
            squared.mean((1, 2, 3)),
            (squared * foreground).sum((1, 2, 3)),
            3.0 * foreground.sum((1, 2, 3)),
        ],
        axis=1,
    )


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error of values in [0, 1], in dB."""
    return float(-10 * np.log10(mse))


def summarize(errors: np.ndarray) -> dict[str, float]:
    """`image_errors` of n images as {mse, psnr, foreground_mse, n}; PSNR from the mean MSE."""
    mse = float(errors[:, 0].mean())
    return {
        "mse": mse,
        "psnr": psnr(mse),
        "foreground_mse": float(errors[:, 1].sum() / errors[:, 2].sum()),
        "n": len(errors),
    }


def swap_scores(
    sprites: Sprites, swaps: Swaps, predict: Predict
) -> tuple[dict[str, object], np.ndarray]:
    """`summarize`d errors of predicted images, with `ci95`, the 95 % interval of the MSE, and
    `ssim`; and the errors (n, 3).

    The interval is over identities, both of a swap (`lib.intervals`); SSIM (Wang et al., 2004; 1 is
    equal) is the mean over the first SIMILAR swaps.
    """
    # here, as torchmetrics would add seconds to the start of every training
    from torchmetrics.functional.image import structural_similarity_index_measure

    errors = _errors_in_chunks(sprites, swaps, predict)
    a, b = (sprites.identity[image] for image in (swaps.s_image, swaps.z_image))
    few = slice(0, SIMILAR)
    shown = torch.from_numpy(np.ascontiguousarray(predict(few))).permute(0, 3, 1, 2)
    ssim = structural_similarity_index_measure(
        shown, to_float(sprites.images[swaps.target[few]]), data_range=1.0
    )
    return {
        **summarize(errors),
        "ci95": bootstrap_interval(errors[:, 0], a, b),
        "ssim": float(ssim),
    }, errors


@torch.no_grad()
def swap_images(
    model: CycleVAE, sprites: Sprites, s_image: np.ndarray, z_image: np.ndarray
) -> np.ndarray:
    """decode(z_mu of z_image, s of s_image) of image indices (B,): (B, 60, 60, 3) in [0, 1],
    clamped.
    """
    device = next(model.parameters()).device
    images = model.transfer(
        to_float(sprites.images[z_image], device), to_float(sprites.images[s_image], device)
    )
    return images.clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()


def swap_error(model: CycleVAE, sprites: Sprites, swaps: Swaps) -> np.ndarray:
    """`image_errors` (n, 3) of each swap against its truth; with s_image = z_image = target, of the
    reconstruction.
    """
    return _errors_in_chunks(sprites, swaps, swap_predictor(model, sprites, swaps))


def swap_predictor(model: CycleVAE, sprites: Sprites, swaps: Swaps) -> Predict:
    """The model's own images of the swaps."""
    return lambda part: swap_images(model, sprites, swaps.s_image[part], swaps.z_image[part])


def validation_swaps(sprites: Sprites, validation: np.ndarray, seed: int) -> dict[str, Swaps]:
    """What a training is watched by: 500 swaps and 500 reconstructions of validation images."""
    return {
        "validation_swap": sample_swaps(sprites, validation, 500, seed),
        "validation_reconstruction": reconstruction_swaps(validation, 500, seed),
    }


def swap_monitor(
    sprites: Sprites, watched: dict[str, Swaps]
) -> Callable[[CycleVAE], dict[str, float]]:
    """For `lib.method.training.fit`: the MSE of each of the `watched` swaps."""
    return lambda model: {
        name: summarize(swap_error(model, sprites, swaps))["mse"] for name, swaps in watched.items()
    }


def swap_error_by_attribute(
    sprites: Sprites, swaps: Swaps, errors: np.ndarray
) -> dict[str, dict[str, object]]:
    """Errors, `summarize`d, of the swaps in which the two characters differ in an attribute and of
    those in which they do not.

    {attribute: {differs, same, ratio, ci95}}, `ratio` that of their MSEs with its 95 % interval
    over identities. An attribute in which all or none of the swaps differ is left out.
    """
    identities = [sprites.identity[image] for image in (swaps.s_image, swaps.z_image)]
    a, b = (sprites.labels[sprites.character[image]] for image in (swaps.s_image, swaps.z_image))
    differs = dict(zip(sprites.attributes, (a != b).T, strict=True))
    found = {}
    for name, which in differs.items():
        if which.any() and not which.all():
            differ, same = summarize(errors[which]), summarize(errors[~which])
            interval = ratio_interval(errors[:, 0], which, *identities)
            found[name] = {
                "differs": differ,
                "same": same,
                "ratio": differ["mse"] / same["mse"],
                "ci95": interval,
            }
    return found


def swap_error_by_pose(
    sprites: Sprites, images: np.ndarray, errors: np.ndarray
) -> dict[str, dict[str, dict[str, float]]]:
    """Errors (n, 3) of swaps, `summarize`d by the action and by the view of one image (n,) of each:
    its target or what gave s.
    """
    pose = POSES[sprites.pose[images]]
    return {
        factor: {
            name: summarize(errors[pose[factor] == k])
            for k, name in enumerate(names)
            if (pose[factor] == k).any()
        }
        for factor, names in (("action", ACTIONS), ("view", VIEWS))
    }


def best_error(model: CycleVAE, sprites: Sprites, swaps: Swaps) -> np.ndarray:
    """`image_errors` (n, 3) with s and z optimised for each target, from those of the swap on.

    What a swap loses against it, the encoder lost, or z and s of two images do not fit each other.
    The decoder may do better still, as OPTIMIZED_STEPS do not end in the best codes.
    """
    device = next(model.parameters()).device
    truth = to_float(sprites.images[swaps.target], device)
    with torch.no_grad():
        z = model.encode(to_float(sprites.images[swaps.z_image], device)).z_mu
        s = model.encode(to_float(sprites.images[swaps.s_image], device)).s
    codes = [z.requires_grad_(), s.requires_grad_()]
    optimizer = torch.optim.Adam(codes, lr=OPTIMIZED_RATE)
    for _ in range(OPTIMIZED_STEPS):
        error = (model.decode(*codes) - truth).square().sum()
        codes[0].grad, codes[1].grad = torch.autograd.grad(error, codes)
        optimizer.step()
    with torch.no_grad():
        images = model.decode(*codes).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return image_errors(images, sprites.images[swaps.target].astype(np.float32) / 255)


def match_score(sprites: Sprites, matches: Tensor | None) -> float | None:
    """How far matches (C, K) can be trusted: the share of pairs at one prototype that show one
    pose; None without matches.

    It reads the pose labels, which the training does not.
    """
    if matches is None:
        return None
    prototype = np.broadcast_to(np.arange(matches.shape[1]), matches.shape)[matches >= 0]
    poses = np.zeros((matches.shape[1], N_POSES))
    np.add.at(poses, (prototype, sprites.pose[matches[matches >= 0]]), 1)
    members = poses.sum(axis=1)
    return float((poses * (poses - 1)).sum() / (members * (members - 1)).sum())


def nearest_pose_error(images: np.ndarray, sprites: Sprites, characters: np.ndarray) -> np.ndarray:
    """`image_errors` (n, 3) of images (n, 60, 60, 3) in [0, 1] against the nearest of all true
    images of its character (n,).
    """
    nearest = []
    for image, character in zip(images, characters, strict=True):
        truth = (
            sprites.images[character * N_POSES : (character + 1) * N_POSES].astype(np.float32) / 255
        )
        difference = (truth - image).reshape(N_POSES, -1)
        best = np.einsum("ij,ij->i", difference, difference).argmin()
        nearest.append(image_errors(image[None], truth[best : best + 1])[0])
    return np.array(nearest)


def reconstruction_swaps(split: np.ndarray, n: int, seed: int) -> Swaps:
    """n images of a split, each with its own s and z."""
    chosen = np.random.default_rng(seed).choice(split, size=min(n, len(split)), replace=False)
    return Swaps(chosen, chosen, chosen)


def _errors_in_chunks(sprites: Sprites, swaps: Swaps, predict: Predict) -> np.ndarray:
    parts = [slice(start, start + CHUNK) for start in range(0, len(swaps.target), CHUNK)]
    truth = (sprites.images[swaps.target[part]].astype(np.float32) / 255 for part in parts)
    return np.concatenate(
        [image_errors(predict(part), true) for part, true in zip(parts, truth, strict=True)]
    )
