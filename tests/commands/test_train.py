"""Training under torchrun, as a user starts it: several processes follow the course of one."""

import os
import subprocess
import sys

import pytest
import torch

from lib.method.runs import load_run
from lib.system import paths
from lib.system.paths import ROOT
from tests.conftest import save_sprites

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture
def launch(few_sprites, tmp_path, monkeypatch):
    """Runs `lib.commands.train`, one thread a process, with the options given; returns the ended
    process.
    """
    for name, variable in {"DATA": "CYCLE_VAE_DATA", "REPORTS": "CYCLE_VAE_REPORTS"}.items():
        monkeypatch.setattr(paths, name, tmp_path / name)
        monkeypatch.setenv(variable, str(tmp_path / name))
    save_sprites(few_sprites)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CYCLE_VAE_DEVICE": "cpu",
        "PYTHONPATH": str(ROOT),
    }

    def run(before, *options):
        command = [
            sys.executable,
            *before,
            "-m",
            "lib.commands.train",
            "--source=drawn",
            "--preset=smoke",
            *options,
        ]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return run


def test_two_processes_train_as_one(launch):
    settings = (  # at a rate at which rounding does not grow
        '--overrides={"images_seen": 384, "learning_rate": 1e-4, "match_characters": 6,'
        ' "reverse_weight": 10, "agreement_from": 0}'
    )
    for name, before in {"one": [], "two": TORCHRUN}.items():
        done = launch(before, name, settings)
        assert done.returncode == 0, done.stderr
    one, two = load_run("one"), load_run("two")
    assert len(one.history) == 6 and {"reconstruction", "kl", "reverse", "validation_swap"} <= set(
        one.history[0]
    )
    for row, other in zip(one.history, two.history, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"seconds"}:
            assert other[name] == pytest.approx(row[name], rel=1e-3, abs=1e-5), name
    assert torch.equal(one.matches >= 0, two.matches >= 0)


def test_a_batch_that_cannot_be_shared_is_said_once(launch):
    done = launch(TORCHRUN, "odd", '--overrides={"batch_images": 24, "images_seen": 240}')
    assert done.returncode != 0
    sentence = "2 processes cannot share batch_images 24: set it to a multiple of 16"
    assert done.stderr.count(sentence) == 1
