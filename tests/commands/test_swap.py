"""The command that swaps two image files, as a user calls it."""

import numpy as np
import pytest
import torch
from PIL import Image

from lib.commands import swap
from lib.config import make_hparams
from lib.data.images import to_uint8
from lib.data.splits import split_images
from lib.evaluation.codes import encode_dataset
from lib.evaluation.swaps import decode_codes
from lib.method.runs import load_run, new_run, save_run
from lib.method.training import fit
from lib.system import paths
from lib.system.errors import UserError

TINY = dict(images_seen=160, batch_images=8, lr_warmup=3, match_characters=4)


@pytest.fixture(scope="module")
def reports(few_sprites, tmp_path_factory):
    """The reports of a finished run `tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "REPORTS", tmp_path_factory.mktemp("reports"))
        run = new_run("tiny", few_sprites, "smoke", 0, make_hparams("smoke", **TINY))
        fit(
            run, few_sprites, split_images(few_sprites, "identity", 0)["train"], torch.device("cpu")
        )
        return paths.REPORTS


@pytest.fixture
def folder(reports, few_sprites, tmp_path, monkeypatch):
    """The working directory, with sprites a.png, b.png, c.png of three characters."""
    monkeypatch.setattr(paths, "REPORTS", reports)
    monkeypatch.setenv("CYCLE_VAE_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    for name, index in {"a": 3, "b": 400, "c": 900}.items():
        Image.fromarray(few_sprites.images[index]).save(f"{name}.png")
    return tmp_path


def read(path):
    return np.array(Image.open(path))


def test_the_image_is_the_swap_of_the_same_images_in_the_data(folder, few_sprites, capsys):
    swap.main(["tiny", "a.png", "b.png", "out.png"])
    run = load_run("tiny")
    codes = encode_dataset(run.model, few_sprites)
    expected = to_uint8(decode_codes(run.model, codes.z_mu[[400]].numpy(), codes.s[[3]].numpy()))
    assert np.abs(read("out.png").astype(int) - expected[0]).max() <= 1  # batches round differently
    assert capsys.readouterr().out == "== out.png: s from a.png, z from b.png\n"


def test_a_model_file_is_enough_wherever_it_lies(folder, reports):
    (folder / "copy.pt").write_bytes((reports / "tiny" / "model.pt").read_bytes())
    swap.main(["copy.pt", "a.png", "b.png", "one.webp"])
    swap.main(["tiny", "a.png", "b.png", "two.webp"])
    assert (read("one.webp") == read("two.webp")).all()


def test_several_images_become_a_grid(folder):
    swap.main(["tiny", "a.png", "b.png", "out.png", "--s", "b.png", "c.png"])
    grid = read("out.png")
    assert grid.shape == (2 * 62, 4 * 62, 3)
    assert (grid[1:61, 63:123] == read("a.png")).all()  # on top
    assert (grid[63:123, 1:61] == read("b.png")).all()  # on the left
    swap.main(["tiny", "a.png", "b.png", "alone.png"])
    assert (grid[63:123, 63:123] == read("alone.png")).all()


def test_images_of_any_size_are_put_on_the_background_of_the_model(folder):
    image = Image.fromarray(read("a.png"))
    image.resize((120, 120), Image.Resampling.NEAREST).save("large.png")
    padded = Image.new("RGBA", (100, 60), (255, 255, 255, 0))
    padded.paste(image.convert("RGBA"), (20, 0))
    padded.save("wide.png")
    run = load_run("tiny")
    images = swap.read_images(["large.png", "wide.png"], run)
    assert images.shape == (2, 60, 60, 3)
    assert np.abs(images[0].astype(int) - read("a.png")).mean() < 4
    assert (images[1][:10] == 0).all()  # the letterbox


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    {
        "a run that is none": (["nobody", "a.png", "b.png", "out.png"], "run 'nobody' has no"),
        "a file that is none": (["no.pt", "a.png", "b.png", "out.png"], "there is no no.pt"),
        "an image as the model": (
            ["a.png", "a.png", "b.png", "out.png"],
            "a.png cannot be read as a model .*: give a run",
        ),
        "an image that is none": (["tiny", "none.png", "b.png", "out.png"], "there is no none.png"),
        "a text": (["tiny", "text.png", "b.png", "out.png"], "text.png is not a PNG, JPEG or WebP"),
        "no suffix": (
            ["tiny", "a.png", "b.png", "sub/out"],
            "out ends in no .png.*: name it sub/out.png",
        ),
        "another suffix": (["tiny", "a.png", "b.png", "out.gif"], "name it out.png"),
        "one that is read": (
            ["tiny", "a.png", "b.png", "./b.png"],
            "b.png is one of the images that",
        ),
        "a folder to write": (
            ["tiny", "a.png", "b.png", "dir.png"],
            "dir.png is a folder: name a file",
        ),
        "a folder to read": (
            ["tiny", "dir.png", "b.png", "out.png"],
            "dir.png is a folder: name one im",
        ),
        "no folder for it": (["tiny", "a.png", "b.png", "a.png/out.png"], "cannot write a.png/out"),
        "an odd name": (["{tiny}", "a.png", "b.png", "out.png"], "'{tiny}' cannot name a run"),
    }.values(),
)
def test_each_fault_is_a_sentence(folder, arguments, sentence):
    (folder / "text.png").write_text("no image")
    (folder / "dir.png").mkdir()
    before = (folder / "b.png").read_bytes()
    with pytest.raises(UserError, match=sentence) as error:
        swap.main(arguments)
    assert "\n" not in str(error.value)
    assert not (folder / "out.png").exists() and not (folder / "out").exists()
    assert (folder / "b.png").read_bytes() == before


def test_a_checkpoint_is_no_model(folder, few_sprites):
    run = new_run("begun", few_sprites, "smoke", 0, make_hparams("smoke", **TINY))
    path = save_run(run, (), torch.Generator())
    with pytest.raises(UserError, match="is of a training that has not ended"):
        swap.main([str(path), "a.png", "b.png", "out.png"])


def test_two_images_are_too_few(folder, capsys):
    with pytest.raises(SystemExit):
        swap.main(["tiny", "a.png", "b.png"])
    assert "give one A, one B and the file to write" in capsys.readouterr().err
