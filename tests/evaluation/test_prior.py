"""A fitted prior: it finds planted clusters, and validation chooses its size."""

import numpy as np
import pytest

from lib.evaluation.prior import draw, fit_prior

CENTRES = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 6.0]])


def clusters(n, seed):
    rng = np.random.default_rng(seed)
    return CENTRES[rng.integers(len(CENTRES), size=n)] + 0.1 * rng.normal(size=(n, 2))


def test_samples_come_from_where_the_codes_are():
    z = draw(fit_prior(clusters(2_000, 0), clusters(500, 1), seed=0), 300, seed=2)
    assert z.shape == (300, 2) and z.dtype == np.float32
    distance = np.linalg.norm(z[:, None] - CENTRES, axis=2)
    assert (distance.min(axis=1) < 0.6).mean() > 0.95
    assert np.bincount(distance.argmin(axis=1), minlength=3).min() > 60
    # the order says nothing of the component
    assert len(set(distance.argmin(axis=1)[:30])) == 3


def test_samples_are_those_of_the_seed():
    mixture = fit_prior(clusters(400, 0), clusters(100, 1), seed=0)
    np.testing.assert_array_equal(draw(mixture, 20, seed=3), draw(mixture, 20, seed=3))
    assert (draw(mixture, 20, seed=3) != draw(mixture, 20, seed=4)).any()


def test_validation_codes_choose_the_size():
    rng = np.random.default_rng(0)
    # two hundred narrow places need many components; one normal distribution needs few
    places = 10 * rng.normal(size=(200, 2))
    many = [places[rng.integers(200, size=n)] for n in (8_000, 500)]
    many = [z + 0.01 * rng.normal(size=z.shape) for z in many]
    one = [rng.normal(size=(n, 2)) for n in (700, 500)]
    assert fit_prior(*many, seed=0).n_components == 256
    assert fit_prior(*one, seed=0).n_components == 16


@pytest.mark.filterwarnings("error")
def test_codes_of_float32_on_a_plane_are_sampled_without_a_warning():
    plane = np.random.default_rng(0).normal(size=(3_000, 2)) @ [[30.0, 0.0, 40.0], [0.0, 30.0, 9.0]]
    codes = plane.astype(np.float32)
    z = draw(fit_prior(codes, codes[:500], seed=0), 300, seed=1)
    # the third value is a sum of the others
    assert np.abs(z[:, 2] - z[:, 0] * 4 / 3 - z[:, 1] * 0.3).max() < 0.2


def test_a_few_codes_have_one_component():
    few = clusters(8, 0)
    mixture = fit_prior(few, clusters(4, 1), seed=0)
    assert mixture.n_components == 1
    assert np.isfinite(draw(mixture, 50, seed=1)).all()
