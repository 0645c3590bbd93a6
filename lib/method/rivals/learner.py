"""What a method brings to the training that all methods share (`lib.method.training`)."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from lib.config import HParams
from lib.method.networks import CycleVAE
from lib.method.sampling import Batch
from lib.method.schedules import Weights, learning_rate, weights
from lib.method.step import make_optimizers, train_step
from lib.system.optimizers import Adam

Parts = Sequence[Adam | nn.Module]  # what a checkpoint keeps beside the model


class CycleLearner:
    """The cycle-consistent VAE (`lib.method.step`)."""

    def __init__(self, model: CycleVAE, hp: HParams, images: int, characters: int) -> None:
        self.hp = hp
        self.parts: Parts = make_optimizers(model, hp)

    def step(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """One step; the terms per image, among them `reconstruction` and `kl`."""
        return train_step(objective, self.parts, batch, step, self.hp)


class Learner:
    """One loss with one Adam for encoder, decoder and the networks that only the training needs.

    A method gives its `loss`. One whose `extra` networks have an Adam of their own changes `step`.
    """

    def __init__(
        self,
        model: CycleVAE,
        hp: HParams,
        extra: nn.Module,
        weight: float = 0.0,
        joint: bool = True,
    ) -> None:
        self.hp, self.weight = hp, weight  # of the term that the method adds, if it adds one
        self.extra = extra.to(next(model.parameters()).device)
        trained = [*model.encoder.parameters(), *model.decoder.parameters()]
        more = list(self.extra.parameters())
        if joint:
            self.optimizer = adam(trained + more, hp)
            self.parts: Parts = (self.optimizer, self.extra)
        else:
            self.optimizer, self.extra_optimizer = adam(trained, hp), adam(more, hp)
            self.parts = (self.optimizer, self.extra_optimizer, self.extra)

    def loss(
        self, model: CycleVAE, batch: Batch, weights: Weights
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of an image, summed over its values, and its terms; means over the batch."""
        raise NotImplementedError

    def step(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """See `CycleLearner.step`."""
        set_rate(self.optimizer, learning_rate(step, self.hp))
        loss, terms = objective(self.loss, batch, weights(step, self.hp))
        descend(self.optimizer, loss / batch.x[0].numel())
        return {name: term.detach() for name, term in terms.items()}


# from the model, its settings and the numbers of images and of characters in the data
MakeLearner = Callable[[CycleVAE, HParams, int, int], CycleLearner | Learner]


def adam(parameters: Sequence[nn.Parameter], hp: HParams) -> Adam:
    return Adam(parameters, lr=hp.learning_rate, betas=(0.9, hp.beta2), fused=True)


def set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def descend(optimizer: Adam, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """() summed over the values of an image, a mean over the batch."""
    return (x_hat - x).square().flatten(1).sum(dim=1).mean()
