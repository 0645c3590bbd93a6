"""The training loop and the networks in their best epoch."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib.config import make_hparams
from lib.evaluation import classifiers

HP = make_hparams("fast", probe_epochs=6)


def decay_rates(decay_steps):
    """The sizes of the steps of Adam on a constant slope, which are the learning rates."""
    x = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    seen = []

    def loss(_):
        seen.append(x.item())
        return x.sum()

    classifiers.minimise(loss, [x], [range(4), range(4)], 0.1, decay_steps)
    return -np.diff([*seen, x.item()])


def test_the_rate_is_constant_without_decay_and_falls_linearly_to_zero_with_it():
    np.testing.assert_allclose(decay_rates(0), np.full(8, 0.1), rtol=1e-5)
    np.testing.assert_allclose(decay_rates(8), 0.1 * np.arange(8, 0, -1) / 8, rtol=1e-5)


def test_every_epoch_has_every_sample_once_in_another_order():
    first, second = (torch.cat(epoch) for epoch in classifiers.shuffled(100, 32, 2, seed=0))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("widths", [(), (16,)])
def test_a_network_that_only_gets_worse_on_validation_keeps_its_uniform_guess(widths):
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    right, wrong = (
        classifiers.fit_networks(
            widths, [x, x, x], {"y": [y, target]}, {"y": 2}, F.cross_entropy, HP, seed=0
        )["y"]
        for target in (y, 1 - y)
    )
    train_loss = F.cross_entropy(right.train_output, y).item()
    assert right.validation_loss == pytest.approx(train_loss)
    assert right.validation_loss < 0.5 * np.log(2)
    assert wrong.validation_loss == pytest.approx(np.log(2)) and (wrong.output == 0).all()
