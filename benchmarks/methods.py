"""The methods of the study: what each changes, and the trainings that choose a rival's settings."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from lib.config import HParams, make_hparams
from lib.method.rivals.registry import LEARNERS
from lib.system.errors import UserError

TRIAL = "smoke"
STUDY_IMAGES, SEARCH_IMAGES = 400_000, 150_000


class Method(NamedTuple):
    """A row of the study: a preset with changes, perhaps with another learner."""

    meaning: str
    overrides: Mapping[str, object] = {}
    learner: str = "cycle"  # see `lib.method.rivals.registry`
    weight: float | None = None  # of the term that the learner adds
    preset: str = "fast"
    references: tuple[str, ...] = ("ours",)  # the methods that it is compared with
    images: int | None = STUDY_IMAGES  # that it is trained on; None: as the preset
    only_validation: bool = False  # what chooses the settings of a rival

    @property
    def hp(self) -> HParams:
        length = {} if self.images is None else {"images_seen": self.images}
        return make_hparams(self.preset, **length, **self.overrides)

    def make_learner(self, *arguments: object) -> object:
        more = {} if self.weight is None else {"weight": self.weight}
        return LEARNERS[self.learner](*arguments, **more)


UNMATCHED = {"match_from": 1.0}
REVERSE = {"reverse_weight": 10.0}
SAMPLED_S = {**UNMATCHED, "normalize_s": False}
NO_AGREEMENT = {"s_agreement": 0.0, "z_agreement": 0.0}
METHODS: dict[str, Method] = {
    "fast": Method("preset fast", references=(), images=None),
    "long": Method("preset long", preset="long", references=("fast",), images=None),
    TRIAL: Method("preset smoke, to try this command", preset=TRIAL, references=(), images=None),
    "ours": Method("preset fast, on fewer images", references=()),
    "reverse": Method("and the reverse cycle", REVERSE),
    "unmatched": Method("no matching", UNMATCHED),
    "unmatched-reverse": Method(
        "no matching, the reverse cycle", {**UNMATCHED, **REVERSE}, references=("ours", "unmatched")
    ),
    "undetached": Method(
        "the same, and its gradient is not detached",
        {**UNMATCHED, **REVERSE},
        "undetached",
        references=("ours", "unmatched-reverse"),
    ),
    "own-s": Method("s of the image itself: no exchange of s", learner="own_s"),
    "autoencoder": Method(
        "nothing is exchanged, no KL term, no agreement",
        {**UNMATCHED, **NO_AGREEMENT, "kl_weight": 0.0, "s_noise": 0.0},
        "own_s",
    ),
    "no-kl": Method("no KL term", {"kl_weight": 0.0}),
    "no-agreement": Method("codes need not agree", NO_AGREEMENT),
    "z-64": Method("z of 64", {"z_dim": 64}),
    "z-512": Method("z of 512, as published", {"z_dim": 512}),
    "published-rate": Method("Adam at 1e-4, as published", {"learning_rate": 1e-4}),
    "mlvae": Method("ML-VAE (Bouchacourt et al., 2018)", SAMPLED_S, "mlvae"),
    "gvae": Method("GVAE (Hosoya, 2019)", SAMPLED_S, "gvae"),
    "vae": Method("a VAE that does not know the groups", SAMPLED_S, "vae"),
    "lord": Method("LORD (Gabbay and Hoshen, 2020)", UNMATCHED, "lord", 1.0),
    "adversarial": Method(
        "an adversary on swaps (Mathieu et al., 2016)", UNMATCHED, "adversarial", 1.0
    ),
    "drnet": Method("an adversary on z (Denton and Birodkar, 2017)", UNMATCHED, "drnet", 1.0),
}
# The rate and the main weight of each rival are chosen among these, on validation swaps, seed 0.
RATES = (5e-4, 1e-3, 2e-3)
MAIN_WEIGHTS = {
    **{name: ("kl_weight", (0.1, 0.5, 2.0)) for name in ("mlvae", "gvae", "vae", "lord")},
    **{name: ("weight", (1.0, 10.0, 100.0)) for name in ("adversarial", "drnet")},
}


def searched() -> dict[str, Method]:
    """The trainings that choose the settings of the rivals."""
    found = {}
    for name, (weight, values) in MAIN_WEIGHTS.items():
        for rate, value in product(RATES, values):
            method, overrides = METHODS[name], {"learning_rate": rate}
            if weight == "weight":
                method = method._replace(weight=value)
            else:
                overrides[weight] = value
            found[f"search-{name}-{rate}-{value}"] = method._replace(
                overrides={**method.overrides, **overrides},
                images=SEARCH_IMAGES,
                references=(),
                only_validation=True,
            )
    return found


STUDIED = [name for name in METHODS if name != TRIAL]
METHODS |= searched()


def chosen_methods(methods: Sequence[str], search: Sequence[str]) -> list[str]:
    """The methods that a call names, and the trainings that choose the settings of `search`."""
    for name in methods:
        if name not in METHODS:
            raise UserError(f"there is no method '{name}': choose from {', '.join(STUDIED)}")
    for name in search:
        if name not in MAIN_WEIGHTS:
            raise UserError(f"'{name}' has no search: choose from {', '.join(MAIN_WEIGHTS)}")
    found = [name for rival in search for name in METHODS if name.startswith(f"search-{rival}-")]
    return [*methods, *found] or STUDIED
