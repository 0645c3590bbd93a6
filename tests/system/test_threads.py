"""Independent work on all cores."""

import threading

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib.config import make_hparams
from lib.evaluation.classifiers import fit_networks
from lib.system.threads import on_all_cores


@pytest.fixture
def two_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_keep_their_order_and_two_items_are_worked_on_at_once(two_cores):
    meeting = threading.Barrier(2, timeout=30)

    def work(item):
        meeting.wait()  # passes only when the other thread has come here, too
        assert torch.get_num_threads() == 1
        return 10 * item

    assert on_all_cores(work, [3, 1, 2, 4], "test", "item") == [30, 10, 20, 40]
    assert torch.get_num_threads() == 2


def test_an_error_in_a_thread_is_raised_and_the_threads_are_set_back(two_cores):
    with pytest.raises(ZeroDivisionError):
        on_all_cores(lambda item: 1 / item, [1, 0, 1], "test", "item")
    assert torch.get_num_threads() == 2


def test_networks_that_are_trained_at_once_are_those_trained_alone(two_cores):
    x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    y = [(x[:, 0] > 0).long()] * 2
    hp = make_hparams("smoke")

    def fit(seed):
        fitted = fit_networks((8,), [x, x, x], {"y": y}, {"y": 2}, F.cross_entropy, hp, seed)
        return fitted["y"].output.numpy()

    seeds = [1, 2, 3, 4] * 3
    for together, seed in zip(on_all_cores(fit, seeds, "test", "network"), seeds, strict=True):
        np.testing.assert_array_equal(together, fit(seed))
