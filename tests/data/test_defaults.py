"""Settings that follow from the images, unless the user sets them."""

import dataclasses

import numpy as np
import pytest

from lib.config import make_hparams
from lib.data.defaults import affordable, hparams_for
from lib.data.image_set import UNKNOWN, Attribution, ImageSet, distinct_images


def image_set(size=60, images=6, poses=True, level=0, source="folder-x"):
    """Eight characters of so many images of noise, whose upper part has one level."""
    pixels = np.random.default_rng(0).integers(1, 256, (8 * images, size, size, 3), dtype=np.uint8)
    pixels[:, : size // 2] = level
    pose = np.tile(np.arange(images), 8)
    return ImageSet(
        source,
        pixels,
        np.repeat(np.arange(8), images),
        tuple(f"{k}" for k in range(8)),
        distinct_images(pixels),
        "noise",
        Attribution("noise", "Nobody's."),
        pose if poses else np.full_like(pose, UNKNOWN),
        tuple(map(str, range(images))) if poses else (),
    )


def changed(dataset, preset="fast", **overrides):
    train = np.arange(len(dataset.images))
    hp, said = hparams_for(dataset, train, preset, overrides)
    plain = dataclasses.asdict(make_hparams(preset, **overrides))
    found = {k: v for k, v in dataclasses.asdict(hp).items() if v != plain[k]}
    assert len(said) == len(found) and all(s.endswith(".") for s in said)
    return found


def test_sprites_keep_the_preset(few_sprites):
    for preset in ("fast", "paper", "smoke"):
        assert changed(few_sprites, preset) == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (dict(size=64), {}),
        (dict(size=65), {"architecture": "conv", "images_seen": 1_163_361}),
        (dict(size=128), {"architecture": "conv", "images_seen": 300_000}),
        (dict(poses=False), {"match_from": 1.0}),
        (dict(images=4), {}),
        (dict(images=3), {"group_size": 2}),
        (dict(level=255), {"background_level": 0.0}),
        (dict(source="digits", poses=False), {"z_dim": 16, "s_dim": 16, "match_from": 1.0}),
    ],
)
def test_each_setting_follows_from_its_cause_alone(kind, expected):
    assert changed(image_set(**kind)) == expected


def test_what_the_user_sets_stays():
    dataset = image_set(size=80, images=3, poses=False, level=255)
    chosen = dict(architecture="dense", match_from=0.0, group_size=4, background_level=0.1)
    chosen |= dict(images_seen=64_000)
    assert changed(dataset, **chosen) == {}


def test_the_published_preset_keeps_its_networks(few_sprites):
    assert "architecture" not in changed(image_set(size=100), "paper")


@pytest.mark.parametrize(("side", "expected"), [(16, 1_000), (64, 1_000), (128, 250), (256, 62)])
def test_of_large_images_fewer_are_affordable(side, expected):
    assert affordable(1_000, side) == expected
    assert affordable(1, side) == 1
