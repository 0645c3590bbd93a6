"""Models and checkpoints that are not this run's, or not what they seem."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.config import make_hparams
from lib.data.stored import load_images
from lib.method.runs import new_run, resume
from lib.method.step import make_optimizers
from lib.system import paths
from tests.faults.place import SMALL_TRAINING, MaliciousPickle, Place, check_refused, refusal

pytestmark = pytest.mark.faults

REFUSED = ".*{}.*: (delete it|start afresh|name this one)"
BY_COMMAND = ("truncated", "a malicious pickle")  # the others: by the function that it calls
UNREADABLE, OTHER_VERSION = "cannot be read", "comes from another version"
DAMAGED_DATA = "sprites.npz is damaged or of another version: remove it, then run"


def without_networks(state: dict, _: Path) -> dict:
    return {"weights": {k: v for k, v in state["weights"].items() if "z_mu" not in k}}


# the file, what is changed in the state that it holds, and what the user reads
CHANGED: dict[str, tuple[str, Callable[[dict, Path], dict], str]] = {
    "of another preset": (
        "checkpoint.pt",
        lambda state, _: {"preset": "long"},
        "holds a run with preset long, not smoke",
    ),
    "of another data set": (
        "model.pt",
        lambda state, _: {"data": "other"},
        "holds a run with other images",
    ),
    "of a newer version (hyper-parameters)": (
        "checkpoint.pt",
        lambda state, _: {"hp": state["hp"] | {"new": 1}},
        OTHER_VERSION,
    ),
    "of a newer version (state)": ("model.pt", lambda state, _: {"new": 1}, OTHER_VERSION),
    "of a newer version (networks)": ("checkpoint.pt", without_networks, OTHER_VERSION),
    "a malicious pickle": (
        "model.pt",
        lambda state, touched: {"step": MaliciousPickle(touched)},
        "cannot be read as a model .UnpicklingError",
    ),
}
CUT = {  # the file, how many of its bytes are left, and what the user reads
    "truncated": ("checkpoint.pt", 100_000, UNREADABLE),
    "empty": ("model.pt", 0, UNREADABLE),
}


@pytest.fixture(scope="module")
def model(place_with_data: Place) -> Path:
    """The model of a run that is good."""
    place_with_data.run_successfully(*place_with_data.training_command("good"))
    return place_with_data.reports / "good" / "model.pt"


@pytest.fixture
def touched(place_with_data: Place) -> Path:
    """The file that a malicious pickle makes where it is loaded."""
    return place_with_data.folder / "touched"


@pytest.fixture
def resume_training(place_with_data, monkeypatch) -> Callable[[], None]:
    """What `Place.training_command` does first."""
    monkeypatch.setattr(paths, "DATA", place_with_data.data)
    monkeypatch.setattr(paths, "REPORTS", place_with_data.reports)
    hp = make_hparams("smoke", **SMALL_TRAINING)
    run = new_run("bad", load_images("sprites"), "smoke", 0, hp)
    return lambda: resume(run, make_optimizers(run.model, hp), torch.Generator())


@pytest.mark.parametrize("fault", [*CUT, *CHANGED])
def test_a_file_that_is_not_of_this_run(
    place_with_data, model, touched, resume_training, record, fault
):
    place = place_with_data
    path = place.reports / "bad" / (CUT | CHANGED)[fault][0]
    path.parent.mkdir()
    if fault in CUT:
        name, length, says = CUT[fault]
        path.write_bytes(model.read_bytes()[:length])
    else:
        name, change, says = CHANGED[fault]
        state = torch.load(model, weights_only=True)
        torch.save(state | change(state, touched), path)
    content = path.read_bytes()
    pattern = REFUSED.format(says)
    if fault in BY_COMMAND:
        ended = place.run(*place.training_command("bad"))
        check_refused(ended, 1, f"^lib.commands.train: {pattern}")
        sentence = ended.sentence
    else:
        sentence = refusal(resume_training, pattern)
    kept = path.read_bytes()
    shutil.rmtree(path.parent)
    assert kept == content and not touched.exists()
    sentence = place.shown(sentence)
    record(f"{name} {fault}", sentence, 1, "the file, as it was", "names the file")


def test_a_malicious_pickle_in_place_of_the_data(place_with_data, touched, record):
    place = place_with_data
    stamp = np.array([MaliciousPickle(touched)], dtype=object)
    np.savez(place.data / "sprites.npz", source=stamp)
    ended = place.run(*place.training_command("r"))
    check_refused(ended, 1, DAMAGED_DATA)
    assert not touched.exists()
    place.make_data()
    record(
        "a malicious pickle as sprites.npz",
        place.shown(ended.sentence),
        1,
        "the file, as it was",
        "yes",
    )
