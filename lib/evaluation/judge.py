"""The judge: a classifier of attributes and pose, trained on true images, that looks at swaps.

A pixel error does not say what is wrong with a swap. The judge does. It is trained on images of
training identities and independent of the model, so every run of a source and a split shares it. It
is as reliable as its accuracy on images whose truth is known: true images, true images that are as
blurred as swaps, and reconstructions of training identities. The report shows all three. Many poses
of a character differ in a few pixels, so it also says whether a pose is right within a tolerance.
"""

import hashlib
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lib.config import HParams
from lib.data.images import to_float
from lib.data.sprites import N_POSES, Sprites, bayes_ceiling
from lib.evaluation.classifiers import minimise
from lib.evaluation.swaps import Predict, in_chunks, psnr
from lib.evaluation.targets import attribute_targets
from lib.system import paths
from lib.system.files import cached

BATCH = 32
LEARNING_RATE = 2e-3
PASSES = 3  # images that it is trained on, in multiples of hp.probe_images
TOLERANCE_PIXELS = 10  # of 3,600: two poses that differ in no more count as equal
BLURS = (0.2, 8.0)  # standard deviations of a Gaussian between which that of a PSNR is sought
BLURRED_IMAGES = 500  # from which it is found


class Judge(nn.Module):
    """Images (B, 3, H, W) to logits (B, K) for the pose and for each attribute.

    It folds 4x4 pixels into channels first, because a CPU is fast at large matrix products.
    """

    def __init__(self, classes: dict[str, int]) -> None:
        super().__init__()
        self.names = tuple(classes)
        hidden = [nn.Flatten(), nn.Linear(128 * 4 * 4, 512), nn.ReLU()]
        self.features = nn.Sequential(*convolutions(), *hidden)
        self.heads = nn.ModuleList(nn.Linear(512, n) for n in classes.values())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.features(x)
        return {name: head(h) for name, head in zip(self.names, self.heads, strict=True)}


def convolutions() -> list[nn.Module]:
    """4x4 patches to 48 channels, then convolutions: 60 -> 15 -> 8 -> 4 pixels."""
    layers: list[nn.Module] = [nn.Conv2d(3, 48, 4, stride=4), nn.GroupNorm(8, 48), nn.ReLU()]
    for c_in, c_out in pairwise([48, 96, 128]):
        convolution = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)
        layers += [convolution, nn.GroupNorm(8, c_out), nn.ReLU()]
    return layers


def judge_targets(sprites: Sprites) -> dict[str, np.ndarray]:
    """(N,) for every attribute and the pose."""
    return {**attribute_targets(sprites), "pose": sprites.pose}


def judge_ceilings(sprites: Sprites, test: np.ndarray) -> dict[str, float]:
    """Bayes ceilings of all that `judge_images` says, on the images with indices `test`.

    The ceiling of a pose within tolerance is not known, only that it is at most 1.
    """
    distinct, targets = sprites.distinct[test], _scored_targets(sprites)
    ceilings = {name: bayes_ceiling(distinct, target[test]) for name, target in targets.items()}
    return {**ceilings, "pose_within_tolerance": 1.0, "both": ceilings["identity"]}


def judge_baselines(sprites: Sprites, test: np.ndarray) -> dict[str, float]:
    """Accuracy of the majority class on the images with indices `test`."""
    targets = _scored_targets(sprites)
    return {
        name: float(np.bincount(target[test]).max() / len(test)) for name, target in targets.items()
    }


def _scored_targets(sprites: Sprites) -> dict[str, np.ndarray]:
    return {**judge_targets(sprites), "identity": sprites.identity}


def load_judge(
    sprites: Sprites, train: np.ndarray, hp: HParams, seed: int, device: torch.device
) -> Judge:
    """The judge of a source and a split, trained on the images `train` unless `data/` has it."""
    targets = {name: torch.from_numpy(y) for name, y in judge_targets(sprites).items()}
    classes = {name: int(target.max()) + 1 for name, target in targets.items()}
    images_seen = PASSES * hp.probe_images
    torch.manual_seed(seed)
    judge = Judge(classes).to(device)
    seen = hashlib.sha256(train.tobytes()).hexdigest()
    stamp = f"{sprites.fingerprint} seed {seed}, {images_seen} images of {seen}, {judge}"

    def train_judge() -> dict[str, np.ndarray]:
        _fit(judge, sprites, targets, train, images_seen, seed)
        return {name: weight.cpu().numpy() for name, weight in judge.state_dict().items()}

    weights = cached(paths.DATA / f"{sprites.source}-judge.npz", stamp, train_judge)
    judge.load_state_dict({name: torch.from_numpy(weights[name]) for name in judge.state_dict()})
    return judge.eval()


def _fit(
    judge: Judge,
    sprites: Sprites,
    targets: dict[str, Tensor],
    train: np.ndarray,
    images_seen: int,
    seed: int,
) -> None:
    device = next(judge.parameters()).device
    steps = -(-images_seen // BATCH)
    rng = np.random.default_rng(seed)

    def loss(index: np.ndarray) -> Tensor:
        logits = judge(to_float(sprites.images[index], device))
        return sum(
            F.cross_entropy(logits[name], y[index].to(device)) for name, y in targets.items()
        )

    progress = tqdm(range(steps), desc="training the judge", unit="step", dynamic_ncols=True)
    batches = (rng.choice(train, BATCH) for _ in progress)
    judge.train()
    minimise(loss, judge.parameters(), [batches], LEARNING_RATE, decay_steps=steps)


@torch.no_grad()
def judge_images(
    judge: Judge, predict: Predict, target: np.ndarray, sprites: Sprites
) -> dict[str, np.ndarray]:
    """Does each predicted image show the character and the pose of the image index `target` (n,)?

    Returns: (n,) bool for each attribute; `identity` (all attributes but the weapon); `pose`;
        `pose_within_tolerance` (in the pose that the judge names, the true image differs from the
        target in TOLERANCE_PIXELS at most); `both` (identity, and pose within tolerance). And
        (n,) nats, the negative log-likelihood of the truth: `identity_nll` and `pose_nll`.
    """
    device = next(judge.parameters()).device
    logits = [judge(predict(part).to(device)) for part in in_chunks(len(target))]
    named, right, nll = {}, {}, {}
    for name, y in judge_targets(sprites).items():
        log_posterior = F.log_softmax(torch.cat([chunk[name] for chunk in logits]), dim=1)
        log_posterior = log_posterior.cpu().numpy()
        named[name] = log_posterior.argmax(axis=1)
        right[name] = named[name] == y[target]
        nll[name] = -log_posterior[np.arange(len(target)), y[target]]

    attributes = sprites.attributes[:-1]
    right["identity"] = np.all([right[name] for name in attributes], axis=0)
    named_image = sprites.character[target] * N_POSES + named["pose"]
    pairs = zip(named_image, target, strict=True)
    differ = [(sprites.images[a] != sprites.images[b]).any(axis=-1).sum() for a, b in pairs]
    right["pose_within_tolerance"] = np.array(differ) <= TOLERANCE_PIXELS
    right["both"] = right["identity"] & right["pose_within_tolerance"]
    identity_nll = sum(nll[name] for name in attributes)
    return {**right, "identity_nll": identity_nll, "pose_nll": nll["pose"]}


def blurred_images(sprites: Sprites, index: np.ndarray, decibels: float) -> Predict:
    """The true images with the indices `index`, blurred until they have this PSNR on average.

    The blur stays within BLURS, so a very low or high PSNR is not reached.
    """
    some = sprites.images[index[:BLURRED_IMAGES]] / np.float32(255)

    def excess(deviation: float) -> float:
        return psnr(np.square(_blurred(some, deviation) - some).mean()) - decibels

    sharp, soft = BLURS
    if excess(soft) > 0:  # no blur is as bad
        deviation = soft
    else:
        deviation = brentq(excess, sharp, soft, xtol=1e-3) if excess(sharp) > 0 else sharp

    def predict(part: slice) -> Tensor:
        images = sprites.images[index[part]] / np.float32(255)
        return torch.from_numpy(_blurred(images, deviation)).permute(0, 3, 1, 2)

    return predict


def _blurred(images: np.ndarray, deviation: float) -> np.ndarray:
    return gaussian_filter(images, (0, deviation, deviation, 0))
