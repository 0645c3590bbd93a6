"""Coordinates on principal components: what they keep, lose and store."""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.components import PrincipalComponents
from lib.data.images import to_float, to_uint8
from lib.data.splits import split_images
from lib.method.networks import CycleVAE


@pytest.fixture(scope="module")
def fitted(few_sprites):
    """Components of training images, with these images and those of unseen characters."""
    split = split_images(few_sprites, "identity", 0)
    images = torch.from_numpy(few_sprites.images)
    components = PrincipalComponents(100, 60)
    components.fit(images, torch.from_numpy(split["train"]), seed=0)
    return components, images[split["train"]], images[split["test"]]


def test_squared_errors_of_coordinates_are_those_of_pixels(fitted):
    components, images, _ = fitted
    a, b = components(to_float(images[:40])), components(to_float(images[40:80]))
    pixels = (components.image(a) - components.image(b)).square().flatten(1).sum(dim=1)
    torch.testing.assert_close((a - b).square().sum(dim=1), pixels, rtol=1e-3, atol=1e-3)


def test_the_components_are_those_of_an_exact_decomposition(fitted):
    _, images, _ = fitted
    components = PrincipalComponents(100, 60)
    components.fit(images, torch.arange(800), seed=0)  # few enough that all are used
    x = images[:800].flatten(1) / 255
    exact = torch.linalg.svdvals(x - x.mean(dim=0))[:100] / 800**0.5
    np.testing.assert_allclose(components.deviations[:50], exact[:50], rtol=0.02)
    np.testing.assert_allclose(components.deviations.norm(), exact.norm(), rtol=0.01)
    axes = components.axes
    torch.testing.assert_close(axes.T @ axes, torch.eye(100), rtol=0, atol=1e-4)
    assert (components.deviations.diff() <= 1e-4).all()


def test_more_components_leave_less_and_left_says_how_much(fitted, few_sprites):
    components, images, _ = fitted
    x = to_float(images[:: len(images) // 500])
    error = (components.image(components(x)) - x).square().flatten(1).sum(dim=1).mean()
    # it is estimated on images that the components do not come from, the error on both kinds
    assert error.item() < components.left.item() < 1.2 * error.item()
    few = PrincipalComponents(20, 60)
    few.fit(torch.from_numpy(few_sprites.images), torch.arange(1_000), seed=0)
    assert few.left > 2 * components.left


def test_values_that_no_training_image_lights_stay_black():
    images = torch.zeros(30, 60, 60, 3, dtype=torch.uint8)
    images[:, 10:20, 10:20] = torch.randint(0, 255, (30, 10, 10, 3), dtype=torch.uint8)
    images[7, 40, 40] = 9  # once is enough
    components = PrincipalComponents(16, 60)
    components.fit(images, torch.arange(30), seed=0)
    assert len(components.lit) == 303
    decoded = components.image(torch.randn(5, 16))
    shown = (decoded != 0).any(dim=0).any(dim=0)
    assert shown[10:20, 10:20].all() and shown.sum() <= 101


def test_fewer_images_than_components_are_kept_to_the_bit():
    images = torch.randint(0, 255, (5, 60, 60, 3), dtype=torch.uint8)
    components = PrincipalComponents(32, 60)
    components.fit(images, torch.arange(5), seed=0)
    assert (components.deviations > 1e-3).sum() == 4
    assert components(to_float(images)).isfinite().all()
    restored = to_uint8(components.image(components(to_float(images))))
    assert np.array_equal(restored, images.numpy())


def test_equal_images_have_no_component_and_are_restored():
    images = torch.full((6, 60, 60, 3), 255, dtype=torch.uint8)  # 1.0, so their mean is exact
    components = PrincipalComponents(4, 60)
    components.fit(images, torch.arange(6), seed=0)
    assert components.from_decoder.factors.isfinite().all()
    restored = to_uint8(components.image(components(to_float(images))))
    assert np.array_equal(restored, images.numpy())


def test_rows_computed_once_are_those_computed_when_drawn(fitted):
    components, images, _ = fitted
    for draws in (1, 10**6):
        rows, read = components.prepare(images, torch.arange(50, 60), draws)
        torch.testing.assert_close(read(rows[50:60]), components(to_float(images[50:60])))


def test_stored_networks_bring_their_components(fitted):
    _, images, unseen = fitted
    hp = make_hparams("smoke", components=100)
    model, other = CycleVAE(hp), CycleVAE(hp)
    model.components.fit(images, torch.arange(len(images)), seed=0)
    other.load_state_dict(model.state_dict())
    x = to_float(unseen[:8])
    assert torch.equal(model.transfer(x, x.flip(0)), other.transfer(x, x.flip(0)))
    assert torch.equal(other.decoder.image[-1].factors, model.components.from_decoder.factors)


def test_the_decoder_gives_coordinates_as_the_encoder_sees_them(fitted):
    components, *_ = fitted
    seen, given = components.to_encoder.factors, components.from_decoder.factors
    torch.testing.assert_close(seen * given, (seen * given)[:1].expand(len(seen)))
    torch.testing.assert_close(given.square().sum(), components.deviations.square().sum())


def test_a_seed_gives_the_same_components_and_leaves_the_generator_alone(fitted):
    _, images, _ = fitted
    found = []
    for _ in range(2):
        state = torch.random.get_rng_state()
        components = PrincipalComponents(20, 60)
        components.fit(images, torch.arange(500), seed=3)
        assert torch.equal(state, torch.random.get_rng_state())
        found.append(components.axes)
    assert torch.equal(*found)
