"""The judge: a classifier of attributes and pose, trained on true images, that looks at swaps.

A pixel error does not say what is wrong with a swap. The judge does. It is trained on images of
training identities. Where attributes do not tell identities apart, it learns the identities
themselves, and so sees some images of each (`judge_parts`). It is independent of the model, so
every run of a source and a split shares it. It is as reliable as its accuracy on images whose truth
is known: true images, true images that are as blurred as swaps, and reconstructions of training
identities. The report shows all three. Many poses of a character differ in a few pixels, so it also
says whether a pose is right within a tolerance.
"""

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lib.config import HParams
from lib.data.image_set import UNKNOWN, ImageSet, bayes_ceiling
from lib.data.images import to_float
from lib.evaluation.classifiers import minimise
from lib.evaluation.swaps import Predict, in_chunks, psnr
from lib.evaluation.targets import (
    attribute_targets,
    identity_labels,
    tells_identities_apart,
    unseen_cells,
    unseen_poses,
)
from lib.system import paths
from lib.system.files import cached

BATCH = 32
LEARNING_RATE = 2e-3
LAST_SIDE, MOST_CHANNELS = 4, 128
PASSES = 3  # images that it is trained on, in multiples of hp.probe_images
TOLERANCE = 10 / 3_600  # of the pixels: two poses that differ in no more count as equal
BLURS = (0.2, 8.0)  # standard deviations of a Gaussian between which that of a PSNR is sought
BLURRED_IMAGES = 500  # from which it is found


class JudgeParts(NamedTuple):
    """Image indices."""

    train: np.ndarray
    truth: np.ndarray  # true images whose accuracy says how reliable the judge is


class Judge(nn.Module):
    """Images (B, 3, H, W) to logits (B, K) for the pose and for each attribute.

    It folds 4x4 pixels into channels first, because a CPU is fast at large matrix products.
    """

    def __init__(self, classes: dict[str, int], size: int) -> None:
        super().__init__()
        self.names = tuple(classes)
        channels, side = stages(size)
        hidden = [nn.Flatten(), nn.Linear(channels[-1] * side * side, 512), nn.ReLU()]
        self.features = nn.Sequential(*convolutions(channels), *hidden)
        self.heads = nn.ModuleList(nn.Linear(512, n) for n in classes.values())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.features(x)
        return {name: head(h) for name, head in zip(self.names, self.heads, strict=True)}


def stages(size: int) -> tuple[list[int], int]:
    """The channels after each convolution, and the pixels of the last: 60 -> 15 -> 8 -> 4."""
    channels, side = [48], size // 4
    while side > LAST_SIDE:
        channels.append(min(2 * channels[-1], MOST_CHANNELS))
        side = -(-side // 2)
    return channels, side


def convolutions(channels: list[int]) -> list[nn.Module]:
    """4x4 patches to the first channels, then convolutions with stride 2."""
    layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, stride=4)]
    layers += [nn.GroupNorm(8, channels[0]), nn.ReLU()]
    for c_in, c_out in pairwise(channels):
        convolution = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)
        layers += [convolution, nn.GroupNorm(8, c_out), nn.ReLU()]
    return layers


def judge_targets(dataset: ImageSet) -> dict[str, np.ndarray]:
    """(N,) for every attribute and the pose; for the identity where attributes do not tell it."""
    targets = attribute_targets(dataset)
    if not tells_identities_apart(dataset):
        targets["identity"] = dataset.identity
    return targets | ({"pose": dataset.pose} if dataset.has_truth else {})


def judge_parts(dataset: ImageSet, splits: Mapping[str, np.ndarray], seed: int) -> JudgeParts:
    """Which images the judge is trained on, and on which true images it is tested."""
    splits = _of_known_poses(dataset, splits)
    if tells_identities_apart(dataset):
        return JudgeParts(splits["train"], splits["test"])
    parts = (unseen_cells if dataset.has_truth else unseen_poses)(dataset, seed)
    parts = _of_known_poses(dataset, parts)
    tested = np.intersect1d(parts["test"], splits["test"])
    return JudgeParts(parts["train"], tested if len(tested) else parts["test"])


def _of_known_poses(dataset: ImageSet, parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the images whose pose is not known, unless none is."""
    if not dataset.has_truth:
        return dict(parts)
    return {name: dataset.of_known_pose(part) for name, part in parts.items()}


def judge_ceilings(dataset: ImageSet, test: np.ndarray) -> dict[str, float]:
    """Bayes ceilings of all that `judge_images` says, on the images with indices `test`.

    The ceiling of a pose within tolerance is not known, only that it is at most 1.
    """
    distinct, targets = dataset.distinct[test], _scored_targets(dataset)
    ceilings = {name: bayes_ceiling(distinct, target[test]) for name, target in targets.items()}
    if "pose" not in targets:
        return ceilings
    return {**ceilings, "pose_within_tolerance": 1.0, "both": ceilings["identity"]}


def judge_baselines(dataset: ImageSet, test: np.ndarray) -> dict[str, float]:
    """Accuracy of the majority class on the images with indices `test`."""
    targets = _scored_targets(dataset)
    return {
        name: float(np.bincount(target[test]).max() / len(test)) for name, target in targets.items()
    }


def _scored_targets(dataset: ImageSet) -> dict[str, np.ndarray]:
    return {**judge_targets(dataset), "identity": dataset.identity}


def load_judge(
    dataset: ImageSet, train: np.ndarray, hp: HParams, seed: int, device: torch.device
) -> Judge:
    """The judge of a source and a split, trained on the images `train` unless `data/` has it."""
    targets = {name: torch.from_numpy(y) for name, y in judge_targets(dataset).items()}
    classes = {name: int(target.max()) + 1 for name, target in targets.items()}
    images_seen = PASSES * hp.probe_images
    torch.manual_seed(seed)
    judge = Judge(classes, dataset.size).to(device)
    seen = hashlib.sha256(train.tobytes()).hexdigest()
    stamp = f"{dataset.fingerprint} seed {seed}, {images_seen} images of {seen}, {judge}"

    def train_judge() -> dict[str, np.ndarray]:
        _fit(judge, dataset, targets, train, images_seen, seed)
        return {name: weight.cpu().numpy() for name, weight in judge.state_dict().items()}

    weights = cached(paths.DATA / f"{dataset.source}-judge.npz", stamp, train_judge)
    judge.load_state_dict({name: torch.from_numpy(weights[name]) for name in judge.state_dict()})
    return judge.eval()


def _fit(
    judge: Judge,
    dataset: ImageSet,
    targets: dict[str, Tensor],
    train: np.ndarray,
    images_seen: int,
    seed: int,
) -> None:
    device = next(judge.parameters()).device
    steps = -(-images_seen // BATCH)
    rng = np.random.default_rng(seed)

    def loss(index: np.ndarray) -> Tensor:
        logits = judge(to_float(dataset.images[index], device))
        return sum(
            F.cross_entropy(logits[name], y[index].to(device)) for name, y in targets.items()
        )

    progress = tqdm(range(steps), desc="training the judge", unit="step", dynamic_ncols=True)
    batches = (rng.choice(train, BATCH) for _ in progress)
    judge.train()
    minimise(loss, judge.parameters(), [batches], LEARNING_RATE, decay_steps=steps)


@torch.no_grad()
def judge_images(
    judge: Judge, predict: Predict, target: np.ndarray, dataset: ImageSet
) -> dict[str, np.ndarray]:
    """Does each predicted image show the character and the pose of the image index `target` (n,)?

    Returns: (n,) bool for each attribute; `identity` (all attributes that twins share); `pose`;
        `pose_within_tolerance` (in the pose that the judge names, the true image differs from the
        target in TOLERANCE of its pixels at most); `both` (identity, and pose within tolerance).
        And (n,) nats, the negative log-likelihood of the truth: `identity_nll` and `pose_nll`. What
        needs known poses is absent where there are none.
    """
    device = next(judge.parameters()).device
    logits = [judge(predict(part).to(device)) for part in in_chunks(len(target))]
    named, right, nll = {}, {}, {}
    for name, y in judge_targets(dataset).items():
        log_posterior = F.log_softmax(torch.cat([chunk[name] for chunk in logits]), dim=1)
        log_posterior = log_posterior.cpu().numpy()
        named[name] = log_posterior.argmax(axis=1)
        right[name] = named[name] == y[target]
        nll[name] = -log_posterior[np.arange(len(target)), y[target]]

    if "identity" not in right:
        attributes = list(identity_labels(dataset))
        right["identity"] = np.all([right[name] for name in attributes], axis=0)
        nll["identity"] = sum(nll[name] for name in attributes)
    if "pose" in named:
        named_image = dataset.image_at(dataset.character[target], named["pose"])
        right["pose_within_tolerance"] = _nearly_equal(dataset, named_image, target)
        right["both"] = right["identity"] & right["pose_within_tolerance"]
    return right | {f"{name}_nll": nll[name] for name in ("identity", "pose") if name in nll}


def _nearly_equal(dataset: ImageSet, index: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n,) bool: whether two images differ in TOLERANCE of their pixels at most."""
    most = TOLERANCE * dataset.size**2
    pairs = ((dataset.images[a], dataset.images[b]) for a, b in zip(index, other, strict=True))
    differ = np.array([(a != b).any(axis=-1).sum() for a, b in pairs])
    return (differ <= most) & (index != UNKNOWN)


def blurred_images(dataset: ImageSet, index: np.ndarray, decibels: float) -> Predict:
    """The true images with the indices `index`, blurred until they have this PSNR on average.

    The blur stays within BLURS, so a very low or high PSNR is not reached.
    """
    some = dataset.images[index[:BLURRED_IMAGES]] / np.float32(255)

    def excess(deviation: float) -> float:
        return psnr(np.square(_blurred(some, deviation) - some).mean()) - decibels

    sharp, soft = BLURS
    if excess(soft) > 0:  # no blur is as bad
        deviation = soft
    else:
        deviation = brentq(excess, sharp, soft, xtol=1e-3) if excess(sharp) > 0 else sharp

    def predict(part: slice) -> Tensor:
        images = dataset.images[index[part]] / np.float32(255)
        return torch.from_numpy(_blurred(images, deviation)).permute(0, 3, 1, 2)

    return predict


def _blurred(images: np.ndarray, deviation: float) -> np.ndarray:
    return gaussian_filter(images, (0, deviation, deviation, 0))
