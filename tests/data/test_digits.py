"""The digits that scikit-learn ships."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from lib.data.digits import DIGITS_STAMP, digit_set, read_digits
from lib.data.image_set import UNKNOWN, Attribution
from lib.data.stored import load_images, store_images
from lib.system import paths


@pytest.fixture(scope="module")
def digits():
    return read_digits()


def test_all_digits_are_there_in_a_row(digits):
    assert digits.images.shape == (1797, 16, 16, 3)
    assert digits.images.dtype == np.uint8
    assert digits.character.dtype == np.int64
    assert digits.names == tuple("0123456789")
    assert (np.diff(digits.character) >= 0).all()
    assert np.array_equal(np.bincount(digits.character), np.bincount(load_digits().target))


def test_a_digit_is_an_identity_and_has_no_pose(digits):
    assert (digits.pose == UNKNOWN).all()
    assert not digits.has_truth
    assert digits.n_poses == 0
    assert not digits.attributes
    assert not digits.factors
    assert digits.character_identity.tolist() == list(range(10))


def test_pixels_are_the_shipped_levels_each_as_a_square_of_grey(digits):
    shipped = load_digits()
    for digit in (0, 9):  # in their original order
        images = digits.images[digits.images_of(digit)]
        levels = shipped.images[shipped.target == digit]
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            part = images[:, corner[0] :: 2, corner[1] :: 2]
            assert (np.abs(part - levels[..., None] * 255 / 16) <= 0.5).all()
    assert (digits.images == digits.images[..., :1]).all()
    assert len(np.unique(digits.images)) == 17
    assert digits.images.max() == 255


def test_the_stamp_is_the_fingerprint(digits):
    assert digits.fingerprint == DIGITS_STAMP


def test_they_are_credited(digits):
    assert digits.source == "digits"
    assert digits.attribution.title == "handwritten digits"
    assert (digits.attribution.character, digits.attribution.image) == ("digit", "image")
    for part in ("Alpaydin", "Kaynak", "UCI 1998", "CC BY 4.0", "scikit-learn"):
        assert part in digits.attribution.credit


def test_they_are_stored(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    store_images("digits", DIGITS_STAMP, lambda: digits)
    stored = load_images("digits")
    assert np.array_equal(stored.images, digits.images)
    assert stored.attribution == digits.attribution
    assert stored.fingerprint == DIGITS_STAMP


def test_sorting_keeps_the_order_within_a_digit():
    digit = np.array([*range(9, -1, -1), 3, 3])
    grey = np.arange(12, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    made = digit_set("digits", grey, digit, Attribution("", ""))
    assert made.images[:, 0, 0, 0].tolist() == [9, 8, 7, 6, 10, 11, 5, 4, 3, 2, 1, 0]
    assert made.character.tolist() == [0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9]
