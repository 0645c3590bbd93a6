import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lib.config import make_hparams
from lib.method.losses import (
    forward_cycle_loss,
    kl_to_standard_normal,
    reparameterize,
    reverse_cycle_loss,
)
from lib.method.networks import CycleVAE, Latents
from lib.method.sampling import Batch, paired_characters, s_index, z_index


class Linear(torch.nn.Module):
    """A model whose codes are known: z_mu is pixel 0 times `leak` plus pixel 1, s pixel 2; decoding
    writes them back.
    """

    def __init__(self, leak=0.0):
        super().__init__()
        self.leak = torch.nn.Parameter(torch.tensor(leak))
        self.gain = torch.nn.Parameter(torch.tensor(1.0))

    def encode(self, x):
        p = x.flatten(1)
        z_mu = (p[:, 1] + self.leak * p[:, 2])[:, None]
        return Latents(z_mu, torch.full_like(z_mu, -40.0), p[:, 2:3])

    def decode(self, z, s):
        zero = torch.zeros_like(z)
        return self.gain * torch.cat([zero, z, s], dim=1).view(-1, 3, 1, 1)


def pixels(*rows):
    return torch.tensor(rows, dtype=torch.float32).view(-1, 3, 1, 1)


def batch(x, matched):
    """A batch of groups of two, as published pairs, without noise."""
    s_from, z_from = s_index(len(matched), 2, 1), z_index(torch.tensor(matched), 2)
    return Batch(x, s_from, z_from, noise=torch.zeros(len(x), 1), prior_z=None)


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_networks_keep_their_shapes(preset):
    hp = make_hparams(preset)
    model = CycleVAE(hp)
    x = torch.rand(3, 3, 60, 60)
    codes = model.encode(x)
    assert (codes.z_mu.shape, codes.z_logvar.shape, codes.s.shape) == (
        (3, hp.z_dim),
        (3, hp.z_dim),
        (3, hp.s_dim),
    )
    assert model.transfer(x, x).shape == x.shape


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_a_code_does_not_depend_on_the_images_it_is_encoded_with(preset):
    torch.manual_seed(0)
    model = CycleVAE(make_hparams(preset)).train()
    x = torch.rand(4, 3, 60, 60)
    together, alone = model.encode(x), model.encode(x[:1])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[:1], b, atol=1e-4, rtol=1e-4)


def test_kl_is_that_of_torch_distributions():
    torch.manual_seed(0)
    z_mu, z_logvar = torch.randn(5, 7), torch.randn(5, 7)
    expected = kl_divergence(Normal(z_mu, (0.5 * z_logvar).exp()), Normal(0, 1)).sum(dim=1)
    torch.testing.assert_close(kl_to_standard_normal(z_mu, z_logvar), expected)


def test_kl_by_hand():
    z_mu, z_logvar = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, math.log(4)]])
    assert kl_to_standard_normal(z_mu, z_logvar).item() == pytest.approx(
        0.5 * (4 + 4 - 1 - math.log(4))
    )


def test_samples_have_the_mean_and_variance_of_q():
    z_mu, z_logvar = torch.full((1, 2), 3.0), torch.tensor([[0.0, math.log(4)]])
    noise = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))
    z = reparameterize(z_mu, z_logvar, noise)
    torch.testing.assert_close(z.mean(0), torch.tensor([3.0, 3.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(0), torch.tensor([1.0, 4.0]), atol=0.06, rtol=0)


def test_pairs_swap_with_each_other_and_groups_within_themselves():
    assert s_index(2, 2, 1).tolist() == [1, 0, 3, 2]
    assert s_index(2, 3, 1).tolist() == [1, 2, 0, 4, 5, 3]
    for shift in (1, 2, 3):
        partner = s_index(5, 4, shift)
        assert (partner // 4 == torch.arange(20) // 4).all() and (partner != torch.arange(20)).all()


def test_the_reverse_cycle_pairs_groups_of_different_characters():
    assert paired_characters(8, 2).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert paired_characters(6, 2).tolist() == [[0, 1], [2, 3]]  # a last group alone has no pair


def test_forward_cycle_by_hand():
    hp = make_hparams("fast", z_dim=1)
    x = pixels([0, 0.5, 0.2], [0, 0.1, 0.6])  # s differs by 0.4, so each swap misses pixel 2 by 0.4
    cycle = forward_cycle_loss(Linear(), batch(x, matched=[False]), kl_weight=3.0, hp=hp)
    kl = 0.5 * ((0.25 + 0.01) / 2 + math.exp(-40) - 1 + 40)
    assert cycle.reconstruction.item() == pytest.approx(0.16, rel=1e-5)
    assert cycle.kl.item() == pytest.approx(kl, rel=1e-5)
    assert cycle.loss.item() == pytest.approx((2 * 0.16 + 3 * kl) / 3, rel=1e-5)


def test_matched_groups_exchange_their_z():
    matched = torch.tensor([True, True, False, False, False])
    assert z_index(matched, 2).tolist() == [2, 3, 0, 1, 4, 5, 6, 7, 8, 9]


def test_forward_cycle_with_exchanged_z_by_hand():
    hp = make_hparams("fast", z_dim=1)
    # two groups of two; z of their first images differs by 0.2
    x = pixels([0, 0.5, 0.2], [0, 0.1, 0.2], [0, 0.7, 0.6], [0, 0.1, 0.6])
    cycle = forward_cycle_loss(Linear(), batch(x, matched=[True, True]), kl_weight=0.0, hp=hp)
    assert cycle.reconstruction.item() == pytest.approx((0.04 + 0 + 0.04 + 0) / 4, rel=1e-5)


def test_reverse_cycle_by_hand():
    x_a, x_b, z = (
        pixels([0, 0, 0.2], [0, 0, 0.5]),
        pixels([0, 0, 0.6], [0, 0, 0.5]),
        torch.tensor([[1.0], [-1.0]]),
    )
    assert reverse_cycle_loss(Linear(leak=0.0), x_a, x_b, z).item() == pytest.approx(0, abs=1e-6)
    # z_mu then leaks half of s, which differs by 0.4 in the first pair and by nothing in the second
    assert reverse_cycle_loss(Linear(leak=0.5), x_a, x_b, z).item() == pytest.approx(
        0.5 * 0.4 / 2, rel=1e-5
    )


def test_reverse_cycle_trains_neither_the_decoder_nor_s():
    torch.manual_seed(0)
    hp = make_hparams("smoke")
    model = CycleVAE(hp)
    reverse_cycle_loss(
        model, torch.rand(4, 3, 60, 60), torch.rand(4, 3, 60, 60), torch.randn(4, hp.z_dim)
    ).backward()
    assert all(p.grad is None for p in model.decoder.parameters())
    assert all(p.grad is None for p in model.encoder.s_head.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.encoder.z_mu_head.parameters())
