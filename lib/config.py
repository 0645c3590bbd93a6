"""Every hyper-parameter, once, with its unit and where it comes from; and where files live.

"published" is the reimplementation whose numbers the report redoes (Chetan and Joshi, 2020), which
follows Jha et al. (ECCV 2018); "trial" is a choice of ours, measured on validation identities of
the real sprites.
"""

import ast
import dataclasses
import difflib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lib.system.errors import UserError


@dataclass(frozen=True)
class HParams:
    """The settings of one run; the defaults are preset `fast`. `PRESETS` says what the others
    change.
    """

    # networks
    architecture: str = (
        "dense"  # "published": 5x5 stride-2 convolutions; "dense" (trial): see `lib.model`
    )
    norm: str = (
        "group"  # "instance" (published) or "group" (trial: the best of instance, batch and group)
    )
    # size of the unspecified code (published: 512; trial: a small z has less room for the
    # character)
    z_dim: int = 8
    s_dim: int = 64  # size of the specified code (published: 64)
    normalize_s: bool = True  # layer normalisation on s (published: no)

    # losses, in units of one image: squared error summed over pixels, KL in nats, L1 summed over z;
    # the reverse cycle has an Adam of its own, which no scale of its loss changes, so its frequency
    # counts and its weight does not
    reconstruction_weight: float = 2.0  # published
    kl_weight: float = 1.0  # published: 3; trial, with matches
    reverse_weight: float = 10.0  # published
    kl_warmup: float = (
        0.3  # share of the training over which the KL weight rises from 0 (published: 0)
    )
    # share of the training from which on matched images exchange their z (published: 1, never)
    match_from: float = 0.2
    match_characters: int = 1_000  # characters that are matched, at most

    # batches and optimizers
    group_size: int = (
        4  # images of one character that swap their s among each other; 2 are the published pairs
    )
    batch_images: int = (
        64  # images a step, batch_images / group_size characters (published: 16 pairs = 32)
    )
    # length of the training, in images; some seven minutes on the two cores it was measured on
    images_seen: int = 400_000
    learning_rate: float = 2e-3  # Adam, both optimizers (published: 1e-4)
    beta2: float = 0.99  # Adam's second-moment decay (published: 0.999)
    lr_warmup: int = 100  # steps over which the learning rate rises from 0 (published: 0)
    lr_decay: bool = True  # linear decay to 0 at the end (published: none)
    reverse_every: int = 4  # a reverse cycle every so many steps (published: 1)

    # evaluation
    swap_samples: int = 10_000  # swaps against the truth, for each split
    probe_images: int = 20_000  # images that a probe is trained on, at most
    probe_epochs: int = 10  # passes over them, at most; the best on validation counts
    tsne_points: int = 1_500  # codes in each t-SNE

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            _require(getattr(self, name) in allowed, name, self, f"one of {', '.join(allowed)}")
        for field in dataclasses.fields(self):
            value, lowest = getattr(self, field.name), LOWEST.get(field.name)
            if lowest is not None:
                _require(
                    math.isfinite(value) and value >= lowest, field.name, self, f"at least {lowest}"
                )
        _require(0 <= self.kl_warmup <= 1, "kl_warmup", self, "between 0 and 1")
        _require(0 <= self.match_from <= 1, "match_from", self, "between 0 and 1")
        _require(0 < self.beta2 < 1, "beta2", self, "between 0 and 1")
        _require(self.learning_rate > 0, "learning_rate", self, "positive")
        _require(self.group_size <= 64, "group_size", self, "at most 64")
        _require(
            self.batch_images % self.group_size == 0,
            "batch_images",
            self,
            f"a multiple of group_size ({self.group_size})",
        )
        _require(
            self.batch_images // self.group_size >= 2,
            "batch_images",
            self,
            f"at least 2 groups of {self.group_size}",
        )

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return -(-self.images_seen // self.batch_images)


CHOICES = {"architecture": ("published", "dense"), "norm": ("instance", "group")}
LOWEST = {
    "z_dim": 1,
    "s_dim": 1,
    "reconstruction_weight": 0,
    "kl_weight": 0,
    "reverse_weight": 0,
    "kl_warmup": 0,
    "match_from": 0,
    "match_characters": 2,
    "group_size": 2,
    "batch_images": 4,
    "images_seen": 1,
    "learning_rate": 0,
    "beta2": 0,
    "lr_warmup": 0,
    "reverse_every": 1,
    "swap_samples": 100,
    "probe_images": 500,
    "probe_epochs": 1,
    "tsne_points": 100,
}
PRESETS = {
    "paper": dict(
        architecture="published",
        norm="instance",
        z_dim=512,
        normalize_s=False,
        kl_weight=3.0,
        kl_warmup=0.0,
        match_from=1.0,
        group_size=2,
        batch_images=32,
        images_seen=2 * 500 * 40_050,
        learning_rate=1e-4,
        beta2=0.999,
        lr_warmup=0,
        lr_decay=False,
        reverse_every=1,
    ),
    "fast": {},
    "long": dict(images_seen=1_200_000),
    "smoke": dict(
        images_seen=6_400,
        match_characters=32,
        lr_warmup=10,
        swap_samples=300,
        probe_images=1_000,
        probe_epochs=2,
        tsne_points=150,
    ),
}


def make_hparams(preset: str = "fast", **overrides: object) -> HParams:
    """The hyper-parameters of a preset with some of them overridden; text is read as the type of
    the field.

    Raises `UserError` for an unknown preset or name (naming the known ones) and for a value out of
    range.
    """
    if preset not in PRESETS:
        raise UserError(f"there is no preset '{preset}': choose one of {', '.join(PRESETS)}")
    types = {field.name: field.type for field in dataclasses.fields(HParams)}
    for name in overrides:
        if name not in types:
            raise _unknown("hyper-parameter", name, types)
    values = {name: _convert(name, value, types[name]) for name, value in overrides.items()}
    return HParams(**{**PRESETS[preset], **values})


def check_parameters(executed: Sequence[str], seed: object = 0) -> None:
    """Raises `UserError` for a bad seed, and for a parameter that a notebook was given and does not
    have: papermill only warns.

    `executed` are the sources of the cells that ran (IPython's `In`): papermill puts its cell right
    after the parameters'.
    """
    check_seed(seed)
    for defaults, given in pairwise(executed):
        if given.startswith("# Parameters"):
            known = _assigned(defaults)
            for name in _assigned(given):
                if name not in known:
                    raise _unknown("parameter", name, known)


def _convert(name: str, value: object, kind: type) -> object:
    """`value` as `kind`; only lossless readings are accepted, so that 'False' is false and 1.5 is
    no int.
    """
    text = str(value).strip()
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                text.lower()
            ]
        if kind is int:
            number = float(text)
            if number != int(number):
                raise ValueError
            return int(number)
        return kind(text)
    except (ValueError, KeyError, OverflowError):
        what = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
        raise UserError(f"hyper-parameter {name} takes {what}, not '{value}'") from None


def check_seed(seed: object) -> None:
    """Raises `UserError` where `seed` is no whole number from 0."""
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed takes a whole number from 0, not '{seed}'")


def _assigned(source: str) -> list[str]:
    """The names that plain assignments of a cell give values to."""
    return [
        statement.targets[0].id
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
    ]


def _unknown(what: str, name: str, known: Collection[str]) -> UserError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return UserError(f"there is no {what} '{name}'{hint}; the known ones are {', '.join(known)}")


def _require(holds: bool, name: str, hp: HParams, what: str) -> None:
    if not holds:
        raise UserError(f"hyper-parameter {name} must be {what}, not {getattr(hp, name)}")
