"""What the report claims: swaps against the true sprites, and what can be read from each code, beside chance and ceiling.

A swap takes s from an image of A and z from an image of B in pose p, A and B of different identities; its truth is the image
of A in pose p, which 2D Sprites holds. A probe is a classifier trained on frozen codes. No swap is judged on an image that the
model was trained on, no probe on one that the probe was trained on, to the bit.
"""

import os
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.manifold import TSNE
from torch import Tensor, nn
from torch.nn import functional as F

from lib.batches import to_float
from lib.config import HParams
from lib.losses import reparameterize
from lib.model import CycleVAE, encode_images
from lib.sprites import P, Sprites
from lib.train import Run

CHUNK = 500  # images decoded or compared at once
CODES = ("s", "z_mu", "z")
PROBE_WIDTH = 256  # hidden units of the MLP probes
PROBE_BATCH = 256  # codes a step
PREDICTION_WIDTH = 512  # hidden units of the prediction networks


class Swaps(NamedTuple):
    """Image indices of n swaps."""

    s_image: np.ndarray  # (n,) where s is read
    z_image: np.ndarray  # (n,) where z is read
    target: np.ndarray  # (n,) the true image: the character of s_image in the pose of z_image


class Probe(NamedTuple):
    """A probe's scores, and what it believes of each test image."""

    scores: dict[str, float]  # accuracy, chance, n, train_cross_entropy (nats), trained
    log_posterior: np.ndarray  # (n, K), nats


class Codes(NamedTuple):
    """The codes of all N images, float32."""

    z_mu: np.ndarray  # (N, Z)
    z: np.ndarray  # (N, Z) one sample of q(z|x) for each image
    s: np.ndarray  # (N, S)


# --- swaps against the truth


def sample_swaps(sprites: Sprites, split: np.ndarray, n: int, seed: int) -> Swaps:
    """n swaps among the images with indices `split`: different identities, different poses, uniform otherwise."""
    rng = np.random.default_rng(seed)
    identity, pose = sprites.identity[split], sprites.pose[split]
    s, z = np.empty(0, np.int64), np.empty(0, np.int64)
    while len(s) < n:
        a, b = rng.integers(len(split), size=(2, 2 * n))
        good = (identity[a] != identity[b]) & (pose[a] != pose[b])
        s, z = np.append(s, split[a[good]]), np.append(z, split[b[good]])
    s, z = s[:n], z[:n]
    return Swaps(s, z, sprites.character[s] * P + sprites.pose[z])


def image_errors(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For images (B, 60, 60, 3) in [0, 1]: (B, 3), mean squared error, squared error on the foreground, foreground values.

    The foreground is where the truth is not black: most of a sprite is background, which every predictor gets right.
    """
    squared = (prediction - truth) ** 2
    foreground = truth.any(axis=-1, keepdims=True)
    return np.stack([squared.mean((1, 2, 3)), (squared * foreground).sum((1, 2, 3)), 3.0 * foreground.sum((1, 2, 3))], axis=1)


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error of values in [0, 1], in dB."""
    return float(-10 * np.log10(mse))


def summarize(errors: np.ndarray) -> dict[str, float]:
    """`image_errors` of n images as {mse, psnr, foreground_mse, n}; PSNR from the mean MSE."""
    mse = float(errors[:, 0].mean())
    return {"mse": mse, "psnr": psnr(mse), "foreground_mse": float(errors[:, 1].sum() / errors[:, 2].sum()), "n": len(errors)}


@torch.no_grad()
def swap_images(model: CycleVAE, sprites: Sprites, s_image: np.ndarray, z_image: np.ndarray) -> np.ndarray:
    """decode(z_mu of z_image, s of s_image) of image indices (B,): (B, 60, 60, 3) in [0, 1], clamped."""
    device = next(model.parameters()).device
    images = model.transfer(to_float(sprites.images[z_image], device), to_float(sprites.images[s_image], device))
    return images.clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()


def swap_error(model: CycleVAE, sprites: Sprites, swaps: Swaps) -> np.ndarray:
    """`image_errors` (n, 3) of each swap against its truth; with s_image = z_image = target, of the reconstruction."""
    return _errors_in_chunks(
        sprites, swaps, lambda part: swap_images(model, sprites, swaps.s_image[part], swaps.z_image[part])
    )  # fmt: skip


def watched_swaps(sprites: Sprites, validation: np.ndarray, seed: int) -> dict[str, Swaps]:
    """What a training is watched by: 500 swaps and 500 reconstructions of validation images."""
    return {
        "validation_swap": sample_swaps(sprites, validation, 500, seed),
        "validation_reconstruction": reconstruction_swaps(validation, 500, seed),
    }


def swap_monitor(sprites: Sprites, watched: dict[str, Swaps]) -> Callable[[CycleVAE], dict[str, float]]:
    """For `lib.train.fit`: the MSE of each of the `watched` swaps."""
    return lambda model: {name: summarize(swap_error(model, sprites, swaps))["mse"] for name, swaps in watched.items()}


def swap_error_by_attribute(sprites: Sprites, swaps: Swaps, errors: np.ndarray) -> dict[str, dict[str, dict[str, float]]]:
    """Errors, `summarize`d, of the swaps in which the two characters differ in an attribute and of those in which they do not.

    An attribute in which all or none of the swaps differ is left out.
    """
    a, b = (sprites.labels[sprites.character[image]] for image in (swaps.s_image, swaps.z_image))
    differs = dict(zip(sprites.attributes, (a != b).T, strict=True))
    return {
        name: {"differs": summarize(errors[which]), "same": summarize(errors[~which])}
        for name, which in differs.items()
        if which.any() and not which.all()
    }


def match_score(sprites: Sprites, matches: Tensor | None) -> float | None:
    """How far matches (C, K) can be trusted: the share of pairs at one prototype that show one pose; None without matches.

    It reads the pose labels, which the training does not.
    """
    if matches is None:
        return None
    prototype = np.broadcast_to(np.arange(matches.shape[1]), matches.shape)[matches >= 0]
    poses = np.zeros((matches.shape[1], P))
    np.add.at(poses, (prototype, sprites.pose[matches[matches >= 0]]), 1)
    members = poses.sum(axis=1)
    return float((poses * (poses - 1)).sum() / (members * (members - 1)).sum())


def nearest_pose_error(images: np.ndarray, sprites: Sprites, characters: np.ndarray) -> np.ndarray:
    """`image_errors` (n, 3) of images (n, 60, 60, 3) in [0, 1] against the nearest of all true images of its character (n,)."""
    nearest = []
    for image, character in zip(images, characters, strict=True):
        truth = sprites.images[character * P : (character + 1) * P].astype(np.float32) / 255
        errors = image_errors(np.broadcast_to(image, truth.shape), truth)
        nearest.append(errors[errors[:, 0].argmin()])
    return np.array(nearest)


def reconstruction_swaps(split: np.ndarray, n: int, seed: int) -> Swaps:
    """n images of a split, each with its own s and z."""
    chosen = np.random.default_rng(seed).choice(split, size=min(n, len(split)), replace=False)
    return Swaps(chosen, chosen, chosen)


def predictor_errors(sprites: Sprites, train: np.ndarray, swaps: Swaps) -> dict[str, np.ndarray]:
    """`image_errors` (n, 3) of simple predictors of the swaps' truth, some of which know what the model is not told.

    black; mean: the mean training image; pose_mean: that of the target's pose; additive: pose mean + mean image of the
    character itself - mean image (the best sum of a character and a pose; it knows the held-out character's mean);
    retrieval: of the training characters, the one whose image in the pose of s_image is nearest to s_image, in the target
    pose (it knows every pose label). A model that does not beat retrieval remembers rather than composes.
    """
    grid = sprites.images.reshape(-1, P, *sprites.images.shape[1:])
    characters = np.unique(sprites.character[train])
    pose_mean = np.stack([grid[characters, p].mean(axis=0, dtype=np.float32) for p in range(P)]) / 255
    mean = pose_mean.mean(axis=0)
    a, q, p = sprites.character[swaps.s_image], sprites.pose[swaps.s_image], sprites.pose[swaps.target]
    own_mean = {c: grid[c].mean(axis=0, dtype=np.float32) / 255 for c in np.unique(a)}
    nearest = _nearest_characters(grid, characters, a, q)
    predict: dict[str, Callable[[slice], np.ndarray]] = {
        "black": lambda part: np.zeros_like(pose_mean[p[part]]),
        "mean": lambda part: np.broadcast_to(mean, pose_mean[p[part]].shape),
        "pose_mean": lambda part: pose_mean[p[part]],
        "additive": lambda part: (pose_mean[p[part]] + np.stack([own_mean[c] for c in a[part]]) - mean).clip(0, 1),
        "retrieval": lambda part: grid[nearest[part], p[part]].astype(np.float32) / 255,
    }
    return {name: _errors_in_chunks(sprites, swaps, function) for name, function in predict.items()}


def _nearest_characters(grid: np.ndarray, characters: np.ndarray, a: np.ndarray, q: np.ndarray) -> np.ndarray:
    """For each character a in pose q, the one of `characters` with the nearest image in that pose."""
    nearest = np.empty(len(a), np.int64)
    for pose in np.unique(q):
        candidates = grid[characters, pose].reshape(len(characters), -1).astype(np.float32)
        queries, inverse = np.unique(a[q == pose], return_inverse=True)
        images = grid[queries, pose].reshape(len(queries), -1).astype(np.float32)
        distance = (candidates**2).sum(1) - 2 * images @ candidates.T  # + |image|^2, the same for all candidates
        nearest[q == pose] = characters[distance.argmin(axis=1)][inverse]
    return nearest


def _errors_in_chunks(sprites: Sprites, swaps: Swaps, predict: Callable[[slice], np.ndarray]) -> np.ndarray:
    parts = [slice(start, start + CHUNK) for start in range(0, len(swaps.target), CHUNK)]
    truth = (sprites.images[swaps.target[part]].astype(np.float32) / 255 for part in parts)
    return np.concatenate([image_errors(predict(part), true) for part, true in zip(parts, truth, strict=True)])


# --- codes and their probes


def encode_all(run: Run, sprites: Sprites) -> Codes:
    """The codes of all images, computed once for a model and kept in the run's folder."""
    path, model = run.folder / "codes.npz", run.folder / "model.pt"
    stamp = f"{model.stat().st_mtime_ns} {model.stat().st_size}"
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["stamp"]) == stamp:
                return Codes(stored["z_mu"], stored["z"], stored["s"])
    z_mu, z_logvar, s = encode_images(run.model, sprites.images)
    z = reparameterize(z_mu, z_logvar, torch.randn(z_mu.shape, generator=torch.Generator().manual_seed(run.seed)))
    codes = Codes(z_mu.numpy(), z.numpy(), s.numpy())
    beside = path.with_suffix(".partial.npz")
    np.savez(beside, stamp=np.array(stamp), **codes._asdict())
    os.replace(beside, path)
    return codes


def bayes_ceiling(distinct: np.ndarray, target: np.ndarray) -> float:
    """The best accuracy that any classifier of one image can reach where equal images bear different targets.

    Of each set of equal images (equal `distinct`, (N,)) at best the most frequent target (N,) is named right.
    """
    pairs, counts = np.unique(np.stack([distinct, target]), axis=1, return_counts=True)
    best = np.zeros(distinct.max() + 1)
    np.maximum.at(best, pairs[0], counts)
    return float(best.sum() / len(target))


def probe_targets(sprites: Sprites) -> dict[str, np.ndarray]:
    """What is asked of the codes, (N,) each: who (character, identity), every attribute, and the pose."""
    attributes = {name: sprites.labels[sprites.character, k].astype(np.int64) for k, name in enumerate(sprites.attributes)}
    return {"character": sprites.character, "identity": sprites.identity, "pose": sprites.pose, **attributes}


def probe_splits(sprites: Sprites, splits: dict[str, np.ndarray], target: str, seed: int) -> tuple[str, dict[str, np.ndarray]]:
    """(name, {train, validation, test} image indices) of the split a probe of `target` is judged on.

    A probe must have seen a character to name it, so for character and identity the *poses* are split, 60/20/20 (poses that
    share an image, to the bit, stay together); everything else is asked of unseen identities, the model's own split.
    """
    if target not in ("character", "identity"):
        return "unseen identities", splits
    n_distinct = sprites.distinct.max() + 1
    graph = coo_matrix((np.ones(len(sprites.pose)), (sprites.pose, P + sprites.distinct)), shape=(P + n_distinct,) * 2)
    group = connected_components(graph, directed=False)[1][:P]
    order = np.random.default_rng(seed).permutation(np.unique(group))
    cuts = np.split(order, [int(0.6 * len(order)), int(0.8 * len(order))])
    parts = zip(("train", "validation", "test"), cuts, strict=True)
    return "unseen poses", {name: np.flatnonzero(np.isin(group[sprites.pose], cut)) for name, cut in parts}


def fit_probe(kind: str, codes: np.ndarray, target: np.ndarray, splits: dict[str, np.ndarray], hp: HParams, seed: int) -> Probe:
    """A probe on splits["test"], of `kind` "linear" or "mlp" from codes (N, D) to classes (N,).

    Codes are standardised on the training images; the epoch that is best on the validation images counts; test is read once.
    Chance is the share of the most frequent class among the test images, which no constant answer beats; `trained` is false
    where the probe is no better than a uniform guess on its own training images, so that its accuracy is no evidence.
    """
    y, test, n_classes = torch.from_numpy(target), splits["test"], int(target.max()) + 1
    net = _fit_network([] if kind == "linear" else [PROBE_WIDTH], codes, y, n_classes, splits, F.cross_entropy, hp, seed)
    train = _subsample(splits["train"], hp.probe_images, seed)
    with torch.no_grad():
        log_posterior = F.log_softmax(net(codes[test]), dim=1).numpy()
        train_cross_entropy = F.cross_entropy(net(codes[train]), y[train]).item()
    scores = {
        "accuracy": float((log_posterior.argmax(axis=1) == target[test]).mean()),
        "chance": float(np.bincount(target[test]).max() / len(test)),
        "n": len(test),
        "train_cross_entropy": train_cross_entropy,
        "trained": bool(train_cross_entropy < np.log(n_classes)),
    }
    return Probe(scores, log_posterior)


def identity_via_attributes(sprites: Sprites, test: np.ndarray, probes: dict[str, Probe]) -> dict[str, float]:
    """Accuracy in naming one of all identities by the probes of its attributes: {accuracy, chance, n, trained}.

    An identity is a tuple of attributes (all but the weapon). Its log-posterior is the sum of theirs, as if they were
    independent given the code. So even identities that no probe has seen can be named, and a leak is found that a classifier
    of hundreds of identities is too weak to see.
    """
    names = sprites.attributes[:-1]
    labels = np.unique(sprites.labels[:, :-1], axis=0)  # in the order of `Sprites.identity`
    log_posterior = sum(probes[name].log_posterior[:, labels[:, k]] for k, name in enumerate(names))
    truth = sprites.identity[test]
    return {
        "accuracy": float((log_posterior.argmax(axis=1) == truth).mean()),
        "chance": float(np.bincount(truth).max() / len(test)),
        "n": len(test),
        "trained": any(probes[name].scores["trained"] for name in names),
    }


def fit_prediction(
    source: np.ndarray, target: np.ndarray, splits: dict[str, np.ndarray], hp: HParams, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """A network that predicts one code (N, D_target) from the other (N, D_source), judged on unseen identities.

    Returns its predictions for all N images and {mse, mse_of_mean, r2, n} on splits["test"]: r2 is the share of the code's
    variance that it explains there, 0 for a network that knows no more than the training mean.
    """
    mean, std = _standardisation(target[splits["train"]])
    y = torch.from_numpy((target - mean) / std)
    net = _fit_network([PREDICTION_WIDTH] * 2, source, y, target.shape[1], splits, F.mse_loss, hp, seed)
    with torch.no_grad():
        predicted = net(source).numpy() * std + mean
    test = splits["test"]
    mse, mse_of_mean = (float(((target[test] - guess) ** 2).mean()) for guess in (predicted[test], mean))
    return predicted, {"mse": mse, "mse_of_mean": mse_of_mean, "r2": 1 - mse / mse_of_mean, "n": len(test)}


def embed(codes: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE of standardised codes (n, D): (n, 2)."""
    mean, std = _standardisation(codes)
    return TSNE(random_state=seed, init="pca", perplexity=min(30, len(codes) // 4)).fit_transform((codes - mean) / std)


def _fit_network(
    hidden: list[int],
    x: np.ndarray,
    y: Tensor,
    n_out: int,
    splits: dict[str, np.ndarray],
    loss: Callable[[Tensor, Tensor], Tensor],
    hp: HParams,
    seed: int,
) -> Callable[[np.ndarray], Tensor]:
    """Fit an MLP by Adam (at 1e-2 for a linear map, else 3e-3, decaying to 0) and keep its best epoch on validation.

    Of the training images at most hp.probe_images are used, and a quarter as many for validation.
    """
    torch.manual_seed(seed)
    train = _subsample(splits["train"], hp.probe_images, seed)
    validation = _subsample(splits["validation"], hp.probe_images // 4, seed)
    mean, std = _standardisation(x[train])

    def inputs(rows: np.ndarray) -> Tensor:
        return torch.from_numpy((rows - mean) / std)

    widths = [x.shape[1], *hidden]
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(widths[-1], n_out))
    nn.init.zeros_(net[-1].weight)  # the first guess is the uniform one, or the mean, so that what is kept is never worse
    nn.init.zeros_(net[-1].bias)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3 if hidden else 1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, hp.probe_epochs * -(-len(train) // PROBE_BATCH))
    x_train, y_train, x_validation, y_validation = inputs(x[train]), y[train], inputs(x[validation]), y[validation]
    best, best_state = float("inf"), {}
    for epoch in range(hp.probe_epochs + 1):
        for index in torch.randperm(len(train)).split(PROBE_BATCH) if epoch else ():
            optimizer.zero_grad()
            loss(net(x_train[index]), y_train[index]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            score = loss(net(x_validation), y_validation).item()
        if score < best:
            best, best_state = score, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(best_state)
    return lambda rows: net(inputs(rows))


def _standardisation(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; a constant column is left at its scale."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std > 1e-6, std, 1).astype(x.dtype)


def _subsample(index: np.ndarray, n: int, seed: int) -> np.ndarray:
    return index if len(index) <= n else np.random.default_rng(seed).choice(index, size=n, replace=False)
