"""Each rival's mechanism on a problem that is small enough to see it."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from lib.config import make_hparams
from lib.data.splits import split_images
from lib.method.networks import CycleVAE
from lib.method.parallel import Objective
from lib.method.rivals import variants
from lib.method.rivals.adversaries import ImageAdversary, PoseAdversary, real_or_not
from lib.method.rivals.groups import GroupVAE, MultiLevelVAE, PlainVAE
from lib.method.rivals.lord import LATENT_SHARE, LatentOptimization
from lib.method.rivals.registry import LEARNERS
from lib.method.runs import new_run
from lib.method.sampling import Sampler
from lib.method.schedules import Weights
from lib.method.training import fit
from lib.system import paths
from lib.system.errors import UserError

CPU = torch.device("cpu")
TINY = dict(images_seen=640, batch_images=16, lr_warmup=3, match_from=1.0)


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    return tmp_path


def tiny_hparams(**overrides):
    return make_hparams("smoke", **{**TINY, **overrides})


def fit_tiny(dataset, learner, name="tiny", on_log=None, **overrides):
    run = new_run(name, dataset, "smoke", 0, tiny_hparams(**overrides))
    train = split_images(dataset, "identity", 0)["train"]
    return fit(run, dataset, train, CPU, on_log=on_log, make_learner=learner)


def problem(dataset, learner, **overrides):
    """A model with its learner, and batches of its components."""
    torch.manual_seed(0)
    hp = tiny_hparams(**overrides)
    model, images = CycleVAE(hp), torch.from_numpy(dataset.images)
    model.components.fit(images, torch.arange(len(images)), seed=0)
    rows, read = model.components.prepare(images, torch.arange(len(images)), draws=10**9)
    members = torch.from_numpy(dataset.members(np.arange(len(images))))
    sampler = Sampler(rows, members, hp, torch.Generator().manual_seed(0), read=read)
    return model, learner(model, hp, len(images), dataset.n_characters), sampler


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("name", sorted(LEARNERS.keys() - {"cycle"}))
def test_each_trains_and_leaves_the_networks_of_the_report(few_sprites, reports, name):
    run = fit_tiny(few_sprites, LEARNERS[name], images_seen=1_600, reverse_weight=10.0)
    history = [row["reconstruction"] for row in run.history]
    first_stage = history[: int(LATENT_SHARE * len(history))]  # of LORD
    assert np.mean(first_stage[-5:]) < 0.75 * np.mean(history[1:6]) and np.isfinite(history).all()
    assert all("kl" in row for row in run.history)
    assert set(run.model.state_dict()) == set(CycleVAE(run.hp).state_dict())


@pytest.mark.parametrize("name", ["mlvae", "lord", "adversarial"])
def test_each_resumes_as_if_never_stopped(few_sprites, reports, monkeypatch, name):
    monkeypatch.setattr("lib.method.runs.CHECKPOINT_SECONDS", 0)
    finished = fit_tiny(few_sprites, LEARNERS[name], images_seen=160)

    def kill(row):
        if row["images"] >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_tiny(few_sprites, LEARNERS[name], "stopped", kill, images_seen=160)
    resumed = fit_tiny(few_sprites, LEARNERS[name], "stopped", images_seen=160)
    assert torch.equal(flat(finished.model), flat(resumed.model))


def test_the_product_of_normals_is_normal_and_surer_than_each():
    learner = MultiLevelVAE.__new__(MultiLevelVAE)
    mu, logvar = torch.tensor([[[0.0], [3.0]]]), torch.tensor([[[0.0], [np.log(0.5)]]])
    found_mu, found_logvar = learner.combine(mu, logvar.float())
    # precisions 1 and 2: mean (0 + 2 * 3) / 3, variance 1 / 3
    assert found_mu.item() == pytest.approx(2.0)
    assert found_logvar.exp().item() == pytest.approx(1 / 3)
    x = torch.linspace(-3, 6, 50)
    joint = sum(Normal(mu[0, k], (0.5 * logvar[0, k]).exp()).log_prob(x) for k in (0, 1))
    alone = Normal(found_mu, (0.5 * found_logvar).exp()).log_prob(x)
    assert (joint - alone).std() < 1e-4  # equal but for the constant


def test_gvae_takes_means():
    learner = GroupVAE.__new__(GroupVAE)
    mu, variance = torch.tensor([[[0.0], [3.0]]]), torch.tensor([[[1.0], [0.5]]])
    found_mu, found_logvar = learner.combine(mu, variance.log())
    assert found_mu.item() == pytest.approx(1.5)
    assert found_logvar.exp().item() == pytest.approx(0.75)


@pytest.mark.parametrize(("learner", "alike"), [(MultiLevelVAE, True), (PlainVAE, False)])
def test_images_of_a_group_share_one_s_in_mlvae_alone(few_sprites, learner, alike):
    model, learner, sampler = problem(few_sprites, learner)
    seen = []
    model.decoder.register_forward_hook(lambda _, codes, __: seen.append(codes[1]))
    learner.loss(model, sampler.draw(0), Weights(0.5, 0.0))
    groups = seen[0].unflatten(0, (-1, learner.hp.group_size))
    assert torch.equal(groups[:, 0], groups[:, 1]) == alike


def test_methods_that_sample_s_need_its_noise(few_sprites):
    with pytest.raises(UserError, match="s_noise must be positive"):
        problem(few_sprites, MultiLevelVAE, s_noise=0.0)


def test_lord_learns_codes_first_and_encoders_after(few_sprites):
    model, learner, sampler = problem(few_sprites, LatentOptimization, images_seen=16_000)
    encoder, codes = flat(model.encoder.features), flat(learner.extra)
    learner.step(Objective(model), sampler.draw(0), 0)
    assert torch.equal(flat(model.encoder.features), encoder)
    assert not torch.equal(flat(learner.extra), codes)

    codes = flat(learner.extra)
    distances = []
    for step in range(700, 1000):
        terms = learner.step(Objective(model), sampler.draw(step), step)
        distances.append(float(terms["code_distance"]))
    assert torch.equal(flat(learner.extra), codes)
    assert np.mean(distances[-20:]) < 0.5 * np.mean(distances[:20])


def test_lord_gives_a_character_one_s(few_sprites):
    model, learner, sampler = problem(few_sprites, LatentOptimization)
    batch = sampler.draw(0)
    assert len(batch.image.unique()) == len(batch.image)
    _, s = learner.codes(model, batch)
    groups = s.unflatten(0, (-1, learner.hp.group_size))
    assert torch.equal(groups[:, 0], groups[:, 1]) and not torch.equal(groups[0], groups[1])


def test_the_discriminator_learns_which_images_are_swaps(few_sprites):
    model, learner, sampler = problem(few_sprites, ImageAdversary, images_seen=3_200)
    learner.optimizer.step = lambda: None  # nobody fools it
    found = []
    for step in range(60):
        terms = learner.step(Objective(model), sampler.draw(step), step)
        found.append(float(terms["discriminator"]))
    assert np.mean(found[-5:]) < 0.5 * found[0]


def test_the_decoder_learns_to_pass_for_the_truth(few_sprites):
    learner = partial(ImageAdversary, weight=100.0)
    model, learner, sampler = problem(few_sprites, learner, reconstruction_weight=0.0, kl_weight=0)
    batch, discriminator = sampler.draw(0), flat(learner.extra)
    terms = []
    for step in range(30):  # the discriminator stays as it is
        learner.extra_optimizer.step = lambda: None
        terms.append(learner.step(Objective(model), batch, step)["adversary"])
    assert torch.equal(flat(learner.extra), discriminator)
    assert terms[-1] < 0.5 * terms[0]


def leak(model, learner, sampler):
    """How well a new linear probe tells from z_mu whether two images show one character."""
    batches = [sampler.draw(step) for step in range(60)]
    with torch.no_grad():
        z = [model.encoder(batch.x).z_mu for batch in batches]
        pairs = [
            (z_mu * z_mu[index], float(same))
            for z_mu, batch in zip(z, batches, strict=True)
            for index, same in ((batch.s_index, 1), (learner.others(batch), 0))
        ]
    x = torch.cat([pair for pair, _ in pairs])
    y = torch.cat([torch.full((len(pair), 1), same) for pair, same in pairs])
    x = torch.cat([(x - x.mean(0)) / (x.std(0) + 1e-6), torch.ones(len(x), 1)], dim=1)
    fitted = torch.linalg.lstsq(x, y).solution
    return float((((x @ fitted) > 0.5) == (y > 0.5)).float().mean())


def test_the_pose_adversary_removes_the_character_from_z(few_sprites):
    found = {}
    for weight in (0.0, 30.0):
        learner = partial(PoseAdversary, weight=weight)
        model, learner, sampler = problem(few_sprites, learner, images_seen=4_800, kl_weight=0)
        for step in range(300):
            learner.step(Objective(model), sampler.draw(step), step)
        found[weight] = leak(model, learner, sampler)
    assert found[0.0] > 0.65 and found[30.0] < found[0.0] - 0.08


def test_an_undecided_discriminator_costs_least():
    def penalty(value):
        logit = torch.tensor([value])
        return float(real_or_not(logit, True) + real_or_not(logit, False))

    assert penalty(0.0) < penalty(0.5) and penalty(0.0) < penalty(-0.5)


def test_the_undetached_cycle_moves_the_encoder_alone_and_elsewhere(few_sprites):
    moved = {}
    for name, learner in (("cycle", variants.CycleLearner), ("undetached", variants.Undetached)):
        weights = dict(reverse_weight=10.0, reconstruction_weight=0.0, kl_weight=0.0)
        model, learner, sampler = problem(few_sprites, learner, **weights)
        decoder, encoder = flat(model.decoder), flat(model.encoder)
        terms = learner.step(Objective(model), sampler.draw(0), 0)
        assert torch.equal(flat(model.decoder), decoder) and "reverse" in terms
        moved[name] = flat(model.encoder) - encoder
    # only without the detach does s_head, which gives s to both images, get a gradient
    assert not torch.equal(moved["cycle"], moved["undetached"])
    assert moved["undetached"].count_nonzero() > moved["cycle"].count_nonzero()


def test_own_s_exchanges_nothing(few_sprites):
    model, learner, sampler = problem(few_sprites, variants.OwnS, s_noise=0.0)
    seen = []
    model.decoder.register_forward_hook(lambda _, codes, __: seen.append(codes[1].detach()))
    batch = sampler.draw(0)
    s = model.encoder(batch.x).s.detach()
    learner.step(Objective(model), batch, 0)
    assert torch.allclose(seen[0], s)


def test_drnet_makes_the_s_of_a_character_similar(few_sprites):
    found = {}
    for weight in (0.0, 10.0):
        settings = dict(images_seen=3_200, s_agreement=weight)
        model, learner, sampler = problem(few_sprites, PoseAdversary, **settings)
        for step in range(60):
            learner.step(Objective(model), sampler.draw(step), step)
        batch = sampler.draw(60)
        s = model.encoder(batch.x).s.detach()
        found[weight] = float((s - s[batch.s_index]).square().sum())
    assert found[10.0] < 0.5 * found[0.0]
