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
from lib.data.defaults import affordable
from lib.data.image_set import UNKNOWN, ImageSet
from lib.data.images import to_float
from lib.data.sources import exchanged_images
from lib.evaluation.codes import Codes
from lib.evaluation.intervals import (
    bootstrap_interval,
    gain,
    gain_interval,
    ratio_interval,
    share_interval,
)
from lib.evaluation.targets import hides_attribute
from lib.method.networks import CycleVAE
from lib.system.errors import UserError
from lib.system.optimizers import Adam

CHUNK = 500  # images decoded or compared at once
FEW_PAIRS = 10  # pairs of images for each swap; if there are no more, all are looked at
EMPTY_DRAWS = 100  # in a row, after which there is no swap
SSIM_IMAGES = 1_000  # images of which the structural similarity is taken, as `affordable` says
MONITORED_SWAPS = 500  # at most; a fifth of hp.swap_samples in a small run
CODE_RATE = 0.05  # of Adam, for the best codes of an image
CODE_STEPS = 1_000  # at most
CONVERGED = 0.01, 50  # the error falls by less than this share in so many steps
PART_PIXELS = 3  # a part that shows in fewer is not scored
MOST_VALUES = 8  # of a factor of poses that errors are shown by
SEVERAL = 4  # images of a character whose mean s is also tried

Predict = Callable[[slice], Tensor]  # images (B, 3, H, W) of a part of the swaps or targets


class Swaps(NamedTuple):
    """Image indices of n swaps."""

    s_image: np.ndarray  # (n,) gives s
    z_image: np.ndarray  # (n,) gives z
    # (n,) the true image: the character of s_image in the pose of z_image; UNKNOWN where none is
    target: np.ndarray

    def first(self, n: int) -> "Swaps":
        return Swaps(*(index[:n] for index in self))

    @property
    def reconstructions(self) -> "Swaps":
        """The same true images, each with its own s and z."""
        return Swaps(self.target, self.target, self.target)

    def clusters(self, dataset: ImageSet) -> tuple[np.ndarray, np.ndarray]:
        """(n,) each: of the image that gives s, and of the one that gives z."""
        return dataset.cluster[self.s_image], dataset.cluster[self.z_image]


def sample_swaps(
    dataset: ImageSet, split: np.ndarray, n: int, seed: int, z_split: np.ndarray | None = None
) -> Swaps:
    """n swaps of different identities and poses among the images with indices `split`.

    z comes from the images `z_split`, if given. Of few images, each swap comes once at most, so
    there may be fewer than n.

    Raises: UserError where there is none.
    """
    rng = np.random.default_rng(seed)
    z_split = split if z_split is None else z_split
    if dataset.has_truth:
        split, z_split = map(dataset.of_known_pose, (split, z_split))
    if len(split) * len(z_split) <= FEW_PAIRS * n:
        pairs = np.stack(np.meshgrid(split, z_split), axis=-1).reshape(-1, 2)
        found = _valid_swaps(dataset, *rng.permutation(pairs).T)
        if len(found.target) == 0:
            raise _no_swaps()
        return found.first(n)
    left = EMPTY_DRAWS
    found = Swaps(*np.empty((3, 0), np.int64))
    while len(found.target) < n:
        if left == 0:
            raise _no_swaps()
        drawn = _valid_swaps(
            dataset, rng.choice(split, size=2 * n), rng.choice(z_split, size=2 * n)
        )
        left = EMPTY_DRAWS if len(drawn.target) else left - 1
        found = Swaps(*map(np.append, found, drawn))
    return found.first(n)


def _valid_swaps(dataset: ImageSet, s_image: np.ndarray, z_image: np.ndarray) -> Swaps:
    """The swaps of different identities; where poses are known, of different ones, with a truth."""
    target = dataset.image_at(dataset.character[s_image], dataset.pose[z_image])
    valid = dataset.identity[s_image] != dataset.identity[z_image]
    if dataset.has_truth:
        valid &= (dataset.pose[s_image] != dataset.pose[z_image]) & (target != UNKNOWN)
    return Swaps(s_image[valid], z_image[valid], target[valid])


def _no_swaps() -> UserError:
    return UserError(
        "no two images can be swapped in a part of the data: give more identities, or more poses"
        " that they share"
    )


def reconstruction_swaps(split: np.ndarray, n: int, seed: int) -> Swaps:
    """n images of a split, each with its own s and z."""
    chosen = np.random.default_rng(seed).choice(split, size=min(n, len(split)), replace=False)
    return Swaps(chosen, chosen, chosen)


def validation_swaps(
    dataset: ImageSet, validation: np.ndarray, hp: HParams, seed: int
) -> dict[str, Swaps]:
    """The swaps and reconstructions that a training is measured on as it goes.

    Without known poses, there are reconstructions alone.
    """
    n = affordable(min(MONITORED_SWAPS, hp.swap_samples // 5), dataset.size)
    watched = {"validation_reconstruction": reconstruction_swaps(validation, n, seed)}
    if dataset.has_truth:
        watched = {"validation_swap": sample_swaps(dataset, validation, n, seed), **watched}
    return watched


def swap_monitor(
    dataset: ImageSet, watched: dict[str, Swaps]
) -> Callable[[CycleVAE], dict[str, float]]:
    """The `monitor` of `lib.method.training.fit`: the MSE of each of the `watched` swaps."""

    def monitor(model: CycleVAE) -> dict[str, float]:
        errors = {name: swap_error(model, dataset, swaps) for name, swaps in watched.items()}
        return {name: summarize(error)["mse"] for name, error in errors.items()}

    return monitor


@torch.no_grad()
def decode_codes(model: CycleVAE, z: np.ndarray, s: np.ndarray) -> Tensor:
    """Images (B, 3, H, W) from codes (B, Z) and (B, S), on the CPU, clamped."""
    device = next(model.parameters()).device
    codes = (torch.from_numpy(code).to(device) for code in (z, s))
    return model.decode(*codes).clamp(0, 1).cpu()


def true_images(dataset: ImageSet, index: np.ndarray) -> Predict:
    """The images with the indices `index`."""
    return lambda part: to_float(dataset.images[index[part]])


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


def several_s_images(dataset: ImageSet, swaps: Swaps, seed: int) -> np.ndarray:
    """(n, SEVERAL) the image that gives s, and others of its character, none of them the target.

    Where there are too few others, the first comes again.
    """
    members = dataset.members(np.arange(len(dataset.images)))
    images, first = members[dataset.character[swaps.s_image]], swaps.s_image[:, None]
    order = np.random.default_rng(seed).random(images.shape)
    order[(images == first) | (images == swaps.target[:, None])] = 1  # after all others
    order[images == UNKNOWN] = 1
    chosen = np.argsort(order, axis=1)[:, : SEVERAL - 1]
    others = np.take_along_axis(np.where(order == 1, first, images), chosen, axis=1)
    return np.concatenate([first, others], axis=1)


@torch.no_grad()
def swap_error(model: CycleVAE, dataset: ImageSet, swaps: Swaps) -> np.ndarray:
    """`image_errors` (n, 3) of each swap. It encodes only the images of these swaps."""
    device = next(model.parameters()).device

    def predict(part: slice) -> Tensor:
        images = (dataset.images[index[part]] for index in (swaps.z_image, swaps.s_image))
        return model.transfer(*(to_float(x, device) for x in images)).clamp(0, 1).cpu()

    return errors_in_chunks(dataset, swaps, predict)


def errors_in_chunks(dataset: ImageSet, swaps: Swaps, predict: Predict) -> np.ndarray:
    """`image_errors` (n, 3) of each predicted swap."""
    truth = true_images(dataset, swaps.target)
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
    dataset: ImageSet, swaps: Swaps, predict: Predict
) -> tuple[dict[str, object], np.ndarray]:
    """The score of predicted swaps, and their `image_errors` (n, 3).

    The score is `summarize` with `ci95`, the 95 % interval of the MSE over both clusters of a swap,
    and with `ssim`, the mean over the first swaps.

    Source: SSIM, Wang et al. (IEEE TIP 2004); 1 is equal.
    """
    # here, because torchmetrics would add seconds to the start of every training
    from torchmetrics.functional.image import structural_similarity_index_measure

    errors = errors_in_chunks(dataset, swaps, predict)
    first = slice(0, affordable(SSIM_IMAGES, dataset.size))
    shown = predict(first).contiguous(memory_format=torch.channels_last)
    true = to_float(dataset.images[swaps.target[first]])
    ssim = float(structural_similarity_index_measure(shown, true, data_range=1.0))
    interval = bootstrap_interval(errors[:, 0], *swaps.clusters(dataset))
    return {**summarize(errors), "ci95": interval, "ssim": ssim}, errors


def paired_gain(
    dataset: ImageSet, swaps: Swaps, errors: np.ndarray, reference: np.ndarray
) -> dict[str, object]:
    """{db, ci95}: by how many dB the swaps beat a reference on the same swaps.

    `errors` and `reference` are `image_errors` (n, 3). The interval is over clusters.
    """
    error, other = errors[:, 0], reference[:, 0]
    interval = gain_interval(error, other, *swaps.clusters(dataset))
    return {"db": float(gain(error.mean(), other.mean())), "ci95": interval}


def training_distance(dataset: ImageSet, train: np.ndarray) -> list[str]:
    """For each identity, how the most similar identity of `train` differs from it.

    That is the number of attributes that differ, of those that twins share. "skin alone" names the
    one that differs where the two are of one cluster.
    """
    _, first = np.unique(dataset.character_identity, return_index=True)
    columns = np.flatnonzero(dataset.identity_attributes)
    labels = dataset.labels[first][:, columns]
    known = labels[np.unique(dataset.identity[train])]
    found = []
    for label in labels:
        differs = known != label
        count = differs.sum(axis=1)
        fewest = int(count.min())
        alone = columns[differs[count == 1].any(axis=0)] if fewest == 1 else []
        varied = [dataset.attributes[k] for k in alone if not dataset.cluster_attributes[k]]
        name = f"{fewest} attribute" if fewest == 1 else f"{fewest} attributes"
        found.append(f"{varied[0]} alone" if varied else name)
    return found


def swap_error_by_distance(
    dataset: ImageSet, train: np.ndarray, swaps: Swaps, errors: np.ndarray
) -> dict[str, dict[str, object]]:
    """{distance: errors, identities} by the `training_distance` of the character A."""
    s_identity = dataset.identity[swaps.s_image]
    distance = np.array(training_distance(dataset, train))[s_identity]
    found = {}
    for name in sorted(set(distance), key=lambda name: ("alone" not in name, name)):
        here = distance == name
        found[name] = {**summarize(errors[here]), "identities": len(np.unique(s_identity[here]))}
    return found


def part_scores(dataset: ImageSet, swaps: Swaps, predict: Predict) -> dict[str, dict[str, object]]:
    """{attribute: {score, ci95, n, shown}}: is the part of A or of B in the predicted swaps?

    For each attribute in which A and B differ, the true image is compared with that of the
    character who has the value of B and is else like A. Only pixels that differ between the two
    count. The score is the share of swaps that are nearer to A there: 1 is right, 0 means that the
    part comes with z. A swap counts where such a character exists and PART_PIXELS differ. `shown`
    is the share of these swaps whose s image shows the attribute: some images hide a weapon.
    """
    a, b = (dataset.labels[dataset.character[index]] for index in (swaps.s_image, swaps.z_image))
    nearer = np.full(a.shape, np.nan)
    for part in in_chunks(len(a)):
        predicted = predict(part).permute(0, 2, 3, 1).numpy() * 255
        true = dataset.images[swaps.target[part]].astype(np.float32)
        for k in range(a.shape[1]):
            rows = np.flatnonzero(a[part, k] != b[part, k])
            if len(rows) == 0:
                continue
            exchanged = a[part][rows]
            exchanged[:, k] = b[part][rows, k]
            pose = dataset.pose[swaps.target[part][rows]]
            other, exists = exchanged_images(dataset, exchanged, pose)
            differ = (other != true[rows]).any(axis=-1)
            to_true, to_other = (
                (np.square(predicted[rows] - image).sum(axis=-1) * differ).sum(axis=(1, 2))
                for image in (true[rows], other.astype(np.float32))
            )
            scored = exists & (differ.sum(axis=(1, 2)) >= PART_PIXELS)
            nearer[part.start + rows[scored], k] = (to_true < to_other)[scored]

    clusters, hidden = swaps.clusters(dataset), hides_attribute(dataset)
    found = {}
    for name, right in zip(dataset.attributes, nearer.T, strict=True):
        if (here := ~np.isnan(right)).any():
            score = right[here] == 1
            interval = share_interval(score, *(cluster[here] for cluster in clusters))
            hides = hidden[swaps.s_image[here]] & (name in dataset.hidden_attributes)
            found[name] = {
                "score": float(score.mean()),
                "ci95": interval,
                "n": int(here.sum()),
                "shown": 1 - float(hides.mean()),
            }
    return found


def swap_error_by_attribute(
    dataset: ImageSet, swaps: Swaps, errors: np.ndarray
) -> dict[str, dict[str, object]]:
    """{attribute: {differs, same, ratio, ci95}}: errors where A and B differ in it, and where not.

    `ratio` is that of the two MSEs, with its 95 % interval over clusters. An attribute in which
    all or none of the swaps differ is left out.
    """
    clusters = swaps.clusters(dataset)
    a, b = (dataset.labels[dataset.character[image]] for image in (swaps.s_image, swaps.z_image))
    found = {}
    for name, differs in zip(dataset.attributes, (a != b).T, strict=True):
        if differs.any() and not differs.all():
            apart, same = summarize(errors[differs]), summarize(errors[~differs])
            interval = ratio_interval(errors[:, 0], differs, *clusters)
            ratio = apart["mse"] / same["mse"]
            found[name] = {"differs": apart, "same": same, "ratio": ratio, "ci95": interval}
    return found


def swap_error_by_pose(
    dataset: ImageSet, images: np.ndarray, errors: np.ndarray
) -> dict[str, dict[str, dict[str, float]]]:
    """{"action" or "view": {name: errors}} by the pose of one image (n,) of each swap."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for factor, (of_pose, names) in dataset.factors.items():
        value = of_pose[dataset.pose[images]]
        if len(names) <= MOST_VALUES:
            found[factor] = {
                name: summarize(errors[value == k])
                for k, name in enumerate(names)
                if (value == k).any()
            }
    return found


def best_error(
    model: CycleVAE, dataset: ImageSet, codes: Codes, swaps: Swaps
) -> tuple[np.ndarray, dict[str, object]]:
    """`image_errors` (n, 3) with s and z optimised for each target, starting from the swap.

    This is an upper bound on the lowest error of the decoder. Also {steps, converged}: whether the
    error fell by less than CONVERGED before CODE_STEPS were over.
    """
    device = next(model.parameters()).device
    true = to_float(dataset.images[swaps.target], device)
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


def nearest_pose_error(images: Tensor, dataset: ImageSet, characters: np.ndarray) -> np.ndarray:
    """`image_errors` (n, 3) against the nearest true image, in any pose, of each character (n,)."""
    errors = []
    for image, character in zip(images, characters, strict=True):
        true = to_float(dataset.images[dataset.images_of(character)])
        difference = (true - image).flatten(1)
        best = int(difference.square().sum(dim=1).argmin())
        errors.append(image_errors(image[None], true[best : best + 1])[0])
    return np.array(errors)
