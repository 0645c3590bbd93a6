"""Sources without sprites, from the one command to the report: digits, and folders of a user.

Selected by `pytest -m smoke`.
"""

import json
import os
import subprocess

import nbformat
import numpy as np
import pytest
from PIL import Image

from lib.data.drawn import character_labels, draw_images
from lib.system.paths import ROOT

pytestmark = pytest.mark.smoke

IDENTITIES, IMAGES = 12, 16  # of the folder
SHORT = ["--set", "images_seen=640", "--set", "probe_images=500", "--set", "swap_samples=100"]


def write_folder(folder):
    """Photos of cars: no two have the same name, and each is 72 pixels wide and 90 high."""
    rng = np.random.default_rng(0)
    for number, labels in enumerate(character_labels()[: 2 * IDENTITIES : 2]):
        images = draw_images(np.tile(labels, (IMAGES, 1)), rng.permutation(178)[:IMAGES])
        car = folder / f"Auto {number:02d} {{ä}} 車"
        car.mkdir(parents=True)
        for name, image in enumerate(images):
            wide = Image.fromarray(image).resize((72, 90))
            wide.save(car / f"{number}-{name}.jpg")
    rows = [
        f"{car.name},{'red' if k % 2 else 'blue'}\n"
        for k, car in enumerate(sorted(folder.iterdir()))
    ]
    (folder / "labels.csv").write_text("car,colour\n" + "".join(rows), encoding="utf-8")


def write_few(folder):
    """As few images as the README asks for: six identities in three poses."""
    for number, labels in enumerate(character_labels()[:12:2]):
        (folder / f"thing {number}").mkdir(parents=True)
        for name, image in enumerate(draw_images(np.tile(labels, (3, 1)), np.array([0, 60, 120]))):
            Image.fromarray(image).save(folder / f"thing {number}" / f"view {name}.png")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of the finished runs `digits`, `cars` and `few`, made side by side."""
    folder = tmp_path_factory.mktemp("sources")
    write_folder(folder / "my cars")
    write_few(folder / "few")
    folders = {"CYCLE_VAE_DATA": str(folder / "data"), "CYCLE_VAE_REPORTS": str(folder / "reports")}
    sources = {
        "digits": ["--source", "digits"],
        "cars": ["--images", str(folder / "my cars"), "--size", "72"],
        "few": ["--images", str(folder / "few")],
    }
    started = {
        name: subprocess.Popen(
            ["./run_all.sh", *source, "--preset", "smoke", "--run", name, *SHORT],
            cwd=ROOT,
            env=os.environ | folders,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, source in sources.items()
    }
    for name, process in started.items():
        said, _ = process.communicate()
        assert process.returncode == 0, f"{name}: {said[-6000:]}"
        assert "Warning" not in said, f"{name}: {said}"
    return folder / "reports"


def read_results(run):
    return json.loads((run / "results.json").read_text())


def test_digits_are_probed_on_images_that_the_model_did_not_see(runs):
    results = read_results(runs / "digits")
    assert results["split"] == "image" and results["data"]["words"]["character"] == "digit"
    assert {entry["split"] for entry in results["probes"]} == {"unseen images"}
    assert {entry["target"] for entry in results["probes"]} == {"identity"}
    hparams = results["training"]["hparams"]
    assert (hparams["z_dim"], hparams["s_dim"], hparams["match_from"]) == (16, 16, 1.0)


def test_what_needs_the_truth_is_absent_and_its_place_says_why(runs):
    for name in ("digits", "cars"):
        results = read_results(runs / name)
        assert not {"swap", "prior"} & set(results) and results["blocks"] == {}
        text = (runs / name / "notebooks" / "03_style_transfer.ipynb").read_text()
        assert "Left out: no pose is known, so the true images of swaps are not known." in text


def test_as_few_images_as_the_readme_asks_for_give_a_report(runs):
    results = read_results(runs / "few")
    assert (results["data"]["images"], results["data"]["identities"]) == (18, 6)
    assert results["swap"]["test"]["n"] > 0 and (runs / "few" / "report.pdf").exists()


def test_cars_are_probed_for_their_attribute_on_unseen_cars(runs):
    probes = read_results(runs / "cars")["probes"]
    splits = {entry["target"]: entry["split"] for entry in probes}
    assert splits == {"identity": "unseen images", "colour": "unseen identities"}
    assert not [entry for entry in probes if entry["kind"] == "attributes"]  # cars share colours


def test_the_settings_follow_from_the_images(runs):
    training = read_results(runs / "cars")["training"]
    hparams, said = training["hparams"], " ".join(training["suited"])
    assert (hparams["architecture"], hparams["match_from"]) == ("conv", 1.0)
    assert "architecture is conv, not dense: the images have more than 64x64 pixels." in said
    assert training["matched_same_pose"] is None and training["match_contrast"] is None


def test_notebooks_and_report_speak_of_cars(runs):
    text = "\n".join(
        cell.source
        for cell in nbformat.read(runs / "cars" / "notebooks" / "02_train.ipynb", 4).cells
        if cell.cell_type == "markdown"
    )
    assert "keep the\ncar (the specified code *s*) apart from the pose" in text
    assert "character" not in text.replace("match_characters", "")
    assert (runs / "cars" / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_run_of_own_images_swaps_files(runs, tmp_path):
    images = sorted((runs.parent / "my cars").glob("*/*.jpg"))
    command = ["./run_all.sh", "swap", str(runs / "cars" / "model.pt"), images[0], images[-1]]
    out = tmp_path / "out.png"
    ended = subprocess.run([*command, out], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert Image.open(out).size == (72, 72)
