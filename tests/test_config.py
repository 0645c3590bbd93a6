import dataclasses

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from lib.config import (
    LARGEST_SEED,
    SETTINGS,
    HParams,
    check_checkout,
    check_parameters,
    check_seed,
    make_hparams,
)
from lib.system.errors import UserError
from lib.system.paths import ROOT, run_dir, run_name


def test_paper_is_the_published_method():
    hp = make_hparams("paper")
    assert (hp.z_dim, hp.s_dim, hp.learning_rate, hp.batch_images, hp.group_size) == (
        512,
        64,
        1e-4,
        32,
        2,
    )
    assert hp.norm == "instance" and hp.reverse_every == 1 and hp.kl_warmup == 0 and not hp.lr_decay
    assert (hp.reconstruction_weight, hp.kl_weight, hp.reverse_weight) == (2, 3, 10)
    assert hp.match_from == 1
    assert hp.steps == 500 * 40_050 // 16 + 1  # 500 epochs of 40,050 pairs, in batches of 16


def test_text_is_read_as_the_type_of_the_field():
    hp = make_hparams("fast", z_dim="16", lr_decay="False", learning_rate="2e-3", images_seen="1e4")
    assert (hp.z_dim, hp.lr_decay, hp.learning_rate, hp.images_seen) == (16, False, 2e-3, 10_000)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "zdim",
            "16",
            "no hyper-parameter 'zdim' .did you mean z_dim.*the known ones are architecture, ",
        ),
        ("z_dim", "0", "z_dim must be between 1 and 4096, not 0"),
        ("z_dim", "1.5", "z_dim takes a whole number, not '1.5'"),
        ("z_dim", "inf", "z_dim takes a whole number, not 'inf'"),
        ("z_dim", "1e999999999", "z_dim takes a whole number, not '1e999999999'"),
        ("kl_weight", "nan", "kl_weight must be at least 0, not nan"),
        ("kl_weight", "much", "kl_weight takes a number, not 'much'"),
        ("lr_decay", "maybe", "lr_decay takes true or false, not 'maybe'"),
        ("norm", "batch", "norm must be one of instance, group, not batch"),
        ("batch_images", "30", "batch_images must be a multiple of group_size"),
        ("batch_images", "4", "batch_images must be at least 2 groups"),
        ("beta2", "1", "beta2 must be between 0 and 1, not 1"),
        ("learning_rate", "0", "learning_rate must be positive"),
    ],
)
def test_a_bad_override_is_one_sentence(name, value, sentence):
    with pytest.raises(UserError, match=sentence):
        make_hparams("fast", **{name: value})


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(UserError, match="paper, fast, long, smoke"):
        make_hparams("slow")


def test_a_parameter_that_a_notebook_does_not_have_is_refused():
    defaults = 'source = "drawn"  # which\nseed = 0\nrun = "drawn"'
    check_parameters(
        ["", "sead = 3", defaults, "# Parameters\nseed = 3\nrun = 'a'\n", "import numpy\nsead = 4"]
    )
    with pytest.raises(
        UserError,
        match=(
            r"^there is no parameter 'sead' \(did you mean seed\?\); the known ones are source,"
            r" seed, run$"
        ),
    ):
        check_parameters(["", defaults, "# Parameters\nsead = 3\n", "import numpy"])


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True, 2**32])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(
        UserError, match=f"seed must be a whole number from 0 to 4294967295, not '{seed}'"
    ):
        check_parameters([], seed)


def test_the_largest_seed_is_taken_by_every_library():
    check_seed(LARGEST_SEED)
    np.random.default_rng(LARGEST_SEED)
    torch.manual_seed(LARGEST_SEED)
    torch.Generator().manual_seed(LARGEST_SEED)
    x = np.random.default_rng(0).normal(size=(20, 4))
    assert PCA(2, random_state=LARGEST_SEED).fit_transform(x).shape == (20, 2)
    with pytest.raises(ValueError, match="random_state"):
        PCA(2, random_state=LARGEST_SEED + 1).fit(x)


def test_a_name_that_the_program_makes_is_taken():
    """However many hyper-parameters differ; and two settings never share a name."""
    overrides = dataclasses.asdict(make_hparams("paper"))
    names = [run_name("sprites", "paper", LARGEST_SEED, {**overrides, "z_dim": n}) for n in (1, 2)]
    assert names[0] != names[1] and all(run_dir(name).name == name for name in names)


def test_a_notebook_of_another_checkout_is_refused(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "notebooks").mkdir()
    check_checkout(tmp_path / "notebooks")  # any folder of that name
    check_checkout(ROOT / "notebooks")
    (tmp_path / "lib" / "config.py").touch()
    with pytest.raises(UserError, match=r"^this notebook belongs to .*: start it with .*run_all"):
        check_checkout(tmp_path / "notebooks")


def test_a_run_is_named_after_what_differs_from_the_default():
    assert run_name("drawn", "fast", 0, {}) == "drawn"
    assert run_name("drawn", "fast", 1, {}) == "drawn-fast-seed1"
    assert run_name("drawn", "fast", 0, {}, "outfit") == "drawn-fast-seed0-outfit0"
    assert run_name("drawn", "fast", 1, {}, "identity", 2) == "drawn-fast-seed1-identity2"
    assert run_name("sprites", "smoke", 0, {"z_dim": 16}) == "sprites-smoke-seed0-z_dim=16"
    assert run_dir("sprites-smoke-seed0-z_dim=16").name == "sprites-smoke-seed0-z_dim=16"


@pytest.mark.parametrize("name", ["", "..", "../up", "/abs", ".hidden", "a/b", "a b", "x" * 101])
def test_a_run_cannot_leave_the_reports(name):
    with pytest.raises(UserError, match="cannot name a run"):
        run_dir(name)


def test_hyper_parameters_are_frozen():
    with pytest.raises(AttributeError):
        HParams().z_dim = 3


def test_every_setting_that_differs_from_the_published_one_says_why():
    paper, fast = (dataclasses.asdict(make_hparams(preset)) for preset in ("paper", "fast"))
    changed = {name for name in fast if fast[name] != paper[name]}
    assert changed == {name for name, field in SETTINGS.items() if "why" in field.metadata}
