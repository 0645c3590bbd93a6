"""The networks on images of several sizes."""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.image_set import UNKNOWN
from lib.data.images import to_float
from lib.data.splits import split_images
from lib.evaluation.swaps import reconstruction_swaps, swap_error
from lib.method.networks import CycleVAE
from lib.method.parallel import Objective
from lib.method.runs import load_run, new_run
from lib.method.sampling import Sampler
from lib.method.step import make_optimizers, train_step
from lib.method.training import fit
from lib.system import paths
from lib.system.errors import UserError
from tests.image_sets import made_up

CPU = torch.device("cpu")


def shapes(count, size, seed=0):
    """Images (N, H, H, 3) of one coloured rectangle each, as they are read from files."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, size, size, 3), np.uint8)
    for image in images:
        (top, left), (height, width) = rng.integers([[0, 0], [4, 4]], size // 2, size=(2, 2))
        image[top : top + height, left : left + width] = rng.integers(64, 256, size=3)
    return images


def small_hparams(**overrides):
    return make_hparams("smoke", **{"background_level": 0.0, "lr_warmup": 3, **overrides})


@pytest.mark.parametrize("size", [16, 28, 32, 60, 64, 100])
def test_convolutions_give_images_of_the_size_that_they_take(size):
    torch.manual_seed(0)
    hp = small_hparams(architecture="conv")
    model = CycleVAE(hp, size).eval()
    x = to_float(shapes(5, size))
    codes = model.encode(x)
    assert codes.z_mu.shape == codes.z_logvar.shape == (5, hp.z_dim)
    assert codes.s.shape == (5, hp.s_dim)
    image = model.decode(codes.z_mu, codes.s)
    assert image.shape == x.shape and model.transfer(x, x.flip(0)).shape == x.shape
    # no image depends on the others of its batch
    alone = model.encode(x[2:3])
    torch.testing.assert_close(alone.z_mu, codes.z_mu[2:3], rtol=1e-4, atol=1e-5)
    image.square().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert all(name.startswith("encoder.z_logvar") for name in unused)


@pytest.mark.parametrize("size", [32, 60, 100])
def test_convolutions_learn_a_few_images_in_thirty_steps(size):
    torch.manual_seed(0)
    hp = small_hparams(architecture="conv", batch_images=8, group_size=2, images_seen=8 * 30)
    model = CycleVAE(hp, size)
    optimizers = make_optimizers(model, hp)
    members = torch.arange(8).view(4, 2)
    images = torch.from_numpy(shapes(8, size))
    batch = Sampler(images, members, hp, torch.Generator().manual_seed(0)).draw(0)
    errors = [
        float(train_step(Objective(model), optimizers, batch, step, hp)["reconstruction"])
        for step in range(30)
    ]
    assert errors[-1] < 0.6 * errors[0]


@pytest.mark.parametrize("size", [32, 100])
def test_the_published_networks_refuse_images_of_another_size(size):
    with pytest.raises(UserError, match=r"60x60 pixels, not .*: set architecture to dense or conv"):
        CycleVAE(small_hparams(architecture="published"), size)


@pytest.mark.parametrize("architecture", ["dense", "conv"])
@pytest.mark.parametrize(("size", "background"), [(32, "white"), (48, "black")])
def test_a_run_on_ragged_characters_of_another_size_is_kept(
    tmp_path, monkeypatch, architecture, size, background
):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    poses = [[UNKNOWN] * n for n in (2, 5, 3, 9, 4, 1, 6, 2, 7, 3)]
    images = shapes(sum(map(len, poses)), size)
    data = made_up(poses, images=images, background=background)
    settings = dict(architecture=architecture, images_seen=320, batch_images=8, match_from=1.0)
    hp = small_hparams(group_size=2, components=16, **settings)
    run = new_run("ragged", data, "smoke", 0, hp)
    train = split_images(data, "identity", 0)["train"]
    fit(run, data, train, CPU)
    assert run.history[-1]["reconstruction"] < run.history[0]["reconstruction"]
    loaded = load_run("ragged")
    assert (loaded.size, loaded.background, loaded.source) == (size, background, data.source)
    same = reconstruction_swaps(train, 10, seed=0)
    errors = [swap_error(each.model, data, same) for each in (run, loaded)]
    np.testing.assert_allclose(*errors, rtol=1e-5)


def test_runs_from_before_sizes_were_kept_show_60_pixels_on_black(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    data = made_up([[UNKNOWN] * 4] * 8, images=shapes(32, 60))
    settings = dict(architecture="conv", images_seen=16, batch_images=8, match_from=1.0)
    run = new_run("old", data, "smoke", 0, small_hparams(group_size=2, **settings))
    fit(run, data, np.arange(32), CPU)
    path = tmp_path / "old" / "model.pt"
    state = torch.load(path, weights_only=True)
    torch.save({k: v for k, v in state.items() if k not in ("size", "background")}, path)
    loaded = load_run("old")
    assert (loaded.size, loaded.background) == (60, "black")
