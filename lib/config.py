"""Every hyper-parameter once: its value, its meaning and unit, its bounds and its source.

"published" is the value of the reimplementation that this report redoes (Chetan and Joshi, 2020),
which follows Jha et al. (ECCV 2018). Our values were chosen on validation identities of 2D
Sprites. Schedules are given as fractions of the training.
"""

import ast
import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from lib.system.errors import UserError, did_you_mean
from lib.system.paths import ROOT

BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
LARGEST_SEED = 2**32 - 1  # of scikit-learn; NumPy and torch take larger ones
LARGEST_NUMBER = 10**308  # that is read: digits of 1e999999999 would fill the memory
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def setting(default: object, meaning: str, **metadata: object) -> dataclasses.Field:
    """A hyper-parameter.

    `metadata`: published; why ours differs; choices; low, high (included); above, below.
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning, **metadata})


@dataclass(frozen=True)
class HParams:
    """The settings of one run. The defaults are preset `fast`."""

    architecture: str = setting(
        "dense",
        "see lib/method/networks.py; conv for images of more than 64 pixels",
        published="published",
        choices=("published", "dense", "conv"),
        why="a CPU computes matrix products fast",
    )
    norm: str = setting(
        "group",
        "normalisation layers of the published networks",
        published="instance",
        choices=("instance", "group"),
        why="only the published networks use it",
    )
    components: int = setting(
        1_024,
        "principal components that the dense networks see; all pixels as published",
        published=1_024,
        low=1,
        high=10_800,
    )
    z_dim: int = setting(
        8,
        "size of z",
        published=512,
        low=1,
        high=4_096,
        why="a pose has few degrees of freedom; what does not fit into z must come from s",
    )
    s_dim: int = setting(64, "size of s", published=64, low=1, high=4_096)
    normalize_s: bool = setting(
        True,
        "layer normalisation of s",
        published=False,
        why="all s have one size, so noise on s hides equally much of each",
    )

    # weights of terms in units of one image
    reconstruction_weight: float = setting(
        2.0, "weight of the squared error, a sum over pixels", published=2.0, low=0
    )
    kl_weight: float = setting(
        0.5,
        "weight of the KL term, in nats",
        published=3.0,
        low=0,
        why="other terms keep the character out of z, and z needs room for the pose",
    )
    reverse_weight: float = setting(
        0.0,
        "weight of the L1 distance; it has an Adam of its own, so only its frequency counts;"
        " 0: none",
        published=10.0,
        low=0,
        why="matched images that agree on z have the same aim; see the study",
    )
    kl_warmup: float = setting(
        0.3,
        "share over which the KL weight rises from 0",
        published=0.0,
        low=0,
        high=1,
        why="z is used before it is penalised",
    )
    match_from: float = setting(
        0.0,
        "share after which matched images exchange z; 1: never",
        published=1.0,
        low=0,
        high=1,
        why="matched images show the true image of a swap",
    )
    match_characters: int = setting(
        1_000, "characters that are matched, at most", low=2, high=10**6
    )

    mean_s: bool = setting(
        True,
        "decode from the mean s of the other images in a group",
        published=False,
        why="the mean shows a weapon that one image hides",
    )
    s_noise: float = setting(
        0.3,
        "size of the noise on s that the decoder learns with, in deviations of s",
        published=0.0,
        low=0,
        why="it drowns a pose that s holds in small differences",
    )
    s_agreement: float = setting(
        1.0,
        "weight of the squared distance of s to the mean of its group",
        published=0.0,
        low=0,
        why="images of one character should give one s",
    )
    z_agreement: float = setting(
        1.0,
        "weight of the KL between z of matched images, in nats",
        published=0.0,
        low=0,
        why="images in one pose should give one z",
    )
    agreement_from: float = setting(
        0.6,
        "share after which both agreements rise, until the end of the training",
        published=0.6,
        low=0,
        high=1,
    )

    group_size: int = setting(
        4,
        "images of a character that exchange s; 2 are pairs",
        published=2,
        low=2,
        high=64,
        why="three images give s together, so few parts stay hidden",
    )
    batch_images: int = setting(
        64,
        "images in a step",
        published=32,
        low=4,
        high=65_536,
        why="more characters in a step give a steadier gradient",
    )
    images_seen: int = setting(
        1_200_000,
        "length of the training, in images",
        published=2 * 500 * 40_050,
        low=1,
        high=10**10,
        why="minutes on a CPU instead of a day",
    )
    learning_rate: float = setting(
        2e-3,
        "Adam, both optimizers",
        published=1e-4,
        above=0,
        why="a short training needs large steps",
    )
    beta2: float = setting(
        0.99,
        "Adam's decay of the second moment",
        published=0.999,
        above=0,
        below=1,
        why="the gradients of a short training change fast",
    )
    lr_warmup: int = setting(
        100,
        "steps over which the learning rate rises from 0",
        published=0,
        low=0,
        high=10**9,
        why="Adam does not know the size of the gradient at first",
    )
    lr_decay: bool = setting(
        True,
        "linear decay of the learning rate to 0",
        published=False,
        why="a short training ends in small steps",
    )
    reverse_every: int = setting(
        4,
        "steps from one reverse cycle to the next",
        published=1,
        low=1,
        high=10**9,
        why="a reverse cycle costs more than a forward one",
    )

    background_level: float = setting(
        0.05,
        "decoded pixels that are darker in all channels are background, so black; 0: none",
        published=0.0,
        low=0,
        high=1,
        why="the background of sprites is black",
    )

    swap_samples: int = setting(
        10_000,
        "swaps compared with the true images, per split; fewer of large images",
        low=100,
        high=10**6,
    )
    probe_images: int = setting(
        20_000,
        "images that a probe is trained on, at most; it is tested on twice as many, at most",
        low=500,
        high=10**7,
    )
    probe_epochs: int = setting(
        10, "epochs of a probe, at most; the best on validation counts", low=1, high=10**4
    )
    protocol_images: int = setting(
        20_000, "images that the published classifiers are trained on", low=500, high=10**7
    )
    protocol_epochs: int = setting(
        3, "epochs of the published classifiers; 200 in the reference", low=1, high=10**4
    )
    tsne_points: int = setting(1_500, "codes in each t-SNE", low=100, high=10**5)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_bounds(field.name, getattr(self, field.name), field.metadata)
        if self.batch_images % self.group_size:
            expected = f"a multiple of group_size ({self.group_size})"
            raise _bad_value("batch_images", self.batch_images, expected)
        if self.batch_images // self.group_size < 2:
            expected = f"at least 2 groups of {self.group_size}"
            raise _bad_value("batch_images", self.batch_images, expected)

    @property
    def steps(self) -> int:
        """Optimizer steps of the training."""
        return -(-self.images_seen // self.batch_images)


SETTINGS = MappingProxyType({field.name: field for field in dataclasses.fields(HParams)})
PRESETS: dict[str, dict[str, object]] = {
    "paper": {
        name: field.metadata["published"]
        for name, field in SETTINGS.items()
        if "published" in field.metadata
    },
    "fast": {},
    "long": {"images_seen": 2_400_000},
    "smoke": {
        "components": 64,
        "images_seen": 3_200,
        "match_characters": 16,
        "lr_warmup": 10,
        "swap_samples": 100,
        "probe_images": 1_000,
        "probe_epochs": 2,
        "protocol_images": 1_000,
        "protocol_epochs": 1,
        "tsne_points": 150,
    },
}


def make_hparams(preset: str = "fast", /, **overrides: object) -> HParams:
    """The hyper-parameters of a preset, some of them overridden by values or by text.

    Raises: UserError for an unknown preset or name, and for a value out of bounds.
    """
    if preset not in PRESETS:
        raise UserError(f"there is no preset '{preset}': choose one of {', '.join(PRESETS)}")
    for name in overrides:
        if name not in SETTINGS:
            raise _unknown("hyper-parameter", name, SETTINGS)
    values = {name: _read(name, value, SETTINGS[name].type) for name, value in overrides.items()}
    return HParams(**{**PRESETS[preset], **values})


def check_parameters(executed: Sequence[str], seed: object = 0, split_seed: object = 0) -> None:
    """Check the parameters of a notebook, because papermill only warns of an unknown one.

    `executed` are the sources of the cells that ran (IPython's `In`). Papermill puts its cell right
    after the cell of the defaults.

    Raises: UserError for a bad seed, and for a parameter that the notebook does not have.
    """
    check_seed(seed)
    check_seed(split_seed, "split_seed")
    check_checkout(Path.cwd())
    for defaults, given in pairwise(executed):
        if given.startswith("# Parameters"):
            known = _assigned_names(defaults)
            for name in _assigned_names(given):
                if name not in known:
                    raise _unknown("parameter", name, known)


def check_checkout(folder: Path) -> None:
    """Raises UserError where `folder` holds the notebooks of another checkout."""
    project = folder.parent
    if folder.name == "notebooks" and project != ROOT and (project / "lib" / "config.py").exists():
        raise UserError(
            f"this notebook belongs to {project}, but this environment imports the lib of {ROOT}:"
            f" start it with {project / 'run_all.sh'} --jupyter"
        )


def check_seed(seed: object, name: str = "seed") -> None:
    """Raises UserError where `seed` is not a whole number that every library takes."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"{name} must be a whole number from 0 to {LARGEST_SEED}, not '{seed}'")


def check_processes(processes: int, hp: HParams) -> None:
    """Raises UserError where they cannot share a batch, whose groups are taken two by two."""
    if processes < 1:
        raise UserError(f"processes must be a whole number of at least 1, not {processes}")
    unit = 2 * processes * hp.group_size
    if processes > 1 and hp.batch_images % unit:
        raise UserError(
            f"{processes} processes cannot share batch_images {hp.batch_images}: set it to a"
            f" multiple of {unit}"
        )


def _read(name: str, value: object, kind: type) -> object:
    """`value` as `kind`, if nothing is lost: 'False' is false, and 1.5 is no int."""
    text = str(value).strip()
    try:
        if kind is bool:
            return BOOLEANS[text.lower()]
        if kind is int:
            number = Decimal(text)  # it also reads 4e5, and rounds nothing
            if abs(number) > LARGEST_NUMBER or number != int(number):
                raise ValueError
            return int(number)
        return kind(text)
    except (ValueError, KeyError, ArithmeticError):  # of Decimal: no number; infinite
        raise UserError(f"hyper-parameter {name} takes {KINDS[kind]}, not '{value}'") from None


def _check_bounds(name: str, value: object, metadata: Mapping) -> None:
    if choices := metadata.get("choices"):
        if value not in choices:
            raise _bad_value(name, value, f"one of {', '.join(choices)}")
        return
    low, high = metadata.get("low", -math.inf), metadata.get("high", math.inf)
    above, below = metadata.get("above", -math.inf), metadata.get("below", math.inf)
    if low <= value <= high and above < value < below:
        return
    bounds = [str(bound) for bound in (low, above, high, below) if math.isfinite(bound)]
    if len(bounds) == 2:
        expected = f"between {bounds[0]} and {bounds[1]}"
    else:
        expected = f"at least {low}" if "low" in metadata else "positive"
    raise _bad_value(name, value, expected)


def _bad_value(name: str, value: object, expected: str) -> UserError:
    return UserError(f"hyper-parameter {name} must be {expected}, not {value}")


def _assigned_names(source: str) -> list[str]:
    """The names that plain assignments of a cell give values to."""
    body = ast.parse(source).body
    return [statement.targets[0].id for statement in body if isinstance(statement, ast.Assign)]


def _unknown(kind: str, name: str, known: Collection[str]) -> UserError:
    hint = did_you_mean(name, known)
    return UserError(f"there is no {kind} '{name}'{hint}; the known ones are {', '.join(known)}")
