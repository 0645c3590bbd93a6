"""A user's own images: how files become images, identities, poses, labels and factors; and the
sentence for each fault.
"""

import csv
import io
import os
import shutil
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data import folder
from lib.data.folder import (
    check_background,
    folder_source,
    folder_stamp,
    letterbox,
    open_image,
    read_folder,
    read_image,
)
from lib.data.image_set import UNKNOWN, ImageSet, distinct_images, from_arrays, to_arrays
from lib.data.stored import FOLDER_SOURCE
from lib.system.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
# the filter of lib.data.folder, which pytest resets
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")


def save(path: Path, seed: int = 0, size: tuple[int, int] = (16, 16), **options) -> Path:
    """Writes an image that no other seed has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (seed % 256, seed // 256 % 256, 128)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def plant(path: Path, folders=tuple("abcdef"), stems=("x", "y"), suffix=".png") -> Path:
    """A folder with these identities, each with these images."""
    for n, name in enumerate(folders):
        for k, stem in enumerate(stems):
            save(path / name / f"{stem}{suffix}", 100 * n + k)
    return path


def read(path: Path, size: int = 16, **options) -> ImageSet:
    return read_folder(path, size, progress=False, **options)


def write_csv(path: Path, *rows) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def sentence(call, *arguments, **options) -> str:
    """The sentence of the UserError that this call raises."""
    with pytest.raises(UserError) as error:
        call(*arguments, **options)
    text = str(error.value)
    assert "\n" not in text and ": " in text and not text.endswith(".")
    return text


@pytest.fixture
def photos(tmp_path):
    """Six identities, a to f, each with two images, x and y."""
    return plant(tmp_path / "photos")


# How files become an image set


def test_drawn_sprites_come_back_from_a_folder(few_sprites, tmp_path):
    characters, poses = np.arange(8), np.arange(0, few_sprites.n_poses, 4)
    index = few_sprites.image_at(characters[:, None], poses)
    images = few_sprites.images[index.ravel()]
    labels = few_sprites.labels[characters]
    cluster = np.unique(few_sprites.character_cluster[characters], return_inverse=True)[1]
    original = ImageSet(
        source="drawn",
        images=images,
        character=characters.repeat(len(poses)),
        names=tuple(f"sprite {c:02}" for c in characters),
        distinct=distinct_images(images),
        fingerprint="",
        attribution=few_sprites.attribution,
        pose=np.tile(np.arange(len(poses)), len(characters)),
        labels=labels,
        attributes=few_sprites.attributes,
        cluster_of_character=cluster,
    )
    path = tmp_path / "sprites"
    for image, c, pose in zip(images, original.character, original.pose, strict=True):
        file = path / original.names[c] / f"pose {pose:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file, compress_level=1)
    rows = zip(original.names, labels.tolist(), cluster.tolist(), strict=True)
    write_csv(
        path / "labels.csv",
        ("sprite", *original.attributes, "cluster"),
        *((name, *values, number) for name, values, number in rows),
    )
    factors = few_sprites.factors
    write_csv(
        path / "poses.csv",
        ("pose", *factors),
        *(
            (f"pose {n:03}", *(f.values[f.of_pose[pose]] for f in factors.values()))
            for n, pose in enumerate(poses)
        ),
    )

    found = read_folder(path, 60, progress=False)

    for name in ("images", "character", "pose", "labels", "distinct"):
        np.testing.assert_array_equal(getattr(found, name), getattr(original, name), name)
    for name in ("character_identity", "character_cluster"):
        np.testing.assert_array_equal(getattr(found, name), getattr(original, name), name)
    assert found.n_identities == 4
    assert found.names == original.names and found.attributes == original.attributes
    assert found.attribution.character == "sprite" and found.attribution.cluster == "cluster"
    assert found.has_truth
    for name, factor in factors.items():
        np.testing.assert_array_equal(found.factors[name].of_pose, factor.of_pose[poses], name)
        assert found.factors[name].values == factor.values


def test_folders_are_identities_and_equal_names_are_poses(tmp_path, capsys):
    path = plant(tmp_path / "My Cars", "fbdace", ("left", "front"))
    save(path / "b" / "a rest.jpg", 7)
    save(path / "d" / "zebra.webp", 8)
    found = read(path)
    assert found.names == tuple("abcdef")
    assert found.pose_names == ("front", "left")
    assert found.character.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5]
    assert found.pose.tolist() == [0, 1, UNKNOWN, 0, 1, 0, 1, 0, 1, UNKNOWN, 0, 1, 0, 1]
    assert found.images.shape == (14, 16, 16, 3) and found.images.dtype == np.uint8
    assert found.pose.dtype == found.character.dtype == np.int64
    np.testing.assert_array_equal(found.distinct, distinct_images(found.images))
    assert found.labels.shape == (6, 0) and found.attributes == () and found.factors == {}
    assert found.cluster_of_character is None and found.background == "black"
    assert found.attribution.title == "My Cars"
    assert found.attribution.credit == "Images: the folder My Cars."
    assert found.attribution.character == "identity"
    note = capsys.readouterr().err
    assert note.count("\n") == 1 and "2 in all" in note and "--poses unknown" in note


def test_with_unknown_poses_equal_names_mean_nothing(photos, capsys):
    write_csv(photos / "poses.csv", ("pose", "side"), ("x", 1))
    found = read(photos, poses="unknown")
    assert (found.pose == UNKNOWN).all() and found.pose_names == () and not found.has_truth
    assert "poses.csv" in capsys.readouterr().err  # it is ignored
    assert found.source != folder_source(photos, 16, "black")


def test_no_pose_is_known_where_no_name_is_shared(tmp_path, capsys):
    for n in range(12):
        save(tmp_path / f"{n // 2}" / f"{n}.png", n)
    found = read(tmp_path)
    assert (found.pose == UNKNOWN).all() and found.pose_names == () and not found.has_truth
    assert capsys.readouterr().err == ""


def test_a_stored_folder_is_read_as_it_was(photos):
    write_csv(photos / "labels.csv", ("car", "make"), *((name, "vw") for name in "abcdef"))
    found = read(photos, background="white")
    stored = from_arrays(to_arrays(found))
    assert stored.source == found.source and stored.background == "white"
    np.testing.assert_array_equal(stored.images, found.images)


def test_the_fingerprint_changes_with_the_images_alone(photos, tmp_path):
    first = read(photos).fingerprint
    assert first.startswith("folder ")
    copy = shutil.copytree(photos, tmp_path / "copy")
    os.rename(copy / "a", copy / "A")
    write_csv(copy / "labels.csv", ("car",), *"Abcdef")
    assert read(copy).fingerprint == first
    save(copy / "b" / "y.png", 999)
    assert read(copy).fingerprint != first


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_threads_reads_the_same(tmp_path, monkeypatch, capfd, workers):
    monkeypatch.setattr(folder, "CHUNK", 2)
    path = plant(tmp_path, "abcdefg", "xyz")
    found = read_folder(path, 16, workers=workers)
    files = sorted(path.glob("*/*.png"))
    expected = np.stack([read_image(file, 16, "black") for file in files])
    np.testing.assert_array_equal(found.images, expected)
    assert "reading the images: 100%" in capfd.readouterr().err


def test_of_many_faults_the_first_is_named(photos, monkeypatch):
    monkeypatch.setattr(folder, "CHUNK", 1)
    for name in ("b/y.png", "e/x.png"):
        (photos / name).write_bytes(b"")
    for _ in range(3):
        assert "b/y.png is empty" in sentence(read, photos, workers=4)


def test_every_suffix_is_read_in_any_case(tmp_path):
    for suffix in (".png", ".jpg", ".jpeg", ".webp", ".JPG", ".PnG"):
        plant(tmp_path, [suffix[1:] + "s"], suffix=suffix)
    assert read(tmp_path).n_characters == 6


# What is left out


def test_small_and_empty_folders_are_left_out_and_noted(photos, capsys):
    (photos / "empty").mkdir()
    save(photos / "single" / "x.png")
    found = read(photos)
    assert found.names == tuple("abcdef")
    notes = capsys.readouterr().err
    assert "without images, left out: 1 (empty)" in notes
    assert "fewer than 2 images, left out: 1 (single)" in notes


def test_everything_else_is_ignored_with_one_note(photos, capsys):
    write_csv(photos / "labels.csv", ("car",), *"abcdef")
    write_csv(photos / "poses.csv", ("pose",), *"xy")
    save(photos / "direct.png")
    save(photos / ".hidden" / "x.png")
    save(photos / "a" / "deeper" / "x.png")
    save(photos / "a" / ".y.jpg")
    (photos / "a" / "notes.txt").write_text("-")
    (photos / "b" / "folder.png").mkdir()
    os.mkfifo(photos / "b" / "pipe.png")
    assert len(read(photos).images) == 12
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "ignored" in line]
    assert ": 7 (" in note and "direct.png" in note and ".csv" not in note


def test_without_anything_to_note_nothing_is_noted(photos, capsys):
    read(photos, poses="unknown")
    assert capsys.readouterr() == ("", "")


# Names and links


@pytest.mark.parametrize(
    "name",
    ["日本語", "Ünïcödé ß", "{braces} %s %(x)s", "😀👩‍🔬", "a b  c", "<b>&amp;", "'\"`$HOME"],
)
def test_names_in_any_script_are_kept(tmp_path, capsys, name):
    name = unicodedata.normalize("NFC", name)
    path = plant(tmp_path / name, [f"{name}{n}" for n in range(6)], (name, f"{name}2"))
    write_csv(path / "labels.csv", (name, "make"), *((f"{name}{n}", 0) for n in range(6)))
    write_csv(path / "poses.csv", (name, "side"), (name, "l"), (f"{name}2", "r"))
    found = read(path)
    assert found.names == tuple(f"{name}{n}" for n in range(6))
    assert found.pose_names == (name, f"{name}2")
    assert found.attribution.title == found.attribution.character == name
    assert FOLDER_SOURCE.fullmatch(found.source)
    assert name in capsys.readouterr().err


def test_names_that_are_no_utf8_are_replaced(tmp_path, capsys):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    plant(path, [os.fsdecode(b"\xff%d" % n) for n in range(6)], (os.fsdecode(b"\xfe"), "x"))
    found = read(path)
    assert found.names[0] == r"\xff0" and found.pose_names == (r"\xfe", "x")
    assert found.attribution.title == r"caf\xe9"
    assert r"caf\xe9" in capsys.readouterr().err
    assert FOLDER_SOURCE.fullmatch(found.source) and folder_stamp(path, 16, "black")
    from_arrays(to_arrays(found)).names[0].encode()
    (path / os.fsdecode(b"\xff3") / "x.png").write_bytes(b"")
    assert r"caf\xe9/\xff3/x.png is empty" in sentence(read, path)


def test_a_line_break_in_a_name_breaks_no_line(tmp_path, capsys):
    path = plant(tmp_path / "two\nlines", [f"{n}\n\x1b" for n in range(6)])
    found = read(path)
    assert found.names[0] == r"0\n\x1b"
    assert capsys.readouterr().err.count("\n") == 1
    (path / "0\n\x1b" / "x.png").write_bytes(b"")
    assert r"two\nlines/0\n\x1b/x.png" in sentence(read, path)


def test_an_accent_is_the_same_however_it_is_written(tmp_path):
    composed, parts = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    path = plant(tmp_path, "abcde", (composed, "x"))
    plant(path, [parts], (parts, "x"))
    write_csv(path / "labels.csv", ("car",), *"abcde", composed)
    found = read(path)
    assert found.pose_names == ("x", composed) and (found.pose != UNKNOWN).all()
    assert found.names[-1] == composed


def test_links_to_folders_and_files_are_followed(tmp_path):
    real = plant(tmp_path / "real")
    path = tmp_path / "links"
    plant(path, "abcde")
    (path / "f").symlink_to(real / "f")
    (path / "a" / "x.png").unlink()
    (path / "a" / "x.png").symlink_to(real / "a" / "x.png")
    found = read(path)
    assert found.names == tuple("abcdef")
    np.testing.assert_array_equal(found.images, read(real).images)
    (tmp_path / "alias").symlink_to(path)
    assert read(tmp_path / "alias").source == found.source


def test_loops_of_links_are_ignored(photos, capsys):
    save(photos / "x.png"), save(photos / "y.png")
    (photos / "itself").symlink_to(photos)
    (photos / "above").symlink_to("..")
    (photos / "a" / "loop").symlink_to(photos)
    assert read(photos).names == tuple("abcdef")
    notes = capsys.readouterr().err
    assert "itself" in notes and "above" in notes


@pytest.mark.parametrize("name", ["g", "a/z.png", "a/z"])
@pytest.mark.parametrize("target", ["nothing", None])
def test_a_broken_link_is_named(photos, name, target):
    link = photos / name
    link.symlink_to(target or link)
    assert f"{link} is a link that leads nowhere" in sentence(read, photos)


# The folder as a whole


def test_a_folder_that_cannot_be_used_is_explained(tmp_path, monkeypatch):
    path = tmp_path / "cars"
    assert f"there is no {path}: give a folder" in sentence(read, path)
    path.write_bytes(b"")
    assert f"{path} is a file: give a folder" in sentence(read, path)
    path.unlink()
    path.mkdir()
    assert "has 0 folders" in sentence(read, path)
    save(path / "x.PNG")
    assert f"{path} holds images but no folders: put" in sentence(read, path)
    save(path / "all" / "a" / "x.png")
    assert "'all' in it holds folders of images, so give that folder" in sentence(read, path)
    (path / "all" / "a" / "x.png").rename(path / "all" / "x.HEIC")
    (path / "all" / "y.tiff").write_bytes(b"")
    assert "its 2 images in .heic, .tiff are not read, so save" in sentence(read, path)
    shutil.rmtree(path / "all")
    plant(path, "abcde"), save(path / "f" / "x.png"), (path / "g").mkdir()
    text = sentence(read, path)
    assert f"{path} has 5 folders with at least 2 images, of 6" in text and "2 with fewer" in text

    def forbid(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", forbid)
    assert f"{path} cannot be read (Permission denied): allow" in sentence(read, path)


def test_a_folder_that_is_forbidden_is_named(photos, monkeypatch):
    scandir = os.scandir

    def forbid(path):
        if str(path).endswith("c"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbid)
    assert f"{photos}/c cannot be read (Permission denied): allow" in sentence(read, photos)


def test_two_files_with_the_same_name_are_both_named(photos):
    save(photos / "c" / "y.jpg")
    text = sentence(read, photos)
    assert f"{photos}/c/y.jpg and {photos}/c/y.png have the same name: " in text


@pytest.mark.parametrize("size", [0, 15, 257, -16])
def test_a_size_out_of_range_is_refused(photos, size):
    for call in (read, folder_stamp):
        assert f"{size} pixels: choose one from 16 to 256" in sentence(
            call, photos, size, background="black"
        )


def test_unknown_options_are_refused(photos):
    assert "'guess': choose names or unknown" in sentence(read, photos, poses="guess")
    assert "'blakc'" in sentence(read, photos, background="blakc")
    assert "'blakc'" in sentence(folder_stamp, photos, 16, "blakc")


@pytest.mark.parametrize(
    "text, colour",
    [("black", (0, 0, 0)), ("White", WHITE), ("#0a141E", (10, 20, 30)), ("tomato", (255, 99, 71))],
)
def test_backgrounds_are_colours(text, colour):
    assert check_background(text) == colour


@pytest.mark.parametrize(
    "text", ["", "blakc", "#12345", "#11223344", "rgb(300,0,0)", "x" * 200, "a\nb", "%s"]
)
def test_what_is_no_colour_is_refused(text):
    assert "is no colour: give a name" in sentence(check_background, text)


# Source and stamp


@pytest.mark.parametrize(
    "name, slug",
    [
        ("cars", "-cars"),
        ("My  Cars (2)", "-my-cars-2"),
        ("Café", "-cafe"),
        ("日本語", ""),
        ("--", ""),
        ("x" * 80, "-" + "x" * 30),
        ("y" * 29 + " z", "-" + "y" * 29),
    ],
)
def test_a_source_is_named_after_its_folder(tmp_path, name, slug):
    source = folder_source(tmp_path / name, 64, "black")
    assert FOLDER_SOURCE.fullmatch(source)
    head, digits = source.rsplit("-", 1)
    assert head == f"folder{slug}" and len(digits) == 8 and int(digits, 16) >= 0


def test_a_source_changes_with_the_folder_and_the_options(photos, tmp_path, monkeypatch):
    sources = [
        folder_source(photos, 64, "black"),
        folder_source(photos, 32, "black"),
        folder_source(photos, 64, "white"),
        folder_source(photos, 64, "black", "unknown"),
        folder_source(tmp_path / "other" / "photos", 64, "black"),
    ]
    assert len(set(sources)) == len(sources)
    monkeypatch.chdir(photos)
    assert folder_source(".", 64, "black") == sources[0]
    assert folder_source(f"{photos}/../photos/", 64, "black") == sources[0]


def touch(path: Path) -> None:
    os.utime(path, (0, 0))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: touch(path / "a" / "x.png"),
        lambda path: save(path / "a" / "x.png", 5, (17, 17)),
        lambda path: save(path / "a" / "z.png"),
        lambda path: os.rename(path / "a", path / "A"),
        lambda path: os.rename(path / "a" / "x.png", path / "a" / "w.png"),
        lambda path: plant(path, "g"),
        lambda path: write_csv(path / "labels.csv", ("car",)),
        lambda path: write_csv(path / "poses.csv", ("pose",)),
    ],
)
def test_a_stamp_changes_with_the_files(photos, change):
    before = folder_stamp(photos, 16, "black")
    assert folder_stamp(photos, 16, "black") == before
    change(photos)
    assert folder_stamp(photos, 16, "black") != before


def test_a_stamp_changes_with_the_options_and_with_no_other_file(photos):
    before = folder_stamp(photos, 16, "black")
    (photos / "a" / "notes.txt").write_text("-")
    save(photos / "single" / "x.png")
    assert folder_stamp(photos, 16, "black") == before
    others = [(17, "black"), (16, "white"), (16, "black", "unknown")]
    assert before not in [folder_stamp(photos, *options) for options in others]


def test_each_folder_is_listed_once(photos, monkeypatch):
    scandir, seen = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: seen.append(str(path)) or scandir(path))
    folder_stamp(photos, 16, "black")
    assert sorted(seen) == [str(photos), *(f"{photos}/{name}" for name in "abcdef")]


# One image


def decoded(content: bytes, path: Path) -> Image.Image:
    path.write_bytes(content)
    return open_image(path)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, bits: int, kind: int, rows: bytes = b"", clear: bytes = b""):
    """A PNG as Pillow would not write it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    transparent = chunk(b"tRNS", clear) if clear else b""
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + transparent + data + chunk(b"IEND", b"")


def test_an_image_of_the_right_size_is_kept_to_the_bit():
    np.testing.assert_array_equal(letterbox(Image.fromarray(NOISE), 64, "white"), NOISE)


@pytest.mark.parametrize("width, height", [(64, 32), (32, 64), (64, 31), (3, 64)])
def test_a_narrow_image_lies_in_the_middle_of_the_background(width, height):
    inner = NOISE[:height, :width]
    found = letterbox(Image.fromarray(inner), 64, "#ff0000")
    top, left = (64 - height) // 2, (64 - width) // 2
    np.testing.assert_array_equal(found[top : top + height, left : left + width], inner)
    outside = np.ones((64, 64), bool)
    outside[top : top + height, left : left + width] = False
    assert (found[outside] == RED).all()


@pytest.mark.parametrize("scale", [1, 3, 10])
def test_a_larger_image_is_scaled_with_antialiasing(scale):
    smooth = Image.fromarray(NOISE).resize((200 * scale, 100 * scale), Image.Resampling.BICUBIC)
    found = letterbox(smooth, 32, "black")
    expected = np.asarray(smooth.resize((32, 16), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(found[8:24] - expected).max() <= 8 and not found[:8].any()
    assert np.abs(found[8:24] - expected).mean() < 1
    stripes = Image.fromarray(np.tile(np.uint8([0, 255]), (320, 160)))
    assert np.abs(letterbox(stripes, 32, "black")[:, 2:-2].astype(int) - 127).max() <= 3


def test_a_smaller_image_is_enlarged():
    assert (letterbox(Image.new("RGB", (8, 8), RED), 16, "black") == RED).all()


def test_a_line_stays_a_line():
    assert (letterbox(Image.new("RGB", (500, 1), RED), 16, "black")[7] == RED).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_orientation_of_a_camera_is_applied(tmp_path, kind, orientation):
    quarters = np.zeros((16, 16, 3), np.uint8)
    quarters[:8, :8], quarters[:8, 8:] = (200, 0, 0), (0, 200, 0)
    image = Image.fromarray(quarters)
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what a camera did, which viewers undo
    stored = image.transpose(back[orientation]) if orientation > 1 else image
    options = {"exif": exif} | ({"lossless": True} if kind == "WEBP" else {})
    content = encoded(stored, kind, **options)
    found = letterbox(decoded(content, tmp_path / "x.png"), 16, "black")
    assert np.abs(found.astype(int) - quarters)[[2, 2, 13], [2, 13, 5]].max() < 30


def test_damaged_exif_data_do_no_harm(tmp_path):
    image = Image.fromarray(NOISE)
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        content = encoded(image, "PNG", exif=exif)
        found = letterbox(decoded(content, tmp_path / "x.png"), 64, "black")
        np.testing.assert_array_equal(found, NOISE)


def half_clear(mode: str) -> Image.Image:
    """16x16: the left half is clear, the right one is half red, or half white."""
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.paste((*(RED if mode == "RGBA" else WHITE), 128), (8, 0, 16, 16))
    return image.convert(mode)


def palette(transparency) -> bytes:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 255, 0, 0])
    image.paste(1, (8, 0, 16, 16))
    return encoded(image, transparency=transparency)


GREYS = np.repeat([0, 257, 40_000, 65_535], 4).astype(">u2")
ROWS_16 = b"".join(b"\0" + GREYS.tobytes() for _ in range(16))
EIGHT = np.repeat([0, 1, 156, 255], 4)


PIXELS = {  # content, its rows on blue
    "RGBA": (encoded(half_clear("RGBA")), [BLUE] * 8 + [(128, 0, 127)] * 8),
    "LA": (encoded(half_clear("LA")), [BLUE] * 8 + [(128, 128, 255)] * 8),
    "WebP with alpha": (
        encoded(half_clear("RGBA"), "WEBP", lossless=True),
        [BLUE] * 8 + [(128, 0, 127)] * 8,
    ),
    "palette": (encoded(Image.new("P", (16, 16))), [(0, 0, 0)] * 16),
    "palette with a clear colour": (palette(0), [BLUE] * 8 + [RED] * 8),
    "palette with alpha": (palette(b"\xff\x80"), [(10, 20, 30)] * 8 + [(128, 0, 127)] * 8),
    "grey": (encoded(Image.new("L", (16, 16), 77)), [(77, 77, 77)] * 16),
    "clear grey": (encoded(Image.new("L", (16, 16), 77), transparency=77), [BLUE] * 16),
    "clear red": (encoded(Image.new("RGB", (16, 16), RED), transparency=RED), [BLUE] * 16),
    "1 bit": (png(16, 16, 1, 0, b"\0\xff\0" * 16), [WHITE] * 8 + [(0, 0, 0)] * 8),
    "clear 1 bit": (png(16, 16, 1, 0, b"\0\xff\0" * 16, b"\0\1"), [BLUE] * 8 + [(0, 0, 0)] * 8),
    "clear 2 bits": (png(16, 16, 2, 0, b"\0\xaa\xaa\xff\xff" * 16, b"\0\2"), [BLUE, WHITE]),
    "clear 4 bits": (png(16, 16, 4, 0, (b"\0" + b"\x3f" * 8) * 16, b"\0\3"), [BLUE, WHITE] * 8),
    "16 bits": (png(16, 16, 16, 0, ROWS_16), [(v, v, v) for v in EIGHT]),
    "clear 16 bits": (
        png(16, 16, 16, 0, ROWS_16, struct.pack(">H", 40_000)),
        [(0, 0, 0)] * 4 + [(1, 1, 1)] * 4 + [BLUE] * 4 + [WHITE] * 4,
    ),
    "CMYK": (encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), [(254, 0, 0)] * 16),
    "grey JPEG": (encoded(Image.new("L", (16, 16), 77), "JPEG"), [(77, 77, 77)] * 16),
}


@pytest.mark.parametrize("kind", PIXELS)
def test_every_kind_of_pixel_is_read_on_the_background(tmp_path, recwarn, kind):
    content, row = PIXELS[kind]
    found = read_image_of(content, tmp_path / "x.png", 16, "blue")
    row = np.repeat(row, 16 // len(row), axis=0)
    assert np.abs(found.astype(int) - row).max() <= 1
    assert not recwarn.list


def read_image_of(content: bytes, path: Path, size: int, background: str) -> np.ndarray:
    path.write_bytes(content)
    return read_image(path, size, background)


def test_a_picture_with_a_preview_is_not_animated(tmp_path):
    image, preview = Image.fromarray(NOISE), Image.new("RGB", (16, 16))
    content = encoded(image, "MPO", save_all=True, append_images=[preview])
    assert decoded(content, tmp_path / "x.jpg").size == (64, 64)


def test_the_content_decides_on_the_format(tmp_path):
    content = encoded(Image.fromarray(NOISE), "WEBP", lossless=True)
    np.testing.assert_array_equal(read_image_of(content, tmp_path / "x.jpg", 64, "black"), NOISE)


FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (64, 64), RED)]}
FAULTS = {  # content, what the sentence says
    "empty": (b"", "is empty: copy"),
    "text": (b"hello", "is not a PNG, JPEG or WebP image: save it"),
    "gif": (encoded(Image.fromarray(NOISE), "GIF"), "is not a PNG, JPEG or WebP image: save it"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a PNG, JPEG or WebP image: save it"),
    "animated png": (encoded(Image.fromarray(NOISE), **FRAMES), "is animated: save one frame"),
    "animated webp": (
        encoded(Image.fromarray(NOISE), "WEBP", **FRAMES),
        "is animated: save one frame",
    ),
    "tiny": (encoded(Image.new("RGB", (7, 64))), "has 7x64 pixels, fewer than 8 on a side: take"),
    "narrow": (encoded(Image.new("RGB", (8, 600))), "has 8x600 pixels, of which 64x64 would"),
    "large": (png(10_000, 9_500, 8, 2), "has more than 89 million pixels: scale it down"),
    "huge": (png(100_000, 90_000, 8, 2), "has more than 89 million pixels: scale it down"),
    "bad pixels": (png(16, 16, 8, 2, b"\0" * 9), "is truncated or damaged: copy"),
    **{
        f"{kind}, {share} of it": (content[: int(len(content) * share)], "is truncated or damaged")
        for kind in ("PNG", "JPEG", "WEBP")
        for content in [encoded(Image.fromarray(NOISE), kind)]
        for share in (0.01, 0.5, 0.95)
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_used_is_named(photos, fault):
    content, expected = FAULTS[fault]
    file = photos / "d" / "x.png"
    file.write_bytes(content)
    assert f"{file} {expected}" in sentence(read_folder, photos, 64, progress=False)


def test_a_file_that_is_forbidden_or_absent_is_named(tmp_path, monkeypatch):
    file = tmp_path / "x.png"
    assert f"there is no {file}: give" in sentence(open_image, file)

    def forbid(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder, "open", forbid, raising=False)
    assert f"{file} cannot be read (Permission denied): allow" in sentence(open_image, file)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_file_is_read_or_named(tmp_path, kind):
    rng, file = np.random.default_rng(0), tmp_path / "x.png"
    content = np.frombuffer(encoded(Image.fromarray(NOISE[:16, :16]), kind), np.uint8)
    for _ in range(60):
        damaged = content.copy()
        at = rng.integers(0, len(content), 3)
        damaged[at] = rng.integers(0, 256, 3)
        file.write_bytes(damaged)
        try:
            assert read_image(file, 16, "black").shape == (16, 16, 3)
        except UserError as error:
            assert str(file) in str(error) and "\n" not in str(error)


def test_an_image_can_be_used_after_its_file_is_gone(tmp_path):
    file = save(tmp_path / "x.jpg")
    image = open_image(file)
    file.unlink()
    assert letterbox(image, 16, "black").shape == (16, 16, 3)


# labels.csv and poses.csv


def test_labels_keep_small_integers_and_number_other_values(photos):
    write_csv(
        photos / "labels.csv",
        ("car", "doors", "year", "colour", "cluster", "mixed", "bigger than int64"),
        ("b", 4, 1999, "red", "truck", "1", 10**30),
        ("a", 2, 2004, "blue", "van", "x", 1),
        ("c", 4, -5, "red", "truck", "1", 10**30),
        ("d", 255, 1999, "green", "bus", "2", 2),
        ("e", 0, 300, " blue ", "van", "x", 1),
        ("f", 5, 2004, "red", "bus", "1", 1),
    )
    found = read(photos)
    assert found.attribution.character == "car" and found.attribution.cluster == "cluster"
    assert found.attributes == ("doors", "year", "colour", "mixed", "bigger than int64")
    assert found.labels.dtype == np.int64 and found.labels.shape == (6, 5)
    doors, year, colour, mixed, big = found.labels.T.tolist()
    assert doors == [2, 4, 4, 255, 0, 5]
    assert year == [3, 2, 0, 2, 1, 3]
    assert colour == [1, 0, 0, 2, 1, 0]
    assert mixed == [1, 0, 0, 2, 1, 0]
    assert big == [1, 0, 0, 2, 1, 1]
    assert found.cluster_of_character.tolist() == [1, 0, 0, 2, 1, 2]
    assert found.cluster_of_character.dtype == np.int64


def test_clusters_are_numbered_from_0(photos):
    rows = zip("abcdef", (7, 3, 7, 9, 3, 3), strict=True)
    write_csv(photos / "labels.csv", ("car", "cluster"), *rows)
    found = read(photos)
    assert found.character_cluster.tolist() == [1, 0, 1, 2, 0, 0] and found.attributes == ()
    assert found.labels.shape == (6, 0)


def test_factors_are_ranked_by_value_and_texts_by_appearance(tmp_path):
    path = plant(tmp_path / "cars", stems=("p", "q", "r"))
    save(path / "a" / "only a.png")
    write_csv(
        path / "poses.csv",
        ("pose", "angle", "light"),
        ("only a", 0, "none"),  # its pose is not known
        ("r", 90, "dark"),
        ("p", -45, "bright"),
        ("q", 90, "dark"),
    )
    found = read(path)
    angle, light = found.factors.values()
    assert angle.of_pose.tolist() == [0, 1, 1] and angle.values == ("-45", "90")
    assert light.of_pose.tolist() == [1, 0, 0] and light.values == ("dark", "bright")
    assert angle.of_pose.dtype == np.int64


@pytest.mark.parametrize(
    "content",
    [
        b"car,colour\na,red\nb,blue\nc,red\nd,red\ne,red\nf,blue\n",
        b"\xef\xbb\xbfcar,colour\r\na,red\r\nb,blue\r\nc,red\r\nd,red\r\ne,red\r\nf,blue\r\n",
        b"car;colour\na;red\nb;blue\nc;red\nd;red\ne;red\nf;blue",
        b"car\tcolour\na\tred\nb\tblue\nc\tred\nd\tred\ne\tred\nf\tblue\n",
        b'"car", colour\n"a",red\n b ,blue\n\n,\nc,"red"\nd,red\ne,red\nf,blue\n,\n\n',
    ],
)
def test_tables_of_other_programs_are_read(photos, content):
    (photos / "labels.csv").write_bytes(content)
    found = read(photos)
    assert found.attribution.character == "car" and found.attributes == ("colour",)
    assert found.labels[:, 0].tolist() == [0, 1, 0, 0, 0, 1]


def test_rows_of_folders_that_are_left_out_are_allowed(photos):
    save(photos / "g" / "x.png")
    rows = [(name, name) for name in "gabcdef"]
    write_csv(photos / "labels.csv", ("car", "name"), *rows)
    assert read(photos).labels[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


ROWS = [f"{name},1" for name in "abcdef"]
TABLES = {  # the rows of labels.csv, what the sentence says
    "no file": ([], "is empty: give it a header"),
    "missing row": (["car,make", *ROWS[:4], ROWS[5]], "has no row for the folder 'e': add one"),
    "no header": (ROWS, "has no row for the folder 'a': add one"),
    "empty cell": (["car,make", *ROWS[:3], "d, ", *ROWS[4:]], "line 5, has no make for 'd': fill"),
    "unknown folder": (
        ["car,make", *ROWS, "g,1"],
        "line 8, names 'g', but there is no such folder: mend",
    ),
    "misspelt folder": (
        ["car,make", *ROWS, "aa,1"],
        "line 8, names 'aa', but there is no such folder (did you mean a?): mend",
    ),
    "second row": (["car,make", *ROWS, "b,1"], "line 8, has a second row for 'b', after line 3: "),
    "long row": (["car,make", "a,1,2", *ROWS[1:]], "line 2, has 3 cells in the row of 'a', not 2"),
    "short row": (["car,make", "a", *ROWS[1:]], "line 2, has 1 cells in the row of 'a', not 2"),
    "no name": (["car,make", ",1", *ROWS], "line 2, names '', but there is no such folder"),
    "quote": (["car,make", '"a,1', *ROWS[1:]], "line 7, is no row of a .csv file (unexpected end"),
    "column twice": (["car,make,make", *ROWS], "line 1, has 'make' twice in its header: give"),
    "no column": (["car,,make", *ROWS], "line 1, has a column without a header: give"),
    "reserved": (["car,pose", *ROWS], "has a column 'pose', a name that means something else"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_fault_in_labels_is_named_with_its_line(photos, fault):
    rows, expected = TABLES[fault]
    file = photos / "labels.csv"
    file.write_text("\n".join(rows))
    text = sentence(read, photos)
    assert text.startswith(str(file)) and expected in text


@pytest.mark.parametrize(
    "content, line, value",
    [
        (b"car,make\na,Citro\xebn\n", 2, r"a,Citro\xebn"),
        ("car,make\na,1\n".encode("utf-16"), 1, r"\xff\xfec"),
    ],
)
def test_another_encoding_is_named_with_its_line(photos, content, line, value):
    (photos / "labels.csv").write_bytes(content)
    text = sentence(read, photos)
    assert f"labels.csv, line {line}, is not UTF-8: '{value}" in text
    assert text.endswith("save the file as UTF-8")


@pytest.mark.parametrize(
    "rows, expected",
    [
        (["pose,side", "x,l"], "poses.csv has no row for the image 'y': add one"),
        (["pose,side", "x,l", "y,r", "z,l"], "line 4, names 'z', but there is no such image"),
        (["pose,identity", "x,l", "y,r"], "poses.csv has a column 'identity', a name"),
        (["pose,make", "x,l", "y,r"], "poses.csv has a column 'make', a name"),
        (["pose,side", "x,l", "y,"], "poses.csv, line 3, has no side for 'y'"),
    ],
)
def test_a_fault_in_poses_is_named(photos, rows, expected):
    (photos / "labels.csv").write_text("\n".join(["car,make", *ROWS]))
    (photos / "poses.csv").write_text("\n".join(rows))
    assert expected in sentence(read, photos)


def test_a_table_that_is_forbidden_is_named(photos, monkeypatch):
    write_csv(photos / "labels.csv", ("car",))

    def forbid(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbid)
    assert "labels.csv cannot be read (Permission denied): allow" in sentence(read, photos)
