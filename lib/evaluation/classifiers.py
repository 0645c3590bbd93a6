"""The loop that trains every classifier of the evaluation, and its small networks."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

BATCH = 512  # codes in a step, at most


def minimise(
    loss: Callable[[object], Tensor],
    parameters: Iterable[nn.Parameter],
    epochs: Iterable[Iterable[object]],
    rate: float,
    decay_steps: int = 0,
    after_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Minimise loss(batch) by Adam, for each batch of each epoch.

    With `decay_steps` the rate decays linearly to 0 over so many steps.
    """
    optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0 if decay_steps else 1, decay_steps)
    for batches in epochs:
        for batch in batches:
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()
            decay.step()
        after_epoch()


def shuffled(n: int, batch: int, epochs: int) -> Iterator[Iterable[Tensor]]:
    """The batches (B,) of indices of n samples, in another order in each epoch."""
    return (torch.randperm(n).split(batch) for _ in range(epochs))


def hidden_layers(n_in: int, widths: tuple[int, ...]) -> list[nn.Module]:
    """Linear layers of these widths, each with a ReLU."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(n_in, width), nn.ReLU()]
        n_in = width
    return layers
