"""The files of MNIST: found, downloaded and read. Small files of its format stand in for them."""

import functools
import gzip
import hashlib
import http.server
import os
import socket
import sys
import threading
import types
from http.client import IncompleteRead
from urllib.error import URLError

import numpy as np
import pytest

from lib.data.image_set import UNKNOWN
from lib.data.mnist import FILES, download_mnist, find_mnist, mnist_stamp, read_mnist
from lib.data.stored import load_images, store_images
from lib.system import paths
from lib.system.errors import UserError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the files belong, not made yet."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    return paths.DATA / "raw" / "MNIST" / "raw"


def idx(array):
    """The content of an IDX file of bytes."""
    header = [0x0800 + array.ndim, *array.shape]
    return np.array(header, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def digits(n, seed):
    """Images (n, 28, 28) and labels (n,), which hold all digits."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28)), rng.permutation(np.arange(n) % 10)


def contents():
    """The bytes of the four files, of 60 and 20 images."""
    arrays = (*digits(60, seed=0), *digits(20, seed=1))
    return {name: idx(array) for name, array in zip(FILES, arrays, strict=True)}


def write(folder, changed=None, compressed=()):
    """The four files, of which some have `changed` content by their name, or None."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**contents(), **(changed or {})}.items():
        if content is not None and name in compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        elif content is not None:
            (folder / name).write_bytes(content)
    return folder


def fault(folder):
    """The sentence with which reading fails."""
    with pytest.raises(UserError) as raised:
        read_mnist(folder, progress=False)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Reading


@pytest.mark.parametrize("compressed", [(), FILES, (TRAIN_IMAGES, TEST_LABELS)])
def test_files_are_read_plain_and_compressed(folder, compressed):
    data = read_mnist(write(folder, compressed=compressed), progress=False)
    images, labels = (np.concatenate(p) for p in zip(digits(60, 0), digits(20, 1), strict=True))
    assert data.images.shape == (80, 32, 32, 3)
    assert data.images.dtype == np.uint8
    assert data.character.tolist() == sorted(labels)
    for digit in range(10):  # train, then test
        shown = data.images[data.images_of(digit), 2:30, 2:30]
        assert (shown == images[labels == digit][..., None]).all()
    margin = np.ones((32, 32), bool)
    margin[2:30, 2:30] = False
    assert not data.images[:, margin].any()
    assert data.fingerprint == f"mnist {hashlib.sha256(data.images).hexdigest()}"


def test_what_is_known_of_the_images(folder):
    data = read_mnist(write(folder), progress=False)
    assert (data.source, data.names) == ("mnist", tuple("0123456789"))
    assert (data.pose == UNKNOWN).all()
    assert not data.has_truth
    assert not data.attributes
    assert data.n_identities == 10
    assert (data.attribution.title, data.attribution.character) == ("MNIST", "digit")
    assert "LeCun, Cortes and Burges (CC BY-SA 3.0)" in data.attribution.credit


def test_they_are_stored(folder):
    data = read_mnist(write(folder), progress=False)
    store_images("mnist", mnist_stamp(folder), lambda: data)
    assert np.array_equal(load_images("mnist").images, data.images)


def test_a_name_may_hide_whether_a_file_is_compressed(folder):
    write(folder, {TRAIN_IMAGES: gzip.compress(contents()[TRAIN_IMAGES])})
    (folder / TEST_IMAGES).rename(folder / f"{TEST_IMAGES}.gz")
    assert len(read_mnist(folder, progress=False).images) == 80


def test_progress_is_shown_only_if_asked(folder, capsys):
    read_mnist(write(folder), progress=False)
    assert capsys.readouterr() == ("", "")
    read_mnist(folder)
    assert "reading MNIST" in capsys.readouterr().err


CUT = contents()
BAD = {  # the file, its content, what the sentence says
    "missing": (TRAIN_LABELS, None, "lacks train-labels-idx1-ubyte of MNIST"),
    "empty": (TRAIN_IMAGES, b"", "is truncated, for it has 0 bytes"),
    "cut in its header": (TRAIN_IMAGES, CUT[TRAIN_IMAGES][:9], "is truncated, for it has 9 bytes"),
    "cut": (
        TEST_IMAGES,
        CUT[TEST_IMAGES][:-1],
        "is truncated, for it has 15,695 bytes, not 15,696",
    ),
    "cut labels": (TEST_LABELS, CUT[TEST_LABELS][:-1], "is truncated, for it has 27 bytes, not 28"),
    "too long": (TEST_LABELS, CUT[TEST_LABELS] + b"\0", "is damaged, for it has 29 bytes"),
    "labels as images": (
        TRAIN_IMAGES,
        CUT[TRAIN_LABELS],
        "holds no images of MNIST, for it starts with 2049, not 2051",
    ),
    "images as labels": (TEST_LABELS, CUT[TEST_IMAGES], "holds no labels of MNIST"),
    "a page": (TEST_IMAGES, b"<!DOCTYPE html>", "holds no images of MNIST"),
    "compressed and cut": (
        TRAIN_IMAGES,
        gzip.compress(CUT[TRAIN_IMAGES])[:-20],
        "is truncated or damaged",
    ),
    "compressed and damaged": (
        TRAIN_IMAGES,
        gzip.compress(CUT[TRAIN_IMAGES])[:-8] + bytes(8),
        "is truncated or damaged",
    ),
    "of another size": (
        TRAIN_IMAGES,
        idx(np.zeros((60, 20, 30))),
        "has images of 20x30 pixels, not 28x28",
    ),
    "fewer labels": (TRAIN_LABELS, idx(np.arange(59) % 10), "has 59 labels for the 60 images of"),
    "other labels": (TEST_LABELS, idx(np.arange(20)), "has the label 19, which is no digit"),
}


@pytest.mark.parametrize("name, content, says", BAD.values(), ids=BAD)
def test_a_fault_is_named_with_its_file(folder, name, content, says):
    write(folder, {name: content})
    sentence = fault(folder)
    assert says in sentence
    assert name in sentence
    assert "--download" in sentence


def test_a_damaged_compressed_file_is_named_as_it_is(folder):
    write(folder, compressed=FILES)
    path = folder / f"{TEST_IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:100])
    assert fault(folder).startswith(f"{path} is truncated")


def test_a_folder_in_the_place_of_a_file_is_named(folder):
    write(folder, {TEST_IMAGES: None})
    (folder / TEST_IMAGES).mkdir()
    assert "cannot be read (Is a directory)" in fault(folder)


def test_all_ten_digits_must_be_there(folder):
    write(folder, {TRAIN_LABELS: idx(np.arange(60) % 8), TEST_LABELS: idx(np.arange(20) % 8)})
    assert "label no image as 8 or 9" in fault(folder)


# Finding


def test_the_folder_is_found_if_it_holds_a_file(folder):
    assert find_mnist() is None
    folder.mkdir(parents=True)
    assert find_mnist() is None
    (folder / f"{TEST_LABELS}.gz").touch()
    assert find_mnist() == folder


def test_the_stamp_changes_with_the_files_only(folder):
    stamp = mnist_stamp(write(folder))
    assert mnist_stamp(folder) == stamp
    (folder / "other").touch()
    assert mnist_stamp(folder) == stamp
    os.utime(folder / TEST_LABELS, (0, 0))
    assert mnist_stamp(folder) != stamp
    (folder / TRAIN_LABELS).unlink()
    with pytest.raises(UserError, match="lacks train-labels-idx1-ubyte"):
        mnist_stamp(folder)


# Downloading


@pytest.fixture
def use(monkeypatch):
    """Puts a function (root, download) in the place of torchvision's MNIST."""

    def replace(mnist):
        fake = types.ModuleType("torchvision.datasets")
        fake.MNIST = mnist
        monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, "torchvision.datasets", fake)

    return replace


def left(folder):
    """The files that a download left."""
    raw = folder.parents[1]
    return sorted(p.name for p in raw.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_complete_files_take_their_names(folder, use, capfd):
    def mnist(root, download):
        assert download
        assert socket.getdefaulttimeout() == 30
        assert not left(folder)
        write(root / "MNIST" / "raw")
        print("of torchvision")
        print("of torchvision", file=sys.stderr)

    use(mnist)
    assert download_mnist() == folder == find_mnist()
    assert left(folder) == sorted(FILES)
    assert capfd.readouterr() == ("", "downloading MNIST (12 MB)\n")
    assert socket.getdefaulttimeout() is None
    assert len(read_mnist(folder, progress=False).images) == 80


def test_nothing_is_said_without_progress(folder, use, capfd):
    use(lambda root, download: write(root / "MNIST" / "raw"))
    download_mnist(progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compressed", [(), FILES])
def test_files_that_are_there_are_not_downloaded(folder, use, compressed):
    use(None)  # calling it would fail
    write(folder, compressed=compressed)
    assert download_mnist() == folder


def test_a_missing_file_is_downloaded(folder, use):
    use(lambda root, download: write(root / "MNIST" / "raw"))
    write(folder, {TRAIN_LABELS: None})
    download_mnist(progress=False)
    assert left(folder) == sorted(FILES)


def test_what_a_stopped_process_left_is_removed(folder, use):
    use(lambda root, download: write(root / "MNIST" / "raw", {TRAIN_LABELS: None}))
    half = paths.DATA / "raw" / ".MNIST.partial" / "MNIST" / "raw"
    write(half)
    with pytest.raises(UserError):  # the labels of `half` do not count
        download_mnist(progress=False)
    assert TRAIN_LABELS not in left(folder)


@pytest.mark.parametrize(
    "error",
    [
        URLError("no route"),
        RuntimeError("Error downloading a.gz:\nTried b, got:\nno route\n"),
        OSError(28, "No space left on device"),
        TimeoutError(),
        IncompleteRead(b"12"),
        ValueError("unknown url type"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_says_how_to_place_the_files(folder, use, error):
    def mnist(root, download):
        write(root / "MNIST" / "raw", {TEST_IMAGES: None})
        raise error

    use(mnist)
    with pytest.raises(UserError) as raised:
        download_mnist(progress=False)
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert f"into {folder}" in sentence
    assert all(name in sentence for name in FILES)
    assert not left(folder)
    assert find_mnist() is None
    assert socket.getdefaulttimeout() is None


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder whose files a server sends, and torchvision's MNIST asks for: .gz of the four."""
    from torchvision.datasets import MNIST

    class Handler(http.server.SimpleHTTPRequestHandler):
        released = threading.Event()

        def do_GET(self):
            if (tmp_path / "silent").exists():
                self.released.wait(10)
            super().do_GET()

        def log_message(self, *_):
            pass

    served = write(tmp_path / "served", compressed=FILES)
    handler = functools.partial(Handler, directory=served)
    sender = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=sender.serve_forever, args=(0.01,), daemon=True).start()
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in served.iterdir()}
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{sender.server_port}/"])
    monkeypatch.setattr(MNIST, "resources", [(f"{name}.gz", md5[f"{name}.gz"]) for name in FILES])
    yield served
    Handler.released.set()
    sender.shutdown()
    sender.server_close()


def test_torchvision_downloads_them(folder, server, capfd, tmp_path):
    path = server / f"{TEST_IMAGES}.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")
    with pytest.raises(UserError, match=r"\(Error downloading t10k-images.*corrupted"):
        download_mnist(progress=False)
    path.unlink()
    with pytest.raises(UserError, match="404"):
        download_mnist(progress=False)
    path.write_bytes(content)
    (tmp_path / "silent").touch()
    with pytest.raises(UserError, match="timed out"):
        download_mnist(progress=False, timeout=0.2)
    (tmp_path / "silent").unlink()
    assert not left(folder)

    download_mnist(progress=False)
    assert capfd.readouterr() == ("", "")
    assert left(folder) == sorted(FILES)
    assert len(read_mnist(folder, progress=False).images) == 80
