"""Swaps and their true images: s from an image of A, z from an image of B in pose p.

A and B have different identities. The true image shows A in pose p. Images in flight are float32
tensors (B, 3, H, W) in [0, 1].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.config import HParams
from lib.data.images import to_float
from lib.data.sources import exchanged_images
from lib.data.sprites import ACTIONS, N_POSES, POSES, VIEWS, Sprites
from lib.evaluation.codes import Codes
from lib.evaluation.intervals import (
    bootstrap_interval,
    gain,
    gain_interval,
    ratio_interval,
    share_interval,
)
from lib.method.networks import CycleVAE
from lib.system.optimizers import Adam

CHUNK = 500  # images decoded or compared at once
SSIM_IMAGES = 1_000  # images of which the structural similarity is taken
MONITORED_SWAPS = 500  # at most; a fifth of hp.swap_samples in a small run
CODE_RATE = 0.05  # of Adam, for the best codes of an image
CODE_STEPS = 1_000  # at most
CONVERGED = 0.01, 50  # the error falls by less than this share in so many steps
PART_PIXELS = 3  # a part that shows in fewer is not scored
SEVERAL = 4  # images of a character whose mean s is also tried

Predict = Callable[[slice], Tensor]  # images (B, 3, H, W) of a part of the swaps or targets


class Swaps(NamedTuple):
    """Image indices of n swaps."""

    s_image: np.ndarray  # (n,) gives s
    z_image: np.ndarray  # (n,) gives z
    target: np.ndarray  # (n,) the true image: the character of s_image in the pose of z_image

    def first(self, n: int) -> "Swaps":
        return Swaps(*(index[:n] for index in self))

    @property
    def reconstructions(self) -> "Swaps":
        """The same true images, each with its own s and z."""
        return Swaps(self.target, self.target, self.target)

    def outfits(self, sprites: Sprites) -> tuple[np.ndarray, np.ndarray]:
        """(n,) each: of the image that gives s, and of the one that gives z."""
        return sprites.outfit[self.s_image], sprites.outfit[self.z_image]


def sample_swaps(
    sprites: Sprites, split: np.ndarray, n: int, seed: int, z_split: np.ndarray | None = None
) -> Swaps:
    """n swaps of different identities and poses among the images with indices `split`.

    z comes from the images `z_split`, if given.
    """
    rng = np.random.default_rng(seed)
    z_split = split if z_split is None else z_split
    s, z = np.empty(0, np.int64), np.empty(0, np.int64)
    while len(s) < n:
        a, b = rng.choice(split, size=2 * n), rng.choice(z_split, size=2 * n)
        differ = sprites.identity[a] != sprites.identity[b]
        differ &= sprites.pose[a] != sprites.pose[b]
        s, z = np.append(s, a[differ]), np.append(z, b[differ])
    s, z = s[:n], z[:n]
    return Swaps(s, z, sprites.character[s] * N_POSES + sprites.pose[z])


def reconstruction_swaps(split: np.ndarray, n: int, seed: int) -> Swaps:
    """n images of a split, each with its own s and z."""
    chosen = np.random.default_rng(seed).choice(split, size=min(n, len(split)), replace=False)
    return Swaps(chosen, chosen, chosen)


def validation_swaps(
    sprites: Sprites, validation: np.ndarray, hp: HParams, seed: int
) -> dict[str, Swaps]:
    """The swaps and reconstructions that a training is measured on as it goes."""
    n = min(MONITORED_SWAPS, hp.swap_samples // 5)
    return {
        "validation_swap": sample_swaps(sprites, validation, n, seed),
        "validation_reconstruction": reconstruction_swaps(validation, n, seed),
    }


def swap_monitor(
    sprites: Sprites, watched: dict[str, Swaps]
) -> Callable[[CycleVAE], dict[str, float]]:
    """The `monitor` of `lib.method.training.fit`: the MSE of each of the `watched` swaps."""

    def monitor(model: CycleVAE) -> dict[str, float]:
        errors = {name: swap_error(model, sprites, swaps) for name, swaps in watched.items()}
        return {name: summarize(error)["mse"] for name, error in errors.items()}

    return monitor


@torch.no_grad()
def decode_codes(model: CycleVAE, z: np.ndarray, s: np.ndarray) -> Tensor:
    """Images (B, 3, H, W) from codes (B, Z) and (B, S), on the CPU, clamped."""
    device = next(model.parameters()).device
    codes = (torch.from_numpy(code).to(device) for code in (z, s))
    return model.decode(*codes).clamp(0, 1).cpu()


def true_images(sprites: Sprites, index: np.ndarray) -> Predict:
    """The images with the indices `index`."""
    return lambda part: to_float(sprites.images[index[part]])


def in_chunks(n: int) -> list[slice]:
    """The parts of 0 to n that are predicted at once."""
    return [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]


def swap_predictor(
    model: CycleVAE, codes: Codes, swaps: Swaps, s_images: np.ndarray | None = None
) -> Predict:
    """The images that the model decodes for the swaps, from the codes of all images.

    With `s_images` (n, k), s is the mean over k images.
    """
    z = codes.z_mu[swaps.z_image]
    s = codes.s[swaps.s_image] if s_images is None else codes.s[s_images].mean(axis=1)
    return lambda part: decode_codes(model, z[part], s[part])


def several_s_images(swaps: Swaps, seed: int) -> np.ndarray:
    """(n, SEVERAL) the image that gives s, and others of its character, none of them the target."""
    order = np.random.default_rng(seed).random((len(swaps.target), N_POSES))
    rows = np.arange(len(order))
    for taken in (swaps.s_image, swaps.target):
        order[rows, taken % N_POSES] = 1  # after all others
    others = np.argsort(order, axis=1)[:, : SEVERAL - 1]
    first = swaps.s_image[:, None]
    return np.concatenate([first, first // N_POSES * N_POSES + others], axis=1)


@torch.no_grad()
def swap_error(model: CycleVAE, sprites: Sprites, swaps: Swaps) -> np.ndarray:
    """`image_errors` (n, 3) of each swap. It encodes only the images of these swaps."""
    device = next(model.parameters()).device

    def predict(part: slice) -> Tensor:
        images = (sprites.images[index[part]] for index in (swaps.z_image, swaps.s_image))
        return model.transfer(*(to_float(x, device) for x in images)).clamp(0, 1).cpu()

    return errors_in_chunks(sprites, swaps, predict)


def errors_in_chunks(sprites: Sprites, swaps: Swaps, predict: Predict) -> np.ndarray:
    """`image_errors` (n, 3) of each predicted swap."""
    truth = true_images(sprites, swaps.target)
    parts = in_chunks(len(swaps.target))
    return np.concatenate([image_errors(predict(part), truth(part)) for part in parts])


def image_errors(prediction: Tensor, truth: Tensor) -> np.ndarray:
    """(B, 3): mean squared error, squared error on the foreground, number of foreground values.

    The foreground is where the true image is not black. Most of a sprite is background, which is
    easy to predict.
    """
    # sums go through the memory in order, where the channels come last
    predicted, true = (np.moveaxis(images.numpy(), 1, -1) for images in (prediction, truth))
    squared = (predicted - true) ** 2
    foreground = true.any(axis=-1, keepdims=True)
    on_foreground = (squared * foreground).sum((1, 2, 3))
    values = 3.0 * foreground.sum((1, 2, 3))
    return np.stack([squared.mean((1, 2, 3)), on_foreground, values], axis=1)


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB, for values in [0, 1]."""
    return float(-10 * np.log10(mse))


def summarize(errors: np.ndarray) -> dict[str, float]:
    """`image_errors` (n, 3) as {mse, psnr, foreground_mse, n}; PSNR of the mean MSE."""
    mse = float(errors[:, 0].mean())
    foreground_mse = float(errors[:, 1].sum() / errors[:, 2].sum())
    return {"mse": mse, "psnr": psnr(mse), "foreground_mse": foreground_mse, "n": len(errors)}


def swap_scores(
    sprites: Sprites, swaps: Swaps, predict: Predict
) -> tuple[dict[str, object], np.ndarray]:
    """The score of predicted swaps, and their `image_errors` (n, 3).

    The score is `summarize` with `ci95`, the 95 % interval of the MSE over both outfits of a swap,
    and with `ssim`, the mean over the first SSIM_IMAGES swaps.

    Source: SSIM, Wang et al. (IEEE TIP 2004); 1 is equal.
    """
    # here, because torchmetrics would add seconds to the start of every training
    from torchmetrics.functional.image import structural_similarity_index_measure

    errors = errors_in_chunks(sprites, swaps, predict)
    first = slice(0, SSIM_IMAGES)
    shown = predict(first).contiguous(memory_format=torch.channels_last)
    true = to_float(sprites.images[swaps.target[first]])
    ssim = float(structural_similarity_index_measure(shown, true, data_range=1.0))
    interval = bootstrap_interval(errors[:, 0], *swaps.outfits(sprites))
    return {**summarize(errors), "ci95": interval, "ssim": ssim}, errors


def paired_gain(
    sprites: Sprites, swaps: Swaps, errors: np.ndarray, reference: np.ndarray
) -> dict[str, object]:
    """{db, ci95}: by how many dB the swaps beat a reference on the same swaps.

    `errors` and `reference` are `image_errors` (n, 3). The interval is over outfits.
    """
    error, other = errors[:, 0], reference[:, 0]
    interval = gain_interval(error, other, *swaps.outfits(sprites))
    return {"db": float(gain(error.mean(), other.mean())), "ci95": interval}


def training_distance(sprites: Sprites, train: np.ndarray) -> list[str]:
    """For each identity, how the most similar identity of `train` differs from it.

    That is "skin alone", or the number of attributes that differ, without the weapon.
    """
    _, first = np.unique(sprites.character_identity, return_index=True)
    labels = sprites.labels[first, :-1]
    known = labels[np.unique(sprites.identity[train])]
    skin = sprites.attributes.index("skin")
    found = []
    for label in labels:
        differs = known != label
        count = differs.sum(axis=1)
        skin_alone = (count == 1) & differs[:, skin]
        name = "1 attribute" if count.min() == 1 else f"{count.min()} attributes"
        found.append("skin alone" if count.min() == 1 and skin_alone.any() else name)
    return found


def swap_error_by_distance(
    sprites: Sprites, train: np.ndarray, swaps: Swaps, errors: np.ndarray
) -> dict[str, dict[str, object]]:
    """{distance: errors, identities} by the `training_distance` of the character A."""
    s_identity = sprites.identity[swaps.s_image]
    distance = np.array(training_distance(sprites, train))[s_identity]
    found = {}
    for name in sorted(set(distance), key=lambda name: (name != "skin alone", name)):
        here = distance == name
        found[name] = {**summarize(errors[here]), "identities": len(np.unique(s_identity[here]))}
    return found


def part_scores(sprites: Sprites, swaps: Swaps, predict: Predict) -> dict[str, dict[str, object]]:
    """{attribute: {score, ci95, n}}: is the part of A or that of B in the predicted swaps?

    For each attribute in which A and B differ, the true image is compared with that of the
    character who has the value of B and is else like A. Only pixels that differ between the two
    count. The score is the share of swaps that are nearer to A there: 1 is right, 0 means that the
    part comes with z. A swap counts where such a character exists and PART_PIXELS differ.
    """
    a, b = (sprites.labels[sprites.character[index]] for index in (swaps.s_image, swaps.z_image))
    nearer = np.full(a.shape, np.nan)
    for part in in_chunks(len(a)):
        predicted = predict(part).permute(0, 2, 3, 1).numpy() * 255
        true = sprites.images[swaps.target[part]].astype(np.float32)
        for k in range(a.shape[1]):
            rows = np.flatnonzero(a[part, k] != b[part, k])
            if len(rows) == 0:
                continue
            exchanged = a[part][rows]
            exchanged[:, k] = b[part][rows, k]
            pose = sprites.pose[swaps.target[part][rows]]
            other, exists = exchanged_images(sprites, exchanged, pose)
            differ = (other != true[rows]).any(axis=-1)
            to_true, to_other = (
                (np.square(predicted[rows] - image).sum(axis=-1) * differ).sum(axis=(1, 2))
                for image in (true[rows], other.astype(np.float32))
            )
            scored = exists & (differ.sum(axis=(1, 2)) >= PART_PIXELS)
            nearer[part.start + rows[scored], k] = (to_true < to_other)[scored]

    outfits = swaps.outfits(sprites)
    found = {}
    for name, right in zip(sprites.attributes, nearer.T, strict=True):
        if (here := ~np.isnan(right)).any():
            score = right[here] == 1
            interval = share_interval(score, *(outfit[here] for outfit in outfits))
            found[name] = {"score": float(score.mean()), "ci95": interval, "n": int(here.sum())}
    return found


def swap_error_by_attribute(
    sprites: Sprites, swaps: Swaps, errors: np.ndarray
) -> dict[str, dict[str, object]]:
    """{attribute: {differs, same, ratio, ci95}}: errors where A and B differ in it, and where not.

    `ratio` is that of the two MSEs, with its 95 % interval over outfits. An attribute in which
    all or none of the swaps differ is left out.
    """
    outfits = swaps.outfits(sprites)
    a, b = (sprites.labels[sprites.character[image]] for image in (swaps.s_image, swaps.z_image))
    found = {}
    for name, differs in zip(sprites.attributes, (a != b).T, strict=True):
        if differs.any() and not differs.all():
            apart, same = summarize(errors[differs]), summarize(errors[~differs])
            interval = ratio_interval(errors[:, 0], differs, *outfits)
            ratio = apart["mse"] / same["mse"]
            found[name] = {"differs": apart, "same": same, "ratio": ratio, "ci95": interval}
    return found


def swap_error_by_pose(
    sprites: Sprites, images: np.ndarray, errors: np.ndarray
) -> dict[str, dict[str, dict[str, float]]]:
    """{"action" or "view": {name: errors}} by the pose of one image (n,) of each swap."""
    pose = POSES[sprites.pose[images]]
    return {
        factor: {
            name: summarize(errors[pose[factor] == k])
            for k, name in enumerate(names)
            if (pose[factor] == k).any()
        }
        for factor, names in (("action", ACTIONS), ("view", VIEWS))
    }


def best_error(
    model: CycleVAE, sprites: Sprites, codes: Codes, swaps: Swaps
) -> tuple[np.ndarray, dict[str, object]]:
    """`image_errors` (n, 3) with s and z optimised for each target, starting from the swap.

    This is an upper bound on the lowest error of the decoder. Also {steps, converged}: whether the
    error fell by less than CONVERGED before CODE_STEPS were over.
    """
    device = next(model.parameters()).device
    true = to_float(sprites.images[swaps.target], device)
    starts = codes.z_mu[swaps.z_image], codes.s[swaps.s_image]
    best = [torch.from_numpy(code).to(device).requires_grad_() for code in starts]
    optimizer = Adam(best, lr=CODE_RATE)
    share, steps = CONVERGED
    errors: list[float] = []
    converged = False
    while not converged and len(errors) < CODE_STEPS:
        error = (model.decode(*best) - true).square().sum()
        best[0].grad, best[1].grad = torch.autograd.grad(error, best)
        optimizer.step()
        errors.append(error.item())
        converged = len(errors) > steps and errors[-1] > (1 - share) * errors[-1 - steps]
    with torch.no_grad():
        images = model.decode(*best).clamp(0, 1).cpu()
    return image_errors(images, true.cpu()), {"steps": len(errors), "converged": converged}


def nearest_pose_error(images: Tensor, sprites: Sprites, characters: np.ndarray) -> np.ndarray:
    """`image_errors` (n, 3) against the nearest true image, in any pose, of each character (n,)."""
    errors = []
    for image, character in zip(images, characters, strict=True):
        true = to_float(sprites.images[character * N_POSES : (character + 1) * N_POSES])
        difference = (true - image).flatten(1)
        best = int(difference.square().sum(dim=1).argmin())
        errors.append(image_errors(image[None], true[best : best + 1])[0])
    return np.array(errors)


def match_score(sprites: Sprites, matches: Tensor | None) -> float | None:
    """The share of matched pairs (C, K) that show the same pose, by labels unused in training."""
    if matches is None:
        return None
    is_match = matches >= 0
    prototype = np.broadcast_to(np.arange(matches.shape[1]), matches.shape)[is_match]
    counts = np.zeros((matches.shape[1], N_POSES))
    np.add.at(counts, (prototype, sprites.pose[matches[is_match]]), 1)
    members = counts.sum(axis=1)
    return float((counts * (counts - 1)).sum() / (members * (members - 1)).sum())
