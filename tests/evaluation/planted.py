"""Codes that were planted: perfect, useless, leaking."""

import numpy as np

RNG = np.random.default_rng(0)

# a small world: 60 identities, every combination of three attributes, each in 40 poses; the splits
# are of identities
ATTRIBUTES = np.stack(np.unravel_index(np.arange(60), (3, 4, 5)), axis=1)
POSES = 40
IDENTITY, POSE = np.divmod(np.arange(60 * POSES), POSES)
TARGETS = {
    "a": ATTRIBUTES[IDENTITY, 0],
    "b": ATTRIBUTES[IDENTITY, 1],
    "c": ATTRIBUTES[IDENTITY, 2],
    "pose": POSE,
}
SPLITS = {
    name: np.flatnonzero(np.isin(IDENTITY, part))
    for name, part in zip(
        ("train", "validation", "test"), np.split(RNG.permutation(60), [36, 48]), strict=True
    )
}


def one_hot(*targets):
    return np.concatenate(
        [np.eye(target.max() + 1, dtype=np.float32)[target] for target in targets], axis=1
    )


def noisy(code, noise=0.05):
    return (code + noise * RNG.normal(size=code.shape)).astype(np.float32)


PERFECT_S, PERFECT_Z = noisy(one_hot(*(TARGETS[name] for name in "abc"))), noisy(one_hot(POSE))
USELESS = RNG.normal(size=(len(POSE), 10)).astype(np.float32)


def leaking(code, other, share):
    """`code` with the other beside it in a share of the images, else nothing."""
    shown = RNG.random((len(code), 1)) < share
    return np.concatenate([code, np.where(shown, other, 0)], axis=1).astype(np.float32)
