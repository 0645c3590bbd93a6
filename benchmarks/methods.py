"""The methods of the study: what each changes, and the trainings that choose a rival's settings."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from lib.config import HParams, make_hparams
from lib.method.rivals.registry import LEARNERS
from lib.report.numbers import count
from lib.system.errors import UserError

BASE = "ours"  # every other method is compared with it
LONGEST, LONGEST_FORWARD, ON_GPU = "published-long", "published-forward-long", "ours-gpu"
# hours on a CPU, or not for it: only trained where they are named
ONLY_NAMED = (LONGEST, LONGEST_FORWARD, ON_GPU)
PRESET_METHODS, TRIAL = ("fast", "long"), "smoke"
STUDY_IMAGES, SEARCH_IMAGES = 400_000, 150_000
PUBLISHED_IMAGES = 4_000_000  # of the published method, to see where its curve goes


class Method(NamedTuple):
    """A row of the study: a preset with changes, perhaps with another learner."""

    meaning: str
    overrides: Mapping[str, object] = {}
    learner: str = "cycle"  # see `lib.method.rivals.registry`
    weight: float | None = None  # of the term that the learner adds
    preset: str = "fast"
    reference: str | None = BASE  # the method that it is compared with
    images: int | None = STUDY_IMAGES  # that it is trained on; None: as the preset
    device: str | None = None  # that it needs; None: any
    predictor: str | None = None  # of `lib.evaluation.baselines`, in place of a training
    chooses: str | None = None  # the rival whose settings it helps to choose, on validation alone

    @property
    def hp(self) -> HParams:
        length = {} if self.images is None else {"images_seen": self.images}
        return make_hparams(self.preset, **length, **self.overrides)

    @property
    def key(self) -> list[object]:
        """What tells methods with equal hyper-parameters apart."""
        return [self.predictor or self.learner, self.weight]

    def make_learner(self, *arguments: object) -> object:
        more = {} if self.weight is None else {"weight": self.weight}
        return LEARNERS[self.learner](*arguments, **more)


UNMATCHED = {"match_from": 1.0}
REVERSE = {"reverse_weight": 10.0}
REVERSE_EVERY_STEP = {**REVERSE, "reverse_every": 1}
SAMPLED_S = {**UNMATCHED, "normalize_s": False}
NO_AGREEMENT = {"s_agreement": 0.0, "z_agreement": 0.0}
METHODS: dict[str, Method] = {
    **{
        name: Method(
            f"preset {name}: {count(make_hparams(name).images_seen)} images",
            preset=name,
            reference=None if name == "fast" else "fast",
            images=None,
        )
        for name in PRESET_METHODS
    },
    TRIAL: Method("preset smoke, to try this command", preset=TRIAL, reference=None, images=None),
    BASE: Method(f"preset fast, on {count(STUDY_IMAGES)} images", reference=None),
    ON_GPU: Method("“ours” on a GPU, to bound what the device changes", device="cuda"),
    "reverse": Method("“ours” with the reverse cycle", REVERSE),
    "reverse-every-step": Method("“reverse”, in every step", REVERSE_EVERY_STEP),
    "unmatched": Method("“ours” without matching", UNMATCHED),
    "unmatched-reverse": Method("“unmatched” with the reverse cycle", {**UNMATCHED, **REVERSE}),
    "unmatched-reverse-every-step": Method(
        "“unmatched-reverse”, in every step", {**UNMATCHED, **REVERSE_EVERY_STEP}
    ),
    "undetached": Method(
        "“unmatched-reverse”, its gradient not detached", {**UNMATCHED, **REVERSE}, "undetached"
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
    "published": Method("preset paper, on as many images", preset="paper"),
    "published-forward": Method(
        "“published” without the reverse cycle", {"reverse_weight": 0.0}, preset="paper"
    ),
    LONGEST: Method(
        f"“published” on {count(PUBLISHED_IMAGES)} images",
        preset="paper",
        reference="published",
        images=PUBLISHED_IMAGES,
    ),
    LONGEST_FORWARD: Method(
        f"“published-forward” on {count(PUBLISHED_IMAGES)} images",
        {"reverse_weight": 0.0},
        preset="paper",
        reference="published-forward",
        images=PUBLISHED_IMAGES,
    ),
    "mlvae": Method("ML-VAE (Bouchacourt et al., 2018)", SAMPLED_S, "mlvae"),
    "gvae": Method("GVAE (Hosoya, 2019)", SAMPLED_S, "gvae"),
    "lord": Method("LORD (Gabbay and Hoshen, 2020)", {**UNMATCHED, "kl_weight": 0.1}, "lord", 1.0),
    "adversarial": Method(
        "an adversary on swaps (Mathieu et al., 2016)", UNMATCHED, "adversarial", 1.0
    ),
    "drnet": Method("an adversary on z (Denton and Birodkar, 2017)", UNMATCHED, "drnet", 100.0),
    "vae": Method("a VAE that does not know the groups", SAMPLED_S, "vae"),
    "pose-mean": Method("the mean training image of the target pose", predictor="pose_mean"),
    "additive": Method("mean of the pose and of the character", predictor="additive"),
    "retrieval": Method("the nearest training character", predictor="retrieval"),
    "retrieval-mean": Method("the mean of the nearest characters", predictor="retrieval_mean"),
}
# The rate and the main weight of each rival are chosen among these, on validation swaps, seed 0.
RATES = (5e-4, 1e-3, 2e-3)
MAIN_WEIGHTS = {
    **{name: ("kl_weight", (0.1, 0.5, 2.0)) for name in ("mlvae", "gvae", "lord", "vae")},
    **{name: ("weight", (1.0, 10.0, 100.0)) for name in ("adversarial", "drnet")},
}
RIVALS = tuple(MAIN_WEIGHTS)


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
                reference=None,
                chooses=name,
            )
    return found


STUDIED = [name for name in METHODS if name != TRIAL]
METHODS |= searched()


def searched_weight(method: Method) -> float:
    """The value of the main weight in a training that chooses settings."""
    name, _ = MAIN_WEIGHTS[method.chooses]
    return method.weight if name == "weight" else getattr(method.hp, name)


def chosen_methods(methods: Sequence[str], search: Sequence[str]) -> list[str]:
    """The methods that a call names, and the trainings that choose the settings of `search`."""
    for name in methods:
        if name not in METHODS:
            raise UserError(f"there is no method '{name}': choose from {', '.join(STUDIED)}")
    for name in search:
        if name not in MAIN_WEIGHTS:
            raise UserError(f"'{name}' has no search: choose from {', '.join(MAIN_WEIGHTS)}")
    found = [name for rival in search for name in METHODS if METHODS[name].chooses == rival]
    return [*methods, *found] or [name for name in STUDIED if name not in ONLY_NAMED]
