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


def test_selected_methods_have_a_row_from_all_tables_of_their_source(stored):
    swaps = {
        "caption": "Swaps: 2D Sprites, split by identity.",
        "head": ["mean (95 %)", "seeds", "swap, dB", "less “ours”, dB"],
        "rows": [["“ours”", "3", "28.6", "–"], ["“vae”", "3", "16.2", "-12.40"]],
    }
    codes = {
        "caption": "Codes: 2D Sprites, split by identity.",
        "head": ["mean (95 %)", "seeds", "pose from s, %", "mean leak of z (sampled), %"],
        "rows": [["“ours”", "3", "4.0", "0"]],
    }
    other = {**swaps, "caption": "Swaps: drawn sprites, split by identity.", "rows": [["“x”", "1"]]}
    methods = {"rows": [["“ours”", "the base"], ["“vae”", "a VAE"]]}
    content = {"comparison": {"methods": methods, "values": [swaps, codes, other]}}
    study.STUDY.write_text(json.dumps(content))
    head, rows = study.selected(["vae", "absent", "ours"])
    assert head[:2] == ["method", "what it is"]
    assert rows == [
        ["“vae”", "a VAE", "16.2", "-12.40", "–", "–", "–"],
        ["“ours”", "the base", "28.6", "–", "–", "0", "4.0"],
    ]
    assert study.selected(["x"], "photographs")[1] == []


def test_the_committed_study_has_the_methods_that_notebook_2_shows():
    _, rows = study.selected(["published", "ours", "unmatched"])
    assert len(rows) == 3 and all(cell != "–" for row in rows for cell in row[2:3] + row[4:])
