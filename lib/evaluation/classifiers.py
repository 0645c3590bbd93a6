"""The loop that trains every classifier of the evaluation, and its small networks."""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.config import HParams
from lib.system.optimizers import Adam

BATCH = 512  # codes in a step, at most
STEPS = 40  # of an epoch, at least

_INITIALISING = threading.Lock()

Loss = Callable[[Tensor, Tensor], Tensor]


class Fitted(NamedTuple):
    """A network in its best epoch on validation."""

    output: Tensor  # (n, K) on the test
    validation_loss: float
    train_output: Tensor  # (m, K)


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
    optimizer = Adam(parameters, lr=rate, fused=True)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0 if decay_steps else 1, decay_steps)
    for batches in epochs:
        for batch in batches:
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()
            decay.step()
        after_epoch()


def shuffled(n: int, batch: int, epochs: int, seed: int) -> Iterator[Iterable[Tensor]]:
    """The batches (B,) of indices of n samples, in another order in each epoch."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randperm(n, generator=generator).split(batch) for _ in range(epochs))


def hidden_layers(n_in: int, widths: tuple[int, ...]) -> list[nn.Module]:
    """Linear layers of these widths, each with a ReLU."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(n_in, width), nn.ReLU()]
        n_in = width
    return layers


def fit_networks(
    widths: tuple[int, ...],
    parts: list[Tensor],
    y: Mapping[str, list[Tensor]],
    n_out: Mapping[str, int],
    loss: Loss,
    hp: HParams,
    seed: int,
) -> dict[str, Fitted]:
    """A perceptron for each target of y ({name: [train, validation]}), in its best epoch.

    `parts` are the inputs of train, validation and test. The networks are independent, though they
    are fitted together.
    """
    x_train, x_validation, x_test = parts
    with _INITIALISING:  # threads share the generator of torch
        torch.manual_seed(seed)
        nets = nn.ModuleDict(
            {name: _network(x_train.shape[1], widths, n) for name, n in n_out.items()}
        )
    best: dict[str, tuple[float, dict]] = {}

    def keep_best() -> None:
        for name, net in nets.items():
            with torch.no_grad():
                validation_loss = loss(net(x_validation), y[name][1]).item()
            if name not in best or validation_loss < best[name][0]:
                best[name] = validation_loss, copy.deepcopy(net.state_dict())

    def batch_loss(index: Tensor) -> Tensor:
        x = x_train[index]
        return torch.stack(
            [loss(nets[name](x), train[index]) for name, (train, _) in y.items()]
        ).sum()

    keep_best()
    batch = min(BATCH, -(-len(x_train) // STEPS))
    steps = hp.probe_epochs * -(-len(x_train) // batch)
    epochs = shuffled(len(x_train), batch, hp.probe_epochs, seed)
    rate = 3e-3 if widths else 1e-2
    minimise(batch_loss, nets.parameters(), epochs, rate, decay_steps=steps, after_epoch=keep_best)

    fitted = {}
    for name, (validation_loss, weights) in best.items():
        nets[name].load_state_dict(weights)
        with torch.no_grad():
            fitted[name] = Fitted(nets[name](x_test), validation_loss, nets[name](x_train))
    return fitted


def _network(n_in: int, widths: tuple[int, ...], n_out: int) -> nn.Sequential:
    """A perceptron that starts with the uniform guess, so its best epoch is never worse."""
    out = nn.Linear(widths[-1] if widths else n_in, n_out)
    nn.init.zeros_(out.weight)
    nn.init.zeros_(out.bias)
    return nn.Sequential(*hidden_layers(n_in, widths), out)
