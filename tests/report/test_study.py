"""What notebook 06 reads of the study, and its picture."""

import json

import numpy as np
import pytest

from lib.report import figures, study
from lib.system.errors import UserError
from lib.system.files import write_arrays


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "STUDY", tmp_path / "study.json")
    monkeypatch.setattr(study, "SWAPS", tmp_path / "study.npz")
    return tmp_path


@pytest.mark.parametrize("content", [None, {}, {"runs": []}])
def test_a_study_that_compares_no_methods_is_named(stored, content):
    if content is not None:
        study.STUDY.write_text(json.dumps(content))
    assert not study.is_measured()
    with pytest.raises(UserError, match=r"study\.json compares no methods: restore it"):
        study.read_comparison()


def test_a_damaged_study_is_named(stored):
    study.STUDY.write_text("{")
    with pytest.raises(UserError, match=r"study\.json is damaged: restore it"):
        study.is_measured()


@pytest.mark.parametrize(
    "content", [None, b"no archive", {"ours": np.zeros((8, 60, 60, 3), np.uint8)}]
)
def test_absent_and_damaged_pictures_are_named(stored, content):
    if isinstance(content, bytes):
        study.SWAPS.write_bytes(content)
    elif content is not None:
        write_arrays(study.SWAPS, content)
    with pytest.raises(UserError, match=r"study\.npz cannot be read: restore it"):
        study.read_swaps()


def test_each_method_has_a_row_below_the_inputs(stored):
    names = [*study.INPUTS, "ours", "lord", "vae"]
    images = {name: np.full((8, 60, 60, 3), k, np.uint8) for k, name in enumerate(names)}
    write_arrays(study.SWAPS, images)
    inputs, swaps = study.read_swaps()
    assert list(inputs) == list(study.INPUTS.values()) and list(swaps) == ["ours", "lord", "vae"]
    left, right = figures.method_grid(inputs, swaps).axes
    rows = [[label.get_text() for label in ax.get_yticklabels()] for ax in (left, right)]
    assert rows == [[*inputs, "ours", "lord"], [*inputs, "vae"]]
    step = 60 + figures.GAP
    for ax, expected in ((left, (0, 1, 2, 3, 4)), (right, (0, 1, 2, 5, 255))):
        (shown,) = ax.images
        assert tuple(shown.get_array()[step // 2 :: step, 30, 0]) == expected
