"""MNIST: its four files, found, downloaded by torchvision, and read.

They are read here, not by torchvision: that takes seconds to import, reads no .gz, and answers a
damaged file with an assertion.
"""

import contextlib
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import socket
import sys
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.data.digits import DIGITS, digit_set
from lib.data.image_set import Attribution, ImageSet
from lib.system import paths
from lib.system.errors import UserError
from lib.system.files import exclusive_lock

FILES = (  # images, then their labels
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SIDE = 28  # pixels of the published images
PAD = 2  # black pixels on each side: 32 can be halved five times
MAGIC = 0x0800  # of a file of bytes; its last byte counts the dimensions
GZIP = b"\x1f\x8b"
ATTRIBUTION = Attribution(
    "MNIST", "Digits: MNIST by LeCun, Cortes and Burges (CC BY-SA 3.0).", character="digit"
)


def find_mnist() -> Path | None:
    """`data/raw/MNIST/raw`, where torchvision puts MNIST, if any of its files is there."""
    folder = _folder()
    return folder if any(_present(folder)) else None


def download_mnist(progress: bool = True, timeout: float = 30) -> Path:
    """Download the files that `find_mnist` finds, unless all are there. Returns their folder.

    torchvision checks them. They take their names when all are complete.

    Raises: UserError that says why it failed, and where to put the files.
    """
    folder = _folder()
    raw = paths.DATA / "raw"
    with exclusive_lock(raw / "MNIST", "downloading MNIST"):
        if all(_present(folder)):
            return folder
        if progress:
            print("downloading MNIST (12 MB)", file=sys.stderr, flush=True)
        partial = raw / ".MNIST.partial"
        try:
            # torchvision would take what a stopped process left here for complete
            shutil.rmtree(partial, ignore_errors=True)
            with _silence(), _socket_timeout(timeout):
                from torchvision.datasets import MNIST  # takes seconds to import

                MNIST(root=partial, download=True)
            folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                os.replace(partial / "MNIST" / "raw" / name, folder / name)
        except (OSError, RuntimeError, ValueError, HTTPException) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"MNIST could not be downloaded ({reason}): try again, or put its files"
                f" {', '.join(FILES)} into {folder}, as they are or as .gz"
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def mnist_stamp(folder: Path) -> str:
    """Changes with the names, sizes and times of the files, and with how they are read.

    While it is the same, the files need not be read again.

    Raises: UserError where one is missing.
    """
    stats = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in _files(folder)]
    return hashlib.sha256(json.dumps([stats, SIDE, PAD]).encode()).hexdigest()


def read_mnist(folder: Path, progress: bool = True) -> ImageSet:
    """The digits in the four files, each as it is or as .gz: of each digit train, then t10k.

    The 28x28 pixels get a black margin, so that images are 32x32.

    Raises: UserError that names the first file that is missing, damaged or foreign.
    """
    bar = tqdm(_files(folder), desc="reading MNIST", unit=" files", disable=not progress)
    files, arrays = [], []
    for name, path in zip(FILES, bar, strict=True):
        files.append(path)
        arrays.append(_read_idx(path, (SIDE, SIDE) if "images" in name else ()))
    for n in (0, 2):
        _check_labels(files[n + 1], arrays[n + 1], files[n], len(arrays[n]))
    digit = np.concatenate(arrays[1::2])
    absent = [name for n, name in enumerate(DIGITS) if n not in digit]
    if absent:
        raise UserError(
            f"{files[1]} and {files[3]} label no image as {' or '.join(absent)}: put the files of"
            " all ten digits there"
        )
    grey = np.pad(np.concatenate(arrays[::2]), ((0, 0), (PAD, PAD), (PAD, PAD)))
    return digit_set("mnist", grey, digit, ATTRIBUTION)


def _folder() -> Path:
    return paths.DATA / "raw" / "MNIST" / "raw"


def _present(folder: Path) -> list[Path | None]:
    """The path of each of FILES, as it is rather than as .gz; None for those not there."""
    candidates = ((folder / name, folder / f"{name}.gz") for name in FILES)
    return [next((path for path in pair if path.exists()), None) for pair in candidates]


def _files(folder: Path) -> list[Path]:
    """The paths of FILES. Raises UserError where one is missing."""
    present = _present(folder)
    missing = [name for name, path in zip(FILES, present, strict=True) if path is None]
    if missing:
        raise UserError(
            f"{folder} lacks {' and '.join(missing)} of MNIST: put it there, as it is or as .gz, or"
            " fetch it with --download"
        )
    return present


def _read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """(n, *shape) uint8, the content of an IDX file, which may be compressed.

    Its header is big-endian: the magic number, n, and the `shape` of each item.

    Raises: UserError for another file, or one that is incomplete.
    """
    try:
        data = path.read_bytes()
        if data.startswith(GZIP):  # whatever its name: browsers decompress some files
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise _bad_file(path, "is truncated or damaged") from None
    except OSError as error:
        raise _bad_file(path, f"cannot be read ({error.strerror})") from None
    magic, start = MAGIC + 1 + len(shape), 4 * (2 + len(shape))
    if len(data) >= 4 and (found := int.from_bytes(data[:4])) != magic:
        kind = "images" if shape else "labels"
        raise _bad_file(path, f"holds no {kind} of MNIST, for it starts with {found}, not {magic}")
    if len(data) < start:
        raise _bad_file(path, f"is truncated, for it has {len(data)} bytes")
    count, *sides = np.frombuffer(data[4:start], ">u4").tolist()
    if tuple(sides) != shape:
        raise _bad_file(
            path, f"has images of {'x'.join(map(str, sides))} pixels, not {SIDE}x{SIDE}"
        )
    size = start + count * math.prod(shape)
    if len(data) != size:
        fault = "is truncated" if len(data) < size else "is damaged"
        raise _bad_file(path, f"{fault}, for it has {len(data):,} bytes, not {size:,}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(count, *shape)


def _check_labels(path: Path, labels: np.ndarray, images: Path, count: int) -> None:
    """Raises UserError unless these are `count` digits."""
    if len(labels) != count:
        raise _bad_file(path, f"has {len(labels):,} labels for the {count:,} images of {images}")
    if (labels >= len(DIGITS)).any():
        raise _bad_file(path, f"has the label {labels.max()}, which is no digit")


def _bad_file(path: Path, fault: str) -> UserError:
    return UserError(
        f"{path} {fault}: remove it, then put another copy there or fetch it with --download"
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides what is printed, and progress bars without a name."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """For libraries that would wait forever for a server that went silent."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
