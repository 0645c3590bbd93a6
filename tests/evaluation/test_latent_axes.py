import numpy as np
import torch
from torch import nn

from lib.evaluation.codes import Codes
from lib.evaluation.latent_axes import STEPS, along_axes, order_by_effect

STRENGTHS = torch.tensor([0.01, 0.3, 0.0, 0.1])


class Planted(nn.Module):
    """Brightens a row of the image for each axis of z, by its strength."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(0.5))

    def decode(self, z, s):
        rows = torch.zeros(len(z), 60)
        rows[:, :4] = z * STRENGTHS
        return (self.bias + rows)[:, None, :, None].expand(-1, 3, -1, 60)


def planted_codes(scale=1.0):
    z = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32) * np.float32(scale)
    return Codes(z, z, np.zeros((200, 2), np.float32))


def test_the_strongest_axis_comes_first():
    order = order_by_effect(Planted(), planted_codes(), np.arange(100), seed=0)
    assert order.tolist() == [1, 3, 0, 2]


def test_an_axis_that_hardly_moves_is_weak():
    codes = planted_codes([1, 0.01, 1, 1])
    assert order_by_effect(Planted(), codes, np.arange(100), seed=0).tolist() == [3, 0, 1, 2]


def test_one_axis_moves_from_end_to_end_and_the_others_stay():
    z, ranges = np.array([0, 1, 0, 0], np.float32), np.array([1, 1, 1, 2.0])
    images = along_axes(Planted(), z, np.zeros(2, np.float32), np.array([3, 0]), ranges)
    assert images.shape == (2, STEPS, 60, 60, 3)
    shares = images[0, :, :4, 0, 0] / 255 - 0.5
    np.testing.assert_allclose(shares[:, 3], 0.1 * np.linspace(-2, 2, STEPS), atol=0.003)
    np.testing.assert_allclose(shares[:, 1], 0.3, atol=0.003)
