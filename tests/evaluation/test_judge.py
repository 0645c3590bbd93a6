"""The oracle on true images, which it must judge right, and on ones that show another character or
pose.
"""

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.sprites import P, split_by_identity
from lib.evaluation import judge
from lib.system import paths

CPU, HP = torch.device("cpu"), make_hparams("fast", probe_images=8_000)


@pytest.fixture(scope="module")
def judged(few_sprites, tmp_path_factory):
    """(judge, train): an oracle of few sprites, trained for some seconds, that says what images
    should show of index target.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "DATA", tmp_path_factory.mktemp("data"))
        train = split_by_identity(few_sprites, 0)["train"]
        trained = judge.load_oracle(few_sprites, train, HP, 0, CPU)
        patch.setattr(judge, "_fit", lambda *_: pytest.fail("the oracle was trained again"))
        again = judge.load_oracle(few_sprites, train, HP, 0, CPU)
        assert all(
            torch.equal(a, b) for a, b in zip(trained.parameters(), again.parameters(), strict=True)
        )
        with pytest.raises(pytest.fail.Exception):
            judge.load_oracle(few_sprites, train, HP, 1, CPU)
    return (
        lambda shown, target: judge.judge(
            again, few_sprites.images[shown] / np.float32(255), target, few_sprites
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
        and (found["pose_nearly"] >= found["pose"]).all()
    )


def test_another_character_or_pose_is_seen_and_doubted(judged, few_sprites):
    judge, train = judged
    index = np.random.default_rng(1).choice(train, 600, replace=False)
    right = judge(index, index)
    other_pose = index // P * P + (index + 60) % P
    moved = judge(other_pose, index)
    assert (
        moved["pose"].mean() < 0.1
        and moved["identity"].mean() > 0.9
        and not moved["both"][~moved["pose_nearly"]].any()
    )
    other_character = (index + 6 * P) % len(few_sprites.images)
    assert (few_sprites.identity[other_character] != few_sprites.identity[index]).all()
    swapped = judge(other_character, index)
    assert swapped["identity"].mean() < 0.05 and swapped["pose"].mean() > 0.8
    assert moved["pose_doubt"].mean() > 5 * right["pose_doubt"].mean()
    assert swapped["identity_doubt"].mean() > 5 * right["identity_doubt"].mean()


def test_stored_weights_of_other_networks_leave_no_trace(few_sprites, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr(judge, "_fit", lambda *_: None)
    train = split_by_identity(few_sprites, 0)["train"]
    first = judge.load_oracle(few_sprites, train, HP, 0, CPU)
    path = tmp_path / f"{few_sprites.source}-oracle.pt"
    stored = torch.load(path, weights_only=True)
    *names, _ = stored["weights"]
    torch.save(stored | {"weights": {name: stored["weights"][name] + 1 for name in names}}, path)
    again = judge.load_oracle(few_sprites, train, HP, 0, CPU)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )


def test_chance_is_the_share_of_the_most_frequent_class(few_sprites):
    test = np.flatnonzero(few_sprites.character < 2)
    chance = judge.oracle_chance(few_sprites, test)
    first, second = few_sprites.labels[:2]
    assert [chance[name] for name in few_sprites.attributes] == [
        1.0 if same else 0.5 for same in first == second
    ]
    assert chance["pose"] == 1 / P and set(chance) == {*few_sprites.attributes, "pose", "identity"}
