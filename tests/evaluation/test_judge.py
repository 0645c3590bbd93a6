"""The judge on true images, which it must judge right, and on ones that show another character or
pose.
"""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.splits import split_images
from lib.data.sprites import N_POSES
from lib.evaluation import judge
from lib.evaluation.swaps import image_errors, psnr, true_images
from lib.system import paths

CPU, HP = torch.device("cpu"), make_hparams("fast", probe_images=4_000)


@pytest.fixture(scope="module")
def judged(few_sprites, tmp_path_factory):
    """(judge, train): a judge of few sprites, trained for some seconds, that says what images
    should show of index target.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "DATA", tmp_path_factory.mktemp("data"))
        train = split_images(few_sprites, "identity", 0)["train"]
        trained = judge.load_judge(few_sprites, train, HP, 0, CPU)
        patch.setattr(judge, "_fit", lambda *_: pytest.fail("the judge was trained again"))
        again = judge.load_judge(few_sprites, train, HP, 0, CPU)
        assert all(
            torch.equal(a, b) for a, b in zip(trained.parameters(), again.parameters(), strict=True)
        )
        with pytest.raises(pytest.fail.Exception):
            judge.load_judge(few_sprites, train, HP, 1, CPU)
    return (
        lambda shown, target: judge.judge_images(
            again, true_images(few_sprites, shown), target, few_sprites
        ),
        train,
    )


def test_true_images_are_judged_right(judged, few_sprites):
    judge, train = judged
    index = np.random.default_rng(0).choice(train, 600, replace=False)
    found = judge(index, index)
    assert min(found[name].mean() for name in (*few_sprites.attributes[:-1], "identity")) > 0.95
    assert (
        found["pose"].mean() > 0.8
        and found["both"].mean() > 0.75
        and (found["pose_within_tolerance"] >= found["pose"]).all()
    )


def test_another_character_or_pose_is_seen_and_doubted(judged, few_sprites):
    judge, train = judged
    index = np.random.default_rng(1).choice(train, 600, replace=False)
    right = judge(index, index)
    other_pose = index // N_POSES * N_POSES + (index + 60) % N_POSES
    moved = judge(other_pose, index)
    assert (
        moved["pose"].mean() < 0.1
        and moved["identity"].mean() > 0.9
        and not moved["both"][~moved["pose_within_tolerance"]].any()
    )
    other_character = (index + 6 * N_POSES) % len(few_sprites.images)
    assert (few_sprites.identity[other_character] != few_sprites.identity[index]).all()
    swapped = judge(other_character, index)
    assert swapped["identity"].mean() < 0.05 and swapped["pose"].mean() > 0.8
    assert moved["pose_nll"].mean() > 5 * right["pose_nll"].mean()
    assert swapped["identity_nll"].mean() > 5 * right["identity_nll"].mean()


def test_stored_weights_of_other_networks_are_not_loaded(few_sprites, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    train = split_images(few_sprites, "identity", 0)["train"]
    fitted = []
    monkeypatch.setattr(judge, "_fit", lambda *_: fitted.append(1))
    first = judge.load_judge(few_sprites, train, HP, 0, CPU)
    convolutions = judge.convolutions
    monkeypatch.setattr(judge, "convolutions", lambda c: [*convolutions(c), torch.nn.ReLU()])
    judge.load_judge(few_sprites, train, HP, 0, CPU)
    monkeypatch.setattr(judge, "convolutions", convolutions)
    again = judge.load_judge(few_sprites, train, HP, 0, CPU)
    assert len(fitted) == 3
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )


def test_the_baseline_is_the_share_of_the_majority_class(few_sprites):
    test = np.flatnonzero(few_sprites.character < 2)
    baseline = judge.judge_baselines(few_sprites, test)
    first, second = few_sprites.labels[:2]
    assert [baseline[name] for name in few_sprites.attributes] == [
        1.0 if same else 0.5 for same in first == second
    ]
    assert baseline["pose"] == 1 / N_POSES and set(baseline) == {
        *few_sprites.attributes,
        "pose",
        "identity",
    }


@pytest.mark.parametrize("decibels", [22.0, 30.0])
def test_blurred_images_have_the_psnr_of_swaps(few_sprites, decibels):
    index = np.random.default_rng(0).choice(len(few_sprites.images), 700, replace=False)
    blurred = judge.blurred_images(few_sprites, index, decibels)(slice(0, 500))
    true = true_images(few_sprites, index)(slice(0, 500))
    assert psnr(image_errors(blurred, true)[:, 0].mean()) == pytest.approx(decibels, abs=0.1)
    assert 0 <= blurred.min() and blurred.max() <= 1


@pytest.mark.parametrize(("decibels", "deviation"), [(3.0, 8.0), (200.0, 0.2)])
def test_a_psnr_that_no_blur_has_gives_the_nearest(few_sprites, decibels, deviation):
    assert judge.BLURS == (0.2, 8.0)
    index = np.arange(20)
    blurred = judge.blurred_images(few_sprites, index, decibels)(slice(0, 20))
    expected = judge._blurred(few_sprites.images[:20] / np.float32(255), deviation)
    assert np.allclose(blurred.permute(0, 2, 3, 1), expected)
