import dataclasses
import shutil

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.splits import split_images
from lib.method.parallel import Objective
from lib.method.runs import load_run, new_run
from lib.method.sampling import Sampler
from lib.method.schedules import is_constant, learning_rate
from lib.method.schedules import weights as scheduled
from lib.method.step import make_optimizers, train_step
from lib.method.training import fit
from lib.system import paths
from lib.system.devices import choose_device
from lib.system.errors import UserError
from lib.system.files import exclusive_lock

CPU = torch.device("cpu")
TINY = dict(images_seen=160, batch_images=8, lr_warmup=3, match_characters=4)  # 20 steps


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(few_sprites, tmp_path_factory):
    """The reports of a finished run `tiny`, not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "REPORTS", tmp_path_factory.mktemp("reports"))
        train(few_sprites)
        return paths.REPORTS


@pytest.fixture
def finished(trained, reports):
    """A copy of the finished run in the reports of this test."""
    shutil.copytree(trained / "tiny", reports / "tiny")
    return load_run("tiny")


def tiny_run(dataset, name="tiny", seed=0, **overrides):
    return new_run(name, dataset, "smoke", seed, make_hparams("smoke", **{**TINY, **overrides}))


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def train(dataset, **settings):
    run = tiny_run(dataset, **settings)
    return fit(run, dataset, split_images(dataset, "identity", 0)["train"], CPU)


def test_each_optimizer_holds_its_part(few_sprites):
    model = tiny_run(few_sprites).model
    optimizers = make_optimizers(model, make_hparams("fast"))
    parameters = [{id(p) for group in o.param_groups for p in group["params"]} for o in optimizers]
    assert parameters[0] == {
        id(p) for part in (model.encoder, model.decoder) for p in part.parameters()
    }
    assert parameters[1] == {id(p) for p in model.encoder.parameters()}


@pytest.mark.parametrize("weight", ["reconstruction_weight", "reverse_weight"])
def test_a_step_moves_the_decoder_by_the_forward_cycle_alone(few_sprites, weight):
    others = {"reconstruction_weight": 0.0, "kl_weight": 0.0, "reverse_weight": 0.0} | {weight: 1.0}
    run = tiny_run(few_sprites, **others)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    members = torch.from_numpy(few_sprites.members(np.arange(len(few_sprites.images))))
    images = torch.from_numpy(few_sprites.images)
    run.model.components.fit(images, torch.arange(len(images)), seed=0)
    rows, read = run.model.components.prepare(images, torch.arange(len(images)), draws=10**9)
    batch = Sampler(rows, members, run.hp, generator, read=read).draw(0)
    train_step(Objective(run.model), make_optimizers(run.model, run.hp), batch, 0, run.hp)
    moved = {
        name.split(".")[0]
        for name, p in run.model.named_parameters()
        if not torch.equal(p, before[name])
    }
    assert moved == ({"encoder", "decoder"} if weight == "reconstruction_weight" else {"encoder"})


def test_schedules():
    hp = make_hparams(
        "fast", images_seen=64_000, lr_warmup=10, learning_rate=1e-2, kl_warmup=0.5, kl_weight=4
    )
    assert hp.steps == 1000
    assert learning_rate(0, hp) == pytest.approx(1e-3) and learning_rate(500, hp) == pytest.approx(
        5e-3
    )
    kl = [scheduled(step, hp).kl for step in (0, 250, 900)]
    assert kl == pytest.approx([0, 2, 4])
    agreement = [scheduled(step, hp).agreement for step in (0, 600, 700, 800, 1000)]
    assert agreement == pytest.approx([0, 0, 0.25, 0.5, 1])
    never = make_hparams("fast", images_seen=64_000, agreement_from=1)
    assert [scheduled(step, never).agreement for step in (0, 999)] == [0, 0]
    published = make_hparams("paper")
    assert (
        learning_rate(0, published) == learning_rate(10**6, published) == 1e-4
        and scheduled(0, published).kl == 3
    )


def test_training_lowers_the_error(few_sprites, reports):
    run = train(few_sprites, images_seen=800)
    assert run.history[-1]["reconstruction"] < 0.6 * run.history[0]["reconstruction"]
    assert run.history[-1]["images"] == 800 and run.finished


def test_a_seed_gives_one_run(few_sprites, finished):
    again, other = train(few_sprites, name="again"), train(few_sprites, name="other", seed=1)
    assert torch.equal(weights(finished), weights(again))
    assert not torch.equal(weights(finished), weights(other))


def test_killed_and_resumed_is_as_never_stopped(few_sprites, reports, finished, monkeypatch):
    monkeypatch.setattr("lib.method.runs.CHECKPOINT_SECONDS", 0)

    def kill(row):
        if row["images"] >= 64:
            raise KeyboardInterrupt

    stopped = tiny_run(few_sprites, name="stopped")
    with pytest.raises(KeyboardInterrupt):
        fit(
            stopped,
            few_sprites,
            split_images(few_sprites, "identity", 0)["train"],
            CPU,
            on_log=kill,
        )
    assert not (reports / "stopped" / "model.pt").exists()
    resumed = tiny_run(few_sprites, name="stopped")
    resumed_from = []
    fit(
        resumed,
        few_sprites,
        split_images(few_sprites, "identity", 0)["train"],
        CPU,
        on_log=lambda row: resumed_from.append(row["images"]),
    )
    # the row during which it was killed was after the last checkpoint
    assert resumed_from[0] == 64
    assert torch.equal(weights(finished), weights(resumed))
    drop_time = [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.history]
    assert drop_time == [
        {k: v for k, v in row.items() if k != "seconds"} for row in finished.history
    ]
    assert not (reports / "stopped" / "checkpoint.pt").exists()


def test_a_finished_run_is_not_repeated_and_loads(few_sprites, finished):
    again = tiny_run(few_sprites)
    fit(
        again,
        few_sprites,
        split_images(few_sprites, "identity", 0)["train"],
        CPU,
        on_log=lambda row: pytest.fail("it trained again"),
    )
    assert torch.equal(weights(finished), weights(again))
    assert again.hp == finished.hp and again.history == finished.history
    assert again.finished and not finished.model.training


def test_a_folder_of_other_settings_is_not_overwritten(few_sprites, finished):
    with pytest.raises(
        UserError, match=r"reports/tiny holds a run with z_dim 8, not 16: name this one with --run"
    ):
        train(few_sprites, z_dim=16)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 cut short"])
def test_a_broken_model_is_named(few_sprites, reports, content):
    (reports / "tiny").mkdir()
    (reports / "tiny" / "model.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"model.pt in reports/tiny cannot be read .*delete it"):
        load_run("tiny")


def test_a_model_of_another_version_is_named(few_sprites, reports, finished):
    path = reports / "tiny" / "model.pt"
    state = torch.load(path, weights_only=True)
    torch.save(state | {"hp": state["hp"] | {"leak_weight": 30.0}}, path)
    for use in (lambda: load_run("tiny"), lambda: train(few_sprites)):
        with pytest.raises(
            UserError, match=r"model\.pt in reports/tiny comes from another version of this program"
        ):
            use()


def test_a_finished_run_keeps_its_matches(few_sprites, finished):
    again = train(few_sprites)
    assert (finished.matches >= 0).any() and torch.equal(again.matches, finished.matches)
    assert train(few_sprites, name="published", match_from=1.0).matches is None


def test_no_model_says_which_notebook_makes_it(reports):
    with pytest.raises(UserError, match="run 02_train"):
        load_run("nothing")


def test_a_loss_that_is_not_finite_stops_the_run(few_sprites, reports):
    broken = dataclasses.replace(few_sprites)
    run = tiny_run(broken)
    with torch.no_grad():
        next(run.model.parameters()).fill_(np.inf)
    with pytest.raises(
        UserError, match=r"not finite at step \d+ of run 'tiny': lower learning_rate"
    ):
        fit(run, broken, split_images(broken, "identity", 0)["train"], CPU)
    assert not (reports / "tiny" / "model.pt").exists()


def test_weights_that_an_update_broke_are_not_kept(few_sprites, reports, monkeypatch):
    rate = learning_rate
    monkeypatch.setattr("lib.method.runs.CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(
        "lib.method.step.learning_rate", lambda step, hp: 1e30 if step == 9 else rate(step, hp)
    )
    with pytest.raises(
        UserError, match=r"not finite at step 10 of run 'tiny'.*the last checkpoint is kept"
    ):
        train(few_sprites)
    kept = torch.load(reports / "tiny" / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 9 and all(value.isfinite().all() for value in kept["weights"].values())


def test_a_run_is_trained_by_one_process(few_sprites, reports):
    with (
        exclusive_lock(reports / "tiny" / "model.pt", "training run 'tiny'"),
        pytest.raises(UserError, match=r"process \d+ is training run"),
    ):
        train(few_sprites)


def test_device(monkeypatch):
    assert choose_device("cpu") == CPU
    monkeypatch.setenv("CYCLE_VAE_DEVICE", "cpu")
    assert choose_device() == CPU
    with pytest.raises(UserError, match="no device 'tpu': choose one of cuda, mps, cpu"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="cuda is not available"):
            choose_device("cuda")


def test_only_a_training_without_schedules_is_constant():
    assert is_constant(make_hparams("paper"))
    assert is_constant(make_hparams("paper", reverse_weight=0.0, reverse_every=4))
    assert not is_constant(make_hparams("fast"))
    changes = dict(
        lr_warmup=10,
        lr_decay=True,
        kl_warmup=0.1,
        s_agreement=1.0,
        z_agreement=0.5,
        reverse_every=2,
    )
    for name, value in changes.items():
        assert not is_constant(make_hparams("paper", **{name: value})), name


def test_an_agreement_that_does_not_count_is_not_computed():
    hp = make_hparams("paper")
    assert scheduled(hp.steps - 1, hp).agreement == 0
    assert scheduled(hp.steps - 1, make_hparams("fast")).agreement > 0.99
