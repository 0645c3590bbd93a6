"""What changes from step to step: the learning rate and the weights of some terms."""

from typing import NamedTuple

from lib.config import HParams


def learning_rate(step: int, hp: HParams) -> float:
    """A linear warm-up over hp.lr_warmup steps; with hp.lr_decay, a linear decay to 0."""
    warmup = min(1.0, (step + 1) / hp.lr_warmup) if hp.lr_warmup else 1.0
    return hp.learning_rate * warmup * (1 - step / hp.steps if hp.lr_decay else 1.0)


class Weights(NamedTuple):
    """The weights of one step."""

    kl: float
    agreement: float  # of both agreements, from 0 to 1


def weights(step: int, hp: HParams) -> Weights:
    """Linear rises: z is used before it is penalised, and codes are learnt before they must agree.

    The weight of the KL term rises from 0 over the share hp.kl_warmup. Agreement rises from the
    share hp.agreement_from to the end: before, it would suppress a weapon that many images hide.
    """
    share = step / hp.steps
    kl = min(1.0, share / hp.kl_warmup) if hp.kl_warmup else 1.0
    late = max(0.0, share - hp.agreement_from) if hp.s_agreement or hp.z_agreement else 0.0
    agreement = late and late / (1 - hp.agreement_from)
    return Weights(hp.kl_weight * kl, agreement)


def is_constant(hp: HParams) -> bool:
    """Whether all steps have the same learning rate, weights and cycles, as published."""
    changes = hp.lr_warmup or hp.lr_decay or hp.kl_warmup or hp.s_agreement or hp.z_agreement
    return not changes and (hp.reverse_every == 1 or not hp.reverse_weight)
