"""What changes from step to step: the learning rate and the weight of the KL term."""

from lib.config import HParams


def learning_rate(step: int, hp: HParams) -> float:
    """A linear warm-up over hp.lr_warmup steps; with hp.lr_decay, a linear decay to 0."""
    warmup = min(1.0, (step + 1) / hp.lr_warmup) if hp.lr_warmup else 1.0
    return hp.learning_rate * warmup * (1 - step / hp.steps if hp.lr_decay else 1.0)


def kl_weight(step: int, hp: HParams) -> float:
    """A linear rise from 0 over the fraction hp.kl_warmup: z is used before it is penalised."""
    rise = hp.kl_warmup * hp.steps
    return hp.kl_weight * min(1.0, step / rise) if rise else hp.kl_weight
