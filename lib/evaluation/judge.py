"""A judge that was trained on real images: whose attributes, and which pose, does a swapped image
show?

An error in pixels does not say what is wrong. The judge is a classifier of the pose and of every
attribute, trained on images of training identities. On unseen ones it must come within a point of
the Bayes ceilings, or its verdicts are lower bounds; the report shows both. Many poses of a
character differ in a few pixels, which no blurred image tells; so the judge also says whether a
pose is right nearly. It knows nothing of any model, so one serves every run of a source and a
split.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lib.config import HParams
from lib.data.images import to_float
from lib.data.sprites import N_POSES, Sprites, bayes_ceiling
from lib.method.networks import folded_features
from lib.method.runs import write_state
from lib.system import paths
from lib.system.files import exclusive_lock

BATCH = 32
LEARNING_RATE = 2e-3  # Adam, decaying to 0
PASSES = 3  # times hp.probe_images: images that it is trained on
TOLERANCE_PIXELS = (
    10  # of the 3,600 of an image, up to which two poses of a character are nearly one
)
CHUNK = 500  # images judged at once


class Judge(nn.Module):
    """Images (B, 3, 60, 60) to logits, (B, K) for the pose and for each attribute."""

    def __init__(self, classes: dict[str, int]) -> None:
        super().__init__()
        self.names = tuple(classes)
        # as the encoder of preset `fast`, whatever the run that it judges
        self.features = nn.Sequential(
            *folded_features(HParams()), nn.Flatten(), nn.Linear(128 * 4 * 4, 512), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Linear(512, n) for n in classes.values())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.features(x)
        return {name: head(h) for name, head in zip(self.names, self.heads, strict=True)}


def judge_targets(sprites: Sprites) -> dict[str, np.ndarray]:
    """What the judge names, (N,) each: every attribute and the pose."""
    attributes = {
        name: sprites.labels[sprites.character, k].astype(np.int64)
        for k, name in enumerate(sprites.attributes)
    }
    return {**attributes, "pose": sprites.pose}


def judge_ceilings(sprites: Sprites, test: np.ndarray) -> dict[str, float]:
    """What no classifier can exceed in anything that `judge` judges, on the images `test`
    (indices): Bayes ceilings.

    Of a pose that need only nearly be right nothing is known but that 1 cannot be exceeded.
    """
    ceilings = {
        name: bayes_ceiling(sprites.distinct[test], target[test])
        for name, target in _exact(sprites).items()
    }
    return {**ceilings, "pose_within_tolerance": 1.0, "both": ceilings["identity"]}


def judge_baselines(sprites: Sprites, test: np.ndarray) -> dict[str, float]:
    """How often on the images `test` (indices) one is right who always names the most frequent
    class; of a pose, only the exact.
    """
    return {
        name: float(np.bincount(target[test]).max() / len(test))
        for name, target in _exact(sprites).items()
    }


def _exact(sprites: Sprites) -> dict[str, np.ndarray]:
    return {**judge_targets(sprites), "identity": sprites.identity}


def load_judge(
    sprites: Sprites, train: np.ndarray, hp: HParams, seed: int, device: torch.device
) -> Judge:
    """The judge of a source and a split, trained on images of `train` (indices) unless `data/`
    already has it.
    """
    targets = {name: torch.from_numpy(target) for name, target in judge_targets(sprites).items()}
    classes = {name: int(target.max()) + 1 for name, target in targets.items()}
    images_seen = PASSES * hp.probe_images
    path = paths.DATA / f"{sprites.source}-judge.pt"
    stamp = f"{sprites.fingerprint} seed {seed}, {images_seen} images"
    with exclusive_lock(path, f"training {path}"):
        try:
            stored = torch.load(path, weights_only=True, map_location=device)
            if stored["stamp"] == stamp:
                judge = Judge(classes).to(device)
                judge.load_state_dict(stored["weights"])
                return judge.eval()
        except Exception:  # missing, or damaged in any way: trained anew
            pass
        torch.manual_seed(seed)
        judge = Judge(classes).to(device)
        _fit(judge, sprites, targets, train, images_seen, seed)
        write_state(path, {"stamp": stamp, "weights": judge.state_dict()})
    return judge


def _fit(
    judge: Judge,
    sprites: Sprites,
    targets: dict[str, Tensor],
    train: np.ndarray,
    images_seen: int,
    seed: int,
) -> None:
    device = next(judge.parameters()).device
    optimizer = torch.optim.Adam(judge.parameters(), lr=LEARNING_RATE, fused=True)
    steps = -(-images_seen // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
    rng = np.random.default_rng(seed)
    judge.train()
    for _ in tqdm(range(steps), desc="training the judge", unit="step", dynamic_ncols=True):
        index = rng.choice(train, BATCH)
        logits = judge(to_float(sprites.images[index], device))
        loss = sum(
            F.cross_entropy(logits[name], target[index].to(device))
            for name, target in targets.items()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    judge.eval()


@torch.no_grad()
def judge_images(
    judge: Judge, images: np.ndarray, target: np.ndarray, sprites: Sprites
) -> dict[str, np.ndarray]:
    """Whether images (n, 60, 60, 3) in [0, 1] show the character and pose of the image index
    `target` (n,).

    {name: (n,) bool} for each attribute, `identity` (all attributes but the weapon), `pose`,
    `pose_within_tolerance` (in the pose that is named, the character's true image has all but TOLERANCE_PIXELS
    pixels of the target) and `both` (identity, and the pose nearly); and `identity_nll`,
    `pose_nll` (n,), nats: how unlikely the judge holds what is right.
    """
    device = next(judge.parameters()).device
    chunks = [slice(start, start + CHUNK) for start in range(0, len(images), CHUNK)]
    logits = [
        judge(torch.from_numpy(images[chunk]).permute(0, 3, 1, 2).to(device)) for chunk in chunks
    ]
    named, right, doubt = {}, {}, {}
    for name, of in judge_targets(sprites).items():
        log_posterior = (
            F.log_softmax(torch.cat([chunk[name] for chunk in logits]), dim=1).cpu().numpy()
        )
        named[name] = log_posterior.argmax(axis=1)
        right[name] = named[name] == of[target]
        doubt[name] = -log_posterior[np.arange(len(target)), of[target]]
    right["identity"] = np.all([right[name] for name in sprites.attributes[:-1]], axis=0)
    shown = sprites.character[target] * N_POSES + named["pose"]
    differ = [
        (sprites.images[a] != sprites.images[b]).any(axis=-1).sum()
        for a, b in zip(shown, target, strict=True)
    ]
    right["pose_within_tolerance"] = np.array(differ) <= TOLERANCE_PIXELS
    doubts = {
        "identity_nll": sum(doubt[name] for name in sprites.attributes[:-1]),
        "pose_nll": doubt["pose"],
    }
    return {**right, "both": right["identity"] & right["pose_within_tolerance"], **doubts}
