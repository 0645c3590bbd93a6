import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from lib.config import make_hparams
from lib.data.components import AllPixels
from lib.data.images import to_uint8
from lib.method.agreement import disagreement, kl_between, mean_of_others
from lib.method.losses import (
    forward_cycle_loss,
    kl_to_standard_normal,
    reparameterize,
    reverse_cycle_loss,
)
from lib.method.networks import CycleVAE, Latents, ModulatedDecoder
from lib.method.sampling import Batch, paired_characters, s_index, z_index
from lib.method.schedules import Weights


class Linear(torch.nn.Module):
    """A model whose codes are known: z_mu is pixel 0 times `leak` plus pixel 1, s pixel 2; decoding
    writes them back.
    """

    components = AllPixels()

    def __init__(self, leak=0.0):
        super().__init__()
        self.leak = torch.nn.Parameter(torch.tensor(leak))
        self.gain = torch.nn.Parameter(torch.tensor(1.0))

    def encoder(self, x):
        p = x.flatten(1)
        z_mu = (p[:, 1] + self.leak * p[:, 2])[:, None]
        return Latents(z_mu, torch.full_like(z_mu, -40.0), p[:, 2:3])

    def decoder(self, z, s):
        zero = torch.zeros_like(z)
        return self.gain * torch.cat([zero, z, s], dim=1).view(-1, 3, 1, 1)


def to_pixels(x):
    return torch.from_numpy(to_uint8(x))


def pixels(*rows):
    return torch.tensor(rows, dtype=torch.float32).view(-1, 3, 1, 1)


def batch(x, matched):
    """A batch of groups of two, as published pairs, without noise."""
    s_from, z_from = s_index(len(matched), 2, 1), z_index(torch.tensor(matched), 2)
    return Batch(x, s_from, z_from, z_noise=torch.zeros(len(x), 1))


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_networks_keep_their_shapes(preset):
    hp = make_hparams(preset)
    model = CycleVAE(hp)
    x = torch.rand(3, 3, 60, 60)
    model.components.fit(to_pixels(x), torch.arange(3), seed=0)
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
    model.components.fit(to_pixels(x), torch.arange(4), seed=0)
    together, alone = model.encode(x), model.encode(x[:1])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[:1], b, atol=1e-4, rtol=1e-4)


def test_each_code_scales_the_features_of_the_other():
    decoder = ModulatedDecoder(*(nn.Identity() for _ in range(3)), width=2)
    for gain, factor in ((decoder.z_gain, 2.0), (decoder.s_gain, 3.0)):
        nn.init.zeros_(gain.bias)
        gain.weight.data = factor * torch.eye(2)
    z, s = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 0.0]])
    # z (1 + 2 s), then s (1 + 3 z)
    assert decoder(z, s).tolist() == [[11.0, 2.0, 20.0, 0.0]]


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
    hp = make_hparams("fast", z_dim=1, group_size=2)
    x = pixels([0, 0.5, 0.2], [0, 0.1, 0.6])  # s differs by 0.4, so each swap misses pixel 2 by 0.4
    cycle = forward_cycle_loss(
        Linear(), batch(x, matched=[False]), Weights(kl=3.0, agreement=0.0), hp
    )
    kl = 0.5 * ((0.25 + 0.01) / 2 + math.exp(-40) - 1 + 40)
    assert cycle.reconstruction.item() == pytest.approx(0.16, rel=1e-5)
    assert cycle.kl.item() == pytest.approx(kl, rel=1e-5)
    assert cycle.loss.item() == pytest.approx((2 * 0.16 + 3 * kl) / 3, rel=1e-5)


def test_matched_groups_exchange_their_z():
    matched = torch.tensor([True, True, False, False, False])
    assert z_index(matched, 2).tolist() == [2, 3, 0, 1, 4, 5, 6, 7, 8, 9]


def test_forward_cycle_with_exchanged_z_by_hand():
    hp = make_hparams("fast", z_dim=1, group_size=2)
    # two groups of two; z of their first images differs by 0.2
    x = pixels([0, 0.5, 0.2], [0, 0.1, 0.2], [0, 0.7, 0.6], [0, 0.1, 0.6])
    cycle = forward_cycle_loss(Linear(), batch(x, matched=[True, True]), Weights(0.0, 0.0), hp)
    assert cycle.reconstruction.item() == pytest.approx((0.04 + 0 + 0.04 + 0) / 4, rel=1e-5)


def test_the_mean_of_the_others_leaves_out_the_image_itself():
    s = torch.tensor([[1.0], [2.0], [6.0], [0.0], [3.0], [9.0]])
    assert mean_of_others(s, 3).flatten().tolist() == [4.0, 3.5, 1.5, 6.0, 4.5, 1.5]
    assert mean_of_others(s, 2).flatten().tolist() == [2.0, 1.0, 0.0, 6.0, 9.0, 3.0]


def test_a_group_decodes_from_the_mean_s_of_the_others():
    hp = make_hparams("fast", z_dim=1, group_size=3, batch_images=6)
    x = pixels([0, 0.5, 0.2], [0, 0.5, 0.4], [0, 0.5, 0.9])
    one = Batch(x, s_index(1, 3, 1), torch.arange(3), torch.zeros(3, 1))
    errors = {
        mean: forward_cycle_loss(
            Linear(), one, Weights(0.0, 0.0), dataclasses.replace(hp, mean_s=mean)
        ).reconstruction.item()
        for mean in (True, False)
    }
    assert errors[True] == pytest.approx((0.45**2 + 0.15**2 + 0.6**2) / 3, rel=1e-5)
    assert errors[False] == pytest.approx((0.2**2 + 0.5**2 + 0.7**2) / 3, rel=1e-5)


def test_noise_is_added_to_the_s_that_is_decoded_alone():
    hp = make_hparams("fast", z_dim=1, group_size=2, s_noise=0.5)
    one = batch(pixels([0, 0.5, 0.2], [0, 0.1, 0.2]), matched=[False])
    noisy = one._replace(s_noise=torch.tensor([[1.0], [-2.0]]))
    losses = [forward_cycle_loss(Linear(), each, Weights(0.0, 1.0), hp) for each in (one, noisy)]
    assert losses[0].reconstruction.item() == pytest.approx(0, abs=1e-6)
    assert losses[1].reconstruction.item() == pytest.approx((0.5**2 + 1) / 2, rel=1e-5)
    # both images have one s, so they agree with and without noise
    added = (losses[1].loss - losses[0].loss).item()
    assert added == pytest.approx(hp.reconstruction_weight * 0.625 / 3, rel=1e-5)


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_decoded_pixels_that_are_dark_in_all_channels_are_background(preset):
    model = CycleVAE(make_hparams(preset, background_level=0.2)).eval()
    decoded = torch.rand(2, 3, 60, 60) * torch.rand(2, 1, 60, 60)
    model.components.image = lambda _: decoded
    codes = torch.zeros(2, model.encoder.z_mu_head.out_features), torch.zeros(2, 64)
    shown, dark = model.decode(*codes), (decoded < 0.2).all(dim=1, keepdim=True)
    assert 0 < dark.float().mean() < 1 and (shown == 0).all(dim=1, keepdim=True).equal(dark)
    assert torch.equal(shown[~dark.expand_as(shown)], decoded[~dark.expand_as(shown)])
    model.background_level = 0.0
    assert model.decode(*codes) is decoded


def test_kl_between_is_that_of_torch_distributions():
    torch.manual_seed(0)
    p, q = (Latents(torch.randn(5, 7), torch.randn(5, 7), torch.zeros(5, 1)) for _ in range(2))
    normal = [Normal(codes.z_mu, (0.5 * codes.z_logvar).exp()) for codes in (p, q)]
    torch.testing.assert_close(kl_between(p, q), kl_divergence(*normal).sum(dim=1))


def test_disagreement_by_hand():
    hp = make_hparams("fast", z_dim=1, group_size=2, s_agreement=2.0, z_agreement=3.0)
    x = pixels([0, 0.5, 0.2], [0, 0.1, 0.6], [0, 0.7, 0.6], [0, 0.1, 0.6])
    codes = Linear().encoder(x)._replace(z_logvar=torch.zeros(4, 1))
    # s differs by 0.4 in one of two groups; z by 0.2 in one of two matched pairs
    s_term, z_term = (2 * 0.2**2) / 4, (2 * 0.5 * 0.2**2) / 4
    found = disagreement(codes, batch(x, matched=[True, True]), hp)
    assert found.item() == pytest.approx(2 * s_term + 3 * z_term, rel=1e-5)
    alone = disagreement(codes, batch(x, matched=[False, False]), hp)
    assert alone.item() == pytest.approx(2 * s_term, rel=1e-5)


def test_the_loss_counts_disagreement_by_its_weight():
    hp = make_hparams("fast", z_dim=1, group_size=2)
    x = pixels([0, 0.5, 0.2], [0, 0.1, 0.6])
    losses = [
        forward_cycle_loss(Linear(), batch(x, [False]), Weights(0.0, weight), hp).loss.item()
        for weight in (0.0, 0.5, 1.0)
    ]
    assert losses[2] - losses[0] == pytest.approx(hp.s_agreement * 0.04 / 3, rel=1e-4)
    assert losses[1] - losses[0] == pytest.approx((losses[2] - losses[0]) / 2, rel=1e-4)


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
    x_a, x_b = (torch.rand(4, hp.components) for _ in range(2))
    reverse_cycle_loss(model, x_a, x_b, torch.randn(4, hp.z_dim)).backward()
    assert all(p.grad is None for p in model.decoder.parameters())
    assert all(p.grad is None for p in model.encoder.s_head.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.encoder.z_mu_head.parameters())
