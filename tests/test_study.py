"""The study: what it repeats, how a run fails, and what it says of paired seeds."""

import json
import os
import signal

import pytest
import torch

from benchmarks import comparison, executors, methods, study
from benchmarks.executors import OUTCOME, ClusterExecutor, LocalExecutor, run_all
from benchmarks.methods import Method
from benchmarks.study import Training, is_current
from lib.config import HParams
from lib.data.splits import split_images
from lib.evaluation import swaps
from lib.system import paths
from lib.system.errors import UserError
from lib.system.files import read_arrays, write_arrays, write_json


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    monkeypatch.setenv("CYCLE_VAE_REPORTS", str(tmp_path))  # for processes that it starts
    return tmp_path


def training(method="fast", seed=0, source="drawn"):
    return Training(method, source, "identity", 0, seed)


def stored(method="fast", seed=0, source="drawn", **metrics):
    each = training(method, seed, source)
    settings = {name: getattr(each.hp, name) for name in HParams.__dataclass_fields__}
    code = {"version": study.VERSION, "commit": "c"}
    return {
        **each._asdict(),
        "settings": settings,
        "learner": ["cycle", None],
        "data": "images",
        "metrics": {"swap, dB": 30.0, **metrics},
        "ci95": {},
        "outfits": 30,
        "code": code,
    }


def fails_or_succeeds(training):
    """Stands in for `study.work`, in a process of its own: seed 1 dies, seed 2 fails."""
    if training.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    threads = {"threads": torch.get_num_threads()}
    outcome = {"failed": "the loss is not finite"} if training.seed == 2 else threads
    write_json(paths.run_dir(training.name) / "outcome.json", outcome)


def both_executors(folder):
    return {
        "local": LocalExecutor(fails_or_succeeds, 3),
        "cluster": ClusterExecutor(fails_or_succeeds, "local", folder, {"timeout_min": 5}),
    }


@pytest.mark.parametrize(("name", "why"), [("local", "ended with -9"), ("cluster", "its job")])
def test_a_run_that_fails_does_not_stop_the_others(reports, capsys, name, why):
    planned = [training(seed=seed) for seed in (1, 2, 0)]
    left = paths.run_dir(planned[0].name) / OUTCOME  # of a stopped call
    write_json(left, {"threads": 1})
    done = {}
    failed = run_all(planned, both_executors(reports / "jobs")[name], done.__setitem__)
    assert list(done) == [planned[2]] and done[planned[2]]["threads"] >= 1
    assert why in failed.pop(planned[0])
    assert failed == {planned[1]: "the loss is not finite"}
    last = capsys.readouterr().out.rstrip().splitlines()[-len(planned) :]
    assert [line.split()[1] for line in last] == ["failed", "failed", "finished"]


def test_a_cluster_that_is_not_there_is_named(reports):
    with pytest.raises(UserError, match="the cluster cannot be used"):
        ClusterExecutor(fails_or_succeeds, "slurm", reports, {})
    with pytest.raises(UserError, match=r"the cluster cannot be used: .*unknown"):
        ClusterExecutor(fails_or_succeeds, "local", reports, {"unknown": 1})


def test_the_progress_names_the_minutes_left(reports):
    each, other = training(seed=0), training(seed=1)
    half = each.hp.images_seen // 2
    write_json(executors.progress_path(each), {"images": half, "seconds": 600.0})
    lines = executors.progress_table([each, other], {each}, {other}, set()).splitlines()
    assert lines[0].endswith(" 50%  10 min left") and lines[1].endswith("waiting")
    write_json(executors.progress_path(each), {"images": 2 * half, "seconds": 1200.0})
    assert executors.progress_table([each], {each}, set(), set()).endswith("measuring")


def test_a_run_is_repeated_where_settings_data_or_version_differ(monkeypatch):
    run = stored()
    assert is_current(run, training(), "images")
    assert not is_current(run, training(), "other images")
    assert not is_current(run, training("reverse"), "images")
    assert not is_current(stored("reverse"), training(), "images")
    older = {**run, "settings": {k: v for k, v in run["settings"].items() if k != "mean_s"}}
    assert is_current(older, training(), "images")  # mean_s has its default
    monkeypatch.setitem(methods.METHODS, "other", Method("", {"mean_s": False}, images=None))
    assert not is_current(older, training("other"), "images")
    rival = Method("", learner="lord", images=None)
    monkeypatch.setitem(methods.METHODS, "other", rival)
    assert not is_current(run, training("other"), "images")
    assert is_current({**run, "learner": ["lord", None]}, training("other"), "images")
    monkeypatch.setattr(study, "VERSION", study.VERSION + 1)
    assert not is_current(run, training(), "images")


def test_other_settings_have_another_folder(monkeypatch):
    before = training().name
    monkeypatch.setitem(methods.METHODS, "fast", Method("", {"z_dim": 9}, images=None))
    assert training().name != before


def test_a_search_covers_rates_and_weights_and_reads_validation_alone():
    names = methods.chosen_methods([], ["mlvae", "drnet"])
    assert len(set(names)) == 2 * 9
    found = [methods.METHODS[name] for name in names]
    assert [method.chooses for method in found] == ["mlvae"] * 9 + ["drnet"] * 9
    rates = {(method.hp.learning_rate, method.hp.kl_weight) for method in found[:9]}
    assert len(rates) == 9 and {method.weight for method in found[9:]} == {1.0, 10.0, 100.0}
    by_default = methods.chosen_methods([], [])
    assert set(methods.STUDIED) - set(by_default) == set(methods.ONLY_NAMED)
    with pytest.raises(UserError, match="there is no method 'mlva'"):
        methods.chosen_methods(["mlva"], [])
    with pytest.raises(UserError, match="'fast' has no search"):
        methods.chosen_methods([], ["fast"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_method_for_a_gpu_says_that_there_is_none(few_sprites, reports):
    parts = split_images(few_sprites, "identity", 0)
    with pytest.raises(UserError, match="cuda is not available"):
        study.train(training(methods.ON_GPU), few_sprites, parts)


def test_a_run_is_measured_and_stored(few_sprites, reports, monkeypatch):
    monkeypatch.setattr(study, "load_images", lambda source: few_sprites)
    tiny = dict(images_seen=160, batch_images=8, lr_warmup=3, match_characters=4)
    monkeypatch.setitem(methods.METHODS, "smoke", Method("", tiny, preset="smoke", images=None))
    outcome = study.execute(training("smoke"))
    assert is_current(json.loads(json.dumps(outcome)), training("smoke"), few_sprites.fingerprint)
    metrics = outcome["metrics"]
    assert 5 < metrics["swap, dB"] < 40 and 0 <= metrics["identity from s, %"] <= 100
    assert executors.read_progress(training("smoke")).images == 160
    shown = (comparison.PRESET_METRICS, comparison.SWAP_METRICS, comparison.CODE_METRICS)
    assert all(set(names) <= set(metrics) for names in shown)
    assert outcome["curve"][-1][0] == 160
    kept = reports / "study.npz"
    study.keep_pictures(training("smoke"), kept)
    arrays = read_arrays(kept)
    write_arrays(kept, {"vae": arrays["smoke"], **arrays})  # an earlier call trained a later method
    study.keep_pictures(training("smoke"), kept)
    arrays = read_arrays(kept)
    assert [name for name in arrays if name in methods.METHODS] == ["smoke", "vae"]
    assert arrays.keys() == {"smoke", "vae", "s_image", "z_image", "target"}
    assert {images.shape for images in arrays.values()} == {(study.PICTURED, 60, 60, 3)}


@pytest.mark.parametrize("content", ["", "[]", '{"source": "drawn"}', '{"runs": [{"seed": 1}]}'])
def test_a_file_that_is_none_of_a_study_is_named_and_kept(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"\S+other.json .*remove it"):
        study.read_runs(path)
    assert path.read_text() == content


def test_a_simple_predictor_is_measured_on_the_same_swaps_without_a_training(
    few_sprites, reports, monkeypatch
):
    monkeypatch.setattr(study, "load_images", lambda source: few_sprites)
    found = {name: study.execute(training(name)) for name in ("retrieval", "pose-mean")}
    assert is_current(found["retrieval"], training("retrieval"), few_sprites.fingerprint)
    assert not is_current(found["retrieval"], training("pose-mean"), few_sprites.fingerprint)
    parts = split_images(few_sprites, "identity", 0)
    chosen, simple = study.test_swaps(few_sprites, parts, training("ours").hp, 0)
    for name, outcome in found.items():
        errors = swaps.errors_in_chunks(few_sprites, chosen, simple[name.replace("-", "_")])
        low, high = outcome["ci95"]["swap, dB"]
        assert low <= outcome["metrics"]["swap, dB"] <= high and outcome["curve"] == []
        assert outcome["metrics"]["swap, dB"] == pytest.approx(swaps.psnr(errors[:, 0].mean()))
    assert (paths.run_dir(training("retrieval").name) / study.EXAMPLES).exists()
