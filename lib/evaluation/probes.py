"""Probes: classifiers trained on frozen codes.

A probe that reads a target proves that the code holds it. A probe that fails may be too weak. So
there are three kinds, and validation images choose among them and their settings. N images, K
classes; all logarithms are natural.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn import functional as F

from lib.config import HParams
from lib.data.image_set import ImageSet, bayes_ceiling
from lib.data.splits import PARTS
from lib.evaluation.classifiers import fit_networks
from lib.evaluation.codes import mean_and_std, subsample
from lib.evaluation.intervals import TAIL, bootstrap_interval, share_interval
from lib.evaluation.targets import (
    IDENTITY_TARGETS,
    hides_attribute,
    identity_labels,
    pose_targets,
    probe_targets,
    tells_identities_apart,
    unseen_cells,
    unseen_poses,
)
from lib.system.errors import UserError
from lib.system.threads import on_all_cores

KINDS = ("linear", "mlp", "knn")
LEAKING_CODES = ("s", "z_mu", "z")  # whose identity is also probed in unseen cells
WIDTH = 128  # hidden units of an MLP probe
FREQUENCIES = 64  # random Fourier features of a small code; each gives a cosine and a sine
SCALES = (0.5, 16.0)  # their standard deviations, radians per standard deviation of the code
SMALL = 32  # numbers in a code that gets Fourier features, at most
NEIGHBOURS = (1, 5, 20, 80)

Splits = Mapping[str, np.ndarray]


class Probe(NamedTuple):
    """The beliefs of a probe, in nats."""

    log_posterior: np.ndarray  # (n, K) for each test image
    validation_cross_entropy: float
    train: np.ndarray  # (m,) indices of the images that it was trained on
    train_gain: np.ndarray  # (m,) their log-likelihood, less that by the frequencies of the classes


def fit_all(
    inputs: Mapping[str, np.ndarray], dataset: ImageSet, splits: Splits, hp: HParams, seed: int
) -> list[dict[str, object]]:
    """Every kind of probe, of every target, on each of the inputs (N, D): a `score` each.

    IDENTITY_TARGETS are tested on unseen poses, all others on unseen identities. There the
    identity is also named by its attributes (kind "attributes"), where these tell all identities
    apart. In LEAKING_CODES the identity is tested on unseen cells, too. Where poses are not known,
    images take their place. `chosen` marks the kind that validation images chose. For s,
    `from_hiding` is the accuracy of who knows only whether an image hides an attribute.
    """
    targets, poses = probe_targets(dataset), pose_targets(dataset)
    parts = _parts(list(inputs), list(targets), dataset, splits, seed)
    # probes of a target and a code; those of the identity see two splits, and the attributes
    attempts = {name: len(KINDS) for name in targets} | {"identity": 2 * len(KINDS) + 1}
    ceilings = {}
    for split, (names, codes, part, cluster) in parts.items():
        # of all test images: among few of them, fewer are equal, and the ceiling is too high
        test = part["test"]
        distinct = dataset.distinct[test]
        ceilings[split] = {name: bayes_ceiling(distinct, y[test]) for name, y in targets.items()}
        test = subsample(test, 2 * hp.probe_images, seed)
        parts[split] = names, codes, {**part, "test": test}, cluster
    from_hiding = {}
    if poses:
        test = parts["unseen identities"][2]["test"]
        hides = hides_attribute(dataset)[test]
        from_hiding = {name: bayes_ceiling(hides, pose[test]) for name, pose in poses.items()}

    def fit_code(item: tuple[str, str]) -> list[dict[str, object]]:
        split, code = item
        names, _, part, cluster = parts[split]
        test, asked = part["test"], {name: targets[name] for name in names}
        entries = []
        for name, kind, probe, chosen in _fit_kinds(inputs[code], asked, part, dataset, hp, seed):
            entry = {"code": code, "target": name, "kind": kind, "split": split}
            entry |= {"chosen": chosen, "ceiling": ceilings[split][name]}
            entry["holder"] = "z" if name in poses else "s"  # the code that should hold it
            if code == "s" and name in from_hiding:
                entry["from_hiding"] = from_hiding[name]
            entries.append(entry | score(probe, targets[name], test, cluster, attempts[name]))
        return entries

    items = [(split, code) for split, (_, codes, *_) in parts.items() for code in codes]
    found = on_all_cores(fit_code, items, "probes", "code")
    return [entry for entries in found for entry in entries]


def check_enough(dataset: ImageSet, splits: Splits, seed: int) -> None:
    """Raises UserError where a probe would have no image to be trained, chosen or tested on."""
    parts = _parts([], list(probe_targets(dataset)), dataset, splits, seed)
    for split, (names, _, part, _) in parts.items():
        if names and min(len(part[name]) for name in PARTS) == 0:
            unknown = ", or say --poses unknown" if dataset.has_truth else ""
            raise UserError(
                f"{len(dataset.images)} images of {dataset.n_identities} identities are too few to"
                f" probe {split}: give more images of each{unknown}"
            )


def identity_split(dataset: ImageSet, splits: Splits, seed: int) -> Splits:
    """Where a probe of the identity is trained and tested: on images of all identities.

    These are `splits` where they show all identities, as a split by image does, else
    `unseen_poses`.
    """
    identities = (dataset.identity[splits[part]] for part in ("test", "train"))
    return splits if np.isin(*identities).any() else unseen_poses(dataset, seed)


def _parts(
    codes: list[str], targets: list[str], dataset: ImageSet, splits: Splits, seed: int
) -> dict[str, tuple[list[str], list[str], Splits, np.ndarray]]:
    """{split: (targets, codes, image indices of its parts, cluster (N,) of each image)}."""
    seen = [name for name in targets if name in IDENTITY_TARGETS]
    other = [name for name in targets if name not in IDENTITY_TARGETS]
    leaking = [code for code in codes if code in LEAKING_CODES]
    images, part = np.arange(len(dataset.images)), identity_split(dataset, splits, seed)
    if part is splits:
        return {"unseen images": ([*seen, *other], codes, splits, images)}
    if not dataset.has_truth:
        more = {"unseen identities": (other, codes, splits, dataset.cluster)} if other else {}
        return {"unseen images": (seen, codes, part, images), **more}
    known = {name: dataset.of_known_pose(part) for name, part in splits.items()}
    return {
        "unseen poses": (seen, codes, part, dataset.pose),
        "unseen cells": (["identity"], leaking, unseen_cells(dataset, seed), dataset.cluster),
        "unseen identities": (other, codes, known, dataset.cluster),
    }


def _fit_kinds(
    x: np.ndarray,
    targets: Mapping[str, np.ndarray],
    splits: Splits,
    dataset: ImageSet,
    hp: HParams,
    seed: int,
) -> list[tuple[str, str, Probe, bool]]:
    """(target, kind, probe, chosen) for every kind; and identity by attributes, if asked for."""
    probes = {kind: fit_probes(kind, x, targets, splits, hp, seed) for kind in KINDS}
    best = {
        name: min(KINDS, key=lambda kind: probes[kind][name].validation_cross_entropy)
        for name in targets
    }
    found = [
        (name, kind, probes[kind][name], kind == best[name]) for name in targets for kind in KINDS
    ]
    if "identity" not in targets and tells_identities_apart(dataset):
        joint = by_attributes(dataset, {name: probes[best[name]][name] for name in targets})
        found.append(("identity", "attributes", joint, False))
    return found


def fit_probes(
    kind: str,
    codes: np.ndarray,
    targets: Mapping[str, np.ndarray],
    splits: Splits,
    hp: HParams,
    seed: int,
) -> dict[str, Probe]:
    """A probe of one kind from codes (N, D) to each of the targets (N,).

    - linear: multinomial logistic regression
    - mlp: one hidden layer; a SMALL code is tried with random Fourier features, too, which show
      detail that a small network finds slowly (Tancik et al., NeurIPS 2020)
    - knn: the share of each class among the nearest of a quarter of the training images

    Codes are standardised on the training images, hp.probe_images at most. A quarter as many
    validation images choose epoch and settings. The test is read once.
    """
    train = subsample(splits["train"], hp.probe_images // (4 if kind == "knn" else 1), seed)
    validation = subsample(splits["validation"], hp.probe_images // 4, seed)
    mean, std = mean_and_std(codes[train])
    parts = [
        torch.from_numpy((codes[part] - mean) / std) for part in (train, validation, splits["test"])
    ]
    y = {
        name: [torch.from_numpy(target[part]) for part in (train, validation)]
        for name, target in targets.items()
    }
    classes = {name: int(target.max()) + 1 for name, target in targets.items()}
    if kind == "knn":
        return _fit_neighbours(parts, y, classes, train)

    widths = (WIDTH,) if kind == "mlp" else ()
    inputs = [parts]
    if kind == "mlp" and codes.shape[1] <= SMALL:
        inputs.append(_fourier(parts, seed))
    fitted = [fit_networks(widths, x, y, classes, F.cross_entropy, hp, seed) for x in inputs]
    probes = {}
    for name in targets:
        best = min((networks[name] for networks in fitted), key=lambda net: net.validation_loss)
        posterior, train_posterior = (
            F.log_softmax(output, dim=1).numpy() for output in (best.output, best.train_output)
        )
        gain = _gain_over_frequencies(train_posterior, y[name][0].numpy())
        probes[name] = Probe(posterior, best.validation_loss, train, gain)
    return probes


def _gain_over_frequencies(log_posterior: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,) log-likelihood of the classes y (n,), less that by their frequencies."""
    frequency = np.bincount(y) / len(y)
    return log_posterior[np.arange(len(y)), y] - np.log(frequency[y])


def score(
    probe: Probe, target: np.ndarray, test: np.ndarray, cluster: np.ndarray, attempts: int = 1
) -> dict[str, object]:
    """{accuracy, ci95, baseline, n, trained, constant, evidence, proven, nats} of a probe.

    Of the `target` (N,) on the images `test`:
    - baseline: the accuracy of the majority class
    - ci95: over `cluster` (N,), that is outfits, or poses where the poses are split
    - trained: whether it is better on its own training images than the frequencies of the classes,
      by an interval that excludes 0
    - constant: whether it always gives the same answer
    - proven: whether its interval excludes the baseline; of so many `attempts` to read the target,
      one may succeed by luck, so the interval is wider (Bonferroni)
    - evidence: proven, or trained and not constant; else its accuracy says nothing about the code
    - nats: entropy less cross-entropy, a lower bound of the mutual information, at least 0
      (Barber and Agakov, NIPS 2003)
    """
    y, answer = target[test], probe.log_posterior.argmax(axis=1)
    share = np.bincount(y) / len(y)
    is_right = answer == y
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    log_likelihood = probe.log_posterior[np.arange(len(y)), y].mean()

    trained = bootstrap_interval(probe.train_gain, cluster[probe.train])[0] > 0
    constant = bool((answer == answer[0]).all())
    low = share_interval(is_right, cluster[test], tail=TAIL / attempts)[0]
    proven = bool(not constant and low > share.max())
    return {
        "accuracy": float(is_right.mean()),
        "ci95": share_interval(is_right, cluster[test]),
        "baseline": float(share.max()),
        "n": len(y),
        "trained": trained,
        "constant": constant,
        "evidence": proven or (trained and not constant),
        "proven": proven,
        "nats": float(max(0.0, entropy + log_likelihood)),
    }


def by_attributes(dataset: ImageSet, probes: Mapping[str, Probe]) -> Probe:
    """The identity from the probes of its attributes, as if these were independent given the code.

    It can name an identity that no probe has seen. So it finds leakage that a classifier of
    hundreds of identities is too weak to find.
    """
    labels = identity_labels(dataset)
    names = list(labels)
    joint = sum(probes[name].log_posterior[:, value] for name, value in labels.items())
    log_posterior = F.log_softmax(torch.from_numpy(joint), dim=1).numpy()
    loss = sum(probes[name].validation_cross_entropy for name in names)
    train = np.concatenate([probes[name].train for name in names])
    gain = np.concatenate([probes[name].train_gain for name in names])
    return Probe(log_posterior, loss, train, gain)


def _fourier(parts: list[Tensor], seed: int) -> list[Tensor]:
    """Each (n, D) with cosines and sines of random projections, whose scales spread over SCALES."""
    scales = torch.logspace(*np.log10(SCALES), FREQUENCIES)
    generator = torch.Generator().manual_seed(seed)
    projection = torch.randn(parts[0].shape[1], FREQUENCIES, generator=generator) * scales
    return [torch.cat([x, (x @ projection).cos(), (x @ projection).sin()], dim=1) for x in parts]


def _fit_neighbours(
    parts: list[Tensor],
    y: Mapping[str, list[Tensor]],
    classes: Mapping[str, int],
    train_index: np.ndarray,
) -> dict[str, Probe]:
    """Probes of kind knn; validation chooses the number of neighbours."""
    most = min(max(NEIGHBOURS), len(parts[0]) - 1)
    index = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(parts[0])
    queries = (None, *parts[1:])  # None: each training image, without itself
    train, validation, test = (
        torch.from_numpy(index.kneighbors(x, return_distance=False)) for x in queries
    )
    probes = {}
    for name, (y_train, y_validation) in y.items():

        def beliefs(neighbours: Tensor, k: int, y=y_train, n=classes[name]) -> Tensor:
            return neighbour_log_posterior(y[neighbours[:, :k]], n)

        losses = {
            k: F.nll_loss(beliefs(validation, k), y_validation).item()
            for k in NEIGHBOURS
            if k <= most
        }
        k = min(losses, key=losses.__getitem__)
        gain = _gain_over_frequencies(beliefs(train, k).numpy(), y_train.numpy())
        probes[name] = Probe(beliefs(test, k).numpy(), losses[k], train_index, gain)
    return probes


def neighbour_log_posterior(votes: Tensor, classes: int) -> Tensor:
    """(n, K) log-shares of the classes of k neighbours (n, k) and one spread over all classes."""
    counts = torch.zeros(len(votes), classes).scatter_add_(1, votes, torch.ones(votes.shape))
    return ((counts + 1 / classes) / (votes.shape[1] + 1)).log()
