"""Training and evaluation on a GPU. Skipped where there is none."""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.splits import split_images
from lib.evaluation import judge, swaps
from lib.evaluation.codes import encode_all, encode_images
from lib.evaluation.protocol import published_protocol
from lib.method import graphs
from lib.method.runs import load_run, new_run
from lib.method.training import fit
from lib.system import paths

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TINY = dict(images_seen=1_600, batch_images=32, lr_warmup=3, match_characters=8)  # 50 steps


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path


def train(dataset, device, name, on_log=None, **overrides):
    hp = make_hparams("smoke", **{**TINY, **overrides})
    run = new_run(name, dataset, "smoke", 0, hp)
    train_images = split_images(dataset, "identity", 0)["train"]
    return fit(run, dataset, train_images, device, on_log=on_log)


@pytest.mark.parametrize("architecture, rows", [("dense", 1), ("published", 5)])
def test_a_training_on_a_gpu_is_that_on_a_cpu(few_sprites, reports, architecture, rows):
    """Of dense networks only at first: the components come from random numbers of the device."""
    runs = [train(few_sprites, d, d.type, architecture=architecture) for d in (CPU, CUDA)]
    assert [run.device for run in runs] == ["cpu", "cuda"]
    for name, tolerance in (("reconstruction", 0.05), ("kl", 0.15)):  # a small KL moves more
        cpu, cuda = (np.array([row[name] for row in run.history]) for run in runs)
        np.testing.assert_allclose(cuda[:rows], cpu[:rows], rtol=tolerance)
    left = [float(run.model.components.left) for run in runs]
    assert left[1] == pytest.approx(left[0], rel=0.05)
    assert runs[1].history[-1]["reconstruction"] < 0.7 * runs[1].history[0]["reconstruction"]


def test_a_stopped_training_resumes(few_sprites, reports, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(row):
        if row["images"] >= 800:
            raise Stopped

    monkeypatch.setattr("lib.method.runs.CHECKPOINT_SECONDS", 0)
    with pytest.raises(Stopped):
        train(few_sprites, CUDA, "stopped", stop)
    resumed, straight = (train(few_sprites, CUDA, name) for name in ("stopped", "straight"))
    last = [run.history[-1]["reconstruction"] for run in (resumed, straight)]
    assert last[0] == pytest.approx(last[1], rel=0.02)


def test_a_captured_step_is_an_eager_one(few_sprites, reports, monkeypatch):
    steady = dict(lr_warmup=0, lr_decay=False, kl_warmup=0.0, s_agreement=0.0, z_agreement=0.0)
    published = dict(architecture="published", reverse_weight=10.0, reverse_every=1, match_from=1.0)
    replays, replay = [], torch.cuda.CUDAGraph.replay
    counted = lambda graph: replays.append(replay(graph))  # noqa: E731
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    captured = train(few_sprites, CUDA, "captured", **steady, **published)
    assert len(replays) == captured.hp.steps - graphs.EAGER_STEPS
    monkeypatch.setattr("lib.method.training.can_repeat", lambda *_: False)
    eager = train(few_sprites, CUDA, "eager", **steady, **published)
    assert len(replays) == captured.hp.steps - graphs.EAGER_STEPS
    # Sums on a GPU have no fixed order, so two eager trainings differ, too, more at each step.
    for name, rows, tolerance in (("reconstruction", 50, 0.05), ("kl", 15, 0.05), ("kl", 50, 0.25)):
        losses = [np.array([row[name] for row in run.history[:rows]]) for run in (captured, eager)]
        np.testing.assert_allclose(*losses, rtol=tolerance)
    assert captured.history[-1]["reconstruction"] < 0.7 * captured.history[0]["reconstruction"]


def test_the_evaluation_on_a_gpu_is_that_on_a_cpu(few_sprites, reports):
    train(few_sprites, CUDA, "evaluated")
    on_cpu, on_cuda = (load_run("evaluated", device) for device in (CPU, CUDA))
    split = split_images(few_sprites, "identity", 0)
    chosen = swaps.sample_swaps(few_sprites, split["test"], 64, seed=0)
    errors = [swaps.swap_error(run.model, few_sprites, chosen) for run in (on_cpu, on_cuda)]
    np.testing.assert_allclose(*errors, rtol=0.01)
    codes = [encode_images(run.model, few_sprites.images).z_mu for run in (on_cpu, on_cuda)]
    torch.testing.assert_close(*codes, rtol=0.01, atol=0.01)
    stored = encode_all(on_cuda, few_sprites)
    best, optimisation = swaps.best_error(on_cuda.model, few_sprites, stored, chosen)
    assert best[:, 0].mean() < errors[1][:, 0].mean() and optimisation["steps"] > 0

    hp = make_hparams("smoke", probe_images=1_000)
    judging = judge.load_judge(few_sprites, split["train"], hp, 0, CUDA)
    predict = swaps.swap_predictor(on_cuda.model, stored, chosen)
    assert len(judge.judge_images(judging, predict, chosen.target, few_sprites)["pose"]) == 64
    assert 0 <= published_protocol(stored.s, few_sprites.character, hp, 0, CUDA)["accuracy"] <= 1
