"""2D Sprites (Reed et al., NIPS 2015) as arrays: the archive's reader, the stored form, the truth, the splits, the batches.

C characters, P = 178 poses, N = C * P images; image n shows character n // P in pose n % P, for every character the same
action, view and frame, so the true image of every swap (s of one character, z of another's pose) exists. Images are
uint8 (N, 60, 60, 3) at rest and float (B, 3, 60, 60) in [0, 1] in flight; `to_float` and `to_uint8` alone convert.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import lzma
import multiprocessing
import os
import re
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import h5py
import numpy as np
from tqdm import tqdm

from lib import config
from lib.config import UserError

if TYPE_CHECKING:  # torch is imported where it is used: the processes that read the archive start without it
    import torch
    from torch import Tensor

SIZE = 60  # pixels, both sides
ACTIONS = ("spellcast", "thrust", "walk", "slash", "shoot", "hurt")
VIEWS = ("up", "left", "down", "right")  # where the character faces, in the order of the Liberated Pixel Cup sheets
ANIMATIONS = (  # (action, view, frames) in published order
    *((action, view, frames) for action, frames in zip(ACTIONS[:5], (7, 8, 9, 6, 13), strict=True) for view in VIEWS),
    ("hurt", "down", 6),
)
POSES = np.array(  # (178,): index into ACTIONS, index into VIEWS, frame
    [(ACTIONS.index(a), VIEWS.index(v), f) for a, v, frames in ANIMATIONS for f in range(frames)],
    dtype=[("action", np.uint8), ("view", np.uint8), ("frame", np.uint8)],
)  # fmt: skip
P = len(POSES)

ATTRIBUTES = ("body", "skin", "torso", "hair", "arms", "legs", "weapon")  # of the archive; hair is style and colour in one
LABELS = np.array(  # (672, 7): the archive's `sprite_large_labels.txt`, by which a file under a wrong number is found
    [
        (body, *rest)
        for body, hair in enumerate(((0, 1, 4), (2, 3, 4, 5)))
        for rest in itertools.product(range(4), range(3), hair, range(2), range(2), range(2))
    ],
    dtype=np.uint8,
)
CHARACTERS = len(LABELS)
CHARACTER_FILE = re.compile(r"sprites_(0|[1-9]\d*)\.mat")
ARCHIVE = "nips2015-analogy-data.tar.gz"
MIRRORS = (f"http://www-personal.umich.edu/~reedscot/files/{ARCHIVE}", f"http://www.scottreed.info/files/{ARCHIVE}")
SOURCES = ("sprites", "drawn")


@dataclass(frozen=True, eq=False)
class Sprites:
    """A data set and its truth; `identity` joins the characters that differ in the weapon alone (weapon twins)."""

    source: str  # "sprites" or "drawn"
    images: np.ndarray  # (N, 60, 60, 3) uint8
    labels: np.ndarray  # (C, L) uint8 values of the attributes; the last is the weapon
    attributes: tuple[str, ...]  # L names
    numbers: np.ndarray  # (C,) number of each character in its source, where some may be missing
    distinct: np.ndarray  # (N,) int32, equal exactly where two images are equal to the bit: 0..D-1
    fingerprint: str  # what the arrays were made from

    @property
    def n_characters(self) -> int:
        return len(self.labels)

    @property
    def n_identities(self) -> int:
        return int(self.identity_of_character.max()) + 1

    @property
    def identity_of_character(self) -> np.ndarray:
        """(C,) int64: 0..n_identities-1."""
        return np.unique(self.labels[:, :-1], axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def character(self) -> np.ndarray:
        """(N,) int64: the row of `labels` that each image belongs to."""
        return np.arange(len(self.images)) // P

    @property
    def pose(self) -> np.ndarray:
        """(N,) int64: the row of `POSES` of each image."""
        return np.arange(len(self.images)) % P

    @property
    def identity(self) -> np.ndarray:
        """(N,) int64: the identity that each image shows."""
        return self.identity_of_character[self.character]


def distinct_images(images: np.ndarray) -> np.ndarray:
    """(N,) int32 cluster ids of images (N, ...), equal exactly where images are equal, numbered by first appearance."""
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return np.array([seen.setdefault(hashlib.sha256(row).digest(), len(seen)) for row in rows], dtype=np.int32)


def read_archive(path: str | Path, progress: bool = True, workers: int | None = None) -> Sprites:
    """The sprites of the published tar (streamed, never unpacked to disk) or of a folder with its extracted `data/sprites`.

    Missing characters are noted on stderr and the rest is used. Raises `UserError` naming the first file that is truncated,
    renamed or foreign. More than one worker means processes of the `spawn` kind, which are safe beside torch's threads but
    need `if __name__ == "__main__":` around the call in a script.
    """
    path, names, strays, pending = Path(path), {}, [], deque()
    files = _archive_files(path)
    images = np.empty((CHARACTERS, P, SIZE, SIZE, 3), dtype=np.uint8)  # pages of missing characters never take memory
    workers = workers or min(8, os.cpu_count() or 1)
    with (
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) if workers > 1 else ThreadPoolExecutor(1) as pool,
        tqdm(total=CHARACTERS, desc="reading the archive", unit=" characters", disable=not progress) as bar,
    ):

        def collect(leave: int) -> None:
            while len(pending) > leave:
                number, future = pending.popleft()
                images[number] = future.result()
                bar.update()

        for name, content in _members(files):
            match = CHARACTER_FILE.fullmatch(PurePosixPath(name).name)
            if match is None or int(match[1]) >= CHARACTERS:
                strays.append(name)
                continue
            names[int(match[1])] = name
            pending.append((int(match[1]), pool.submit(_read_character, int(match[1]), name, content)))
            collect(leave=4 * workers)  # a few ahead, so that a tar is not read into memory faster than it is worked off
        collect(leave=0)
    if not names:
        raise UserError(f"{path} holds no sprites_0.mat, sprites_1.mat, ...: give {ARCHIVE} or its extracted folder")
    missing = [f"sprites_{number}.mat" for number in range(CHARACTERS) if number not in names]
    for what, found in ((f"of {CHARACTERS} characters missing", missing), ("files with a foreign name ignored", strays)):
        if found:
            print(f"note: {path}: {len(found)} {what} ({', '.join(found[:4])}{', ...' * (len(found) > 4)})", file=sys.stderr)
    numbers = np.array(sorted(names))
    for row, number in enumerate(numbers):  # in place, as number >= row: a second array would cost 1.3 GB
        images[row] = images[number]
    flat = images[: len(numbers)].reshape(-1, SIZE, SIZE, 3)
    return Sprites("sprites", flat, LABELS[numbers], ATTRIBUTES, numbers, distinct_images(flat), _fingerprint(files))


def _archive_files(path: Path) -> list[Path]:
    """[tar], or the files of the shallowest folder in `path` with characters, sorted; empty where there is neither."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise UserError(f"there is no {path}: give {ARCHIVE} or the folder that it was extracted to")
    for depth in range(4):
        files = sorted(path.glob("*/" * depth + "sprites_*.mat"))
        folders = sorted({file.parent for file in files if CHARACTER_FILE.fullmatch(file.name)})
        if len(folders) > 1:
            raise UserError(f"{path} holds sprites in {folders[0]} and in {folders[1]}: give one of them")
        if folders:
            return [file for file in files if file.parent == folders[0]]
    return sorted(file for pattern in ("*.tar", "*.tar.gz", "*.tgz") for file in path.glob(pattern))[:1]


def _members(files: Sequence[Path]) -> Iterator[tuple[str, Path | bytes]]:
    """Name and content (a path to it, or of a tar the bytes) of each file sprites_*.mat but for the published splits."""
    if all(file.suffix == ".mat" for file in files):
        yield from ((str(file), file) for file in files if file.name != "sprites_splits.mat")
        return
    count = 0
    try:
        with tarfile.open(files[0], "r|*") as tar:
            for member in tar:
                count += 1
                if member.isfile() and re.search(r"(^|/)sprites_(?!splits)[^/]*\.mat$", member.name):
                    yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError):
        what = f"breaks off after {count} files" if count else "is no tar file"
        raise UserError(
            f"{files[0]} {what}: remove it and download {ARCHIVE} again, or give the folder that it was extracted to"
        ) from None


def _read_character(number: int, name: str, content: Path | bytes) -> np.ndarray:
    """Images (178, 60, 60, 3) uint8 of one .mat file; raises `UserError` for one that is not that character's."""

    def fault(what: str) -> UserError:
        return UserError(f"{name} {what}: extract it again from {ARCHIVE}, or remove it to do without this character")

    try:
        data = content if isinstance(content, bytes) else content.read_bytes()
    except OSError as error:
        raise fault(f"cannot be read ({error.strerror})") from None
    if b"\x89HDF\r\n\x1a\n" not in data[:1024]:
        what = "a MATLAB 5 file instead of MATLAB 7.3" if data.startswith(b"MATLAB 5") else "no MATLAB 7.3 (HDF5) file"
        raise fault(f"is {what}" if data else "is empty")
    images, start = np.empty((P, SIZE, SIZE, 3), dtype=np.uint8), 0
    try:
        with h5py.File(io.BytesIO(data), "r") as file, np.errstate(invalid="ignore"):
            if lacking := [key for key in ("sprites", "labels") if not isinstance(file.get(key), h5py.Dataset)]:
                raise fault(f"lacks '{lacking[0]}'")
            labels = file["labels"][()].ravel().tolist()
            cells = file["sprites"][()].ravel()
            if file["sprites"].dtype != h5py.ref_dtype or len(cells) != len(ANIMATIONS):
                raise fault(f"holds {len(cells)} {file['sprites'].dtype} as 'sprites' instead of {len(ANIMATIONS)} cells")
            for cell, (action, view, frames) in zip(cells, ANIMATIONS, strict=True):  # each alone: small arrays stay in cache
                rows = file[cell][()]
                if rows.shape != (frames, 3 * SIZE * SIZE) or rows.dtype.kind != "f":
                    raise fault(f"holds {action} {view} as {rows.dtype} {rows.shape}, not float ({frames}, {3 * SIZE * SIZE})")
                rows *= 255
                levels = np.rint(rows)
                rows -= levels
                if not (max(-rows.min(), rows.max()) < 1e-3 and levels.min() >= 0 and levels.max() <= 255):  # nor NaN
                    raise fault("holds pixels that are not k/255 for a whole k from 0 to 255, which uint8 would round")
                planes = levels.astype(np.uint8).reshape(frames, 3, SIZE, SIZE)  # a row is (60, 60, 3) in Fortran order
                for channel in range(3):  # a tenth of the time of one transpose(0, 3, 2, 1)
                    images[start : start + frames, :, :, channel] = planes[:, channel].transpose(0, 2, 1)
                start += frames
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        raise fault("is truncated or damaged") from None
    if labels != LABELS[number].tolist():
        raise fault(f"is renamed or foreign, for it has the labels {labels}, not {LABELS[number].tolist()}")
    return images


def _fingerprint(files: Sequence[Path]) -> str:
    """What the sprites of an archive were made from: names, sizes and times of its files, and how they were read."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    return "archive " + hashlib.sha256(json.dumps([stats, ANIMATIONS, ATTRIBUTES]).encode()).hexdigest()


def save_sprites(sprites: Sprites) -> Path:
    """Writes `data/<source>.npz`, whole or not at all: zip at level 1, a third of the time of np.savez_compressed to load."""
    path = config.DATA / f"{sprites.source}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for field in dataclasses.fields(Sprites):
                with file.open(f"{field.name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(getattr(sprites, field.name)), allow_pickle=False)
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error}): free space there or set CYCLE_VAE_DATA to another folder") from None
    finally:
        part.unlink(missing_ok=True)
    return path


def load_sprites(source: str, fingerprint: str | None = None) -> Sprites:
    """What `save_sprites` wrote; raises `UserError` where it is missing, broken, or made from other than `fingerprint` says."""
    path, remedy = _stored(source), "run notebooks/01_create_sprites.ipynb or ./run_all.sh to create it"
    try:
        with np.load(path, allow_pickle=False) as file:
            if fingerprint not in (None, str(file["fingerprint"])):
                raise UserError(f"{path} was made from something else: {remedy} again")
            values = {field.name: file[field.name] for field in dataclasses.fields(Sprites)}
        values |= {"fingerprint": str(values["fingerprint"]), "attributes": tuple(values["attributes"].tolist())}
        sprites = Sprites(**{**values, "source": source})
        if str(values["source"]) != source or sprites.images.shape != (len(sprites.labels) * P, SIZE, SIZE, 3):
            raise ValueError
    except FileNotFoundError:
        raise UserError(f"there is no {path} yet: {remedy}") from None
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path} is damaged: remove it, then {remedy} again") from None
    return sprites


def create_sprites(source: str, archive: str | Path | None = None, progress: bool = True) -> Sprites:
    """The sprites of a source, from `data/<source>.npz` as long as what it was made from did not change, else made anew.

    `source` is "sprites" (see `find_archive`) or "drawn"; an archive is never downloaded here.
    """
    path = _stored(source)
    if source == "drawn":
        from lib import drawn  # which imports this module

        code = Path(drawn.__file__).read_bytes() + repr(ANIMATIONS).encode()
        fingerprint = f"drawn {hashlib.sha256(code).hexdigest()}"
    else:
        found = find_archive(archive)
        if found is None and path.exists():
            return load_sprites(source)
        if found is None:
            raise UserError(
                f"there are no 2D Sprites here: give --archive PATH ({ARCHIVE} or its extracted folder), "
                f"put it into {config.DATA / 'raw'}, or fetch it with --download"
            )
        fingerprint = _fingerprint(_archive_files(found))
    try:
        return load_sprites(source, fingerprint)
    except UserError:  # missing, outdated or damaged: made anew
        sprites = drawn.draw_sprites(progress) if source == "drawn" else read_archive(found, progress)
    sprites = dataclasses.replace(sprites, fingerprint=fingerprint)
    save_sprites(sprites)
    return sprites


def find_archive(archive: str | Path | None = None) -> Path | None:
    """The archive given, else that of $CYCLE_VAE_ARCHIVE (both unchecked), else `data/raw` or None where it holds none."""
    if named := archive or os.environ.get("CYCLE_VAE_ARCHIVE"):
        return Path(named)
    raw = config.DATA / "raw"
    return raw if raw.exists() and _archive_files(raw) else None


def default_source(archive: str | Path | None = None) -> str:
    """The source "sprites" where an archive, or `data/sprites.npz` made from one, is present, else "drawn"."""
    return "sprites" if find_archive(archive) or _stored("sprites").exists() else "drawn"


def _stored(source: str) -> Path:
    if source not in SOURCES:
        raise UserError(f"there is no source '{source}': choose one of {', '.join(SOURCES)}")
    return config.DATA / f"{source}.npz"


def download_archive(mirrors: Sequence[str] = MIRRORS, progress: bool = True, timeout: float = 30) -> Path:
    """Fetches the archive to `data/raw`, from the first mirror that has it; an interrupted download goes on where it stopped.

    Raises `UserError` naming what each mirror failed with. What arrived is checked by reading it (`create_sprites`).
    """
    target, failures = config.DATA / "raw" / ARCHIVE, []
    target.parent.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors:
        if not target.exists():
            try:
                _fetch(mirror, target, progress, timeout)
            except (OSError, HTTPException, ValueError) as error:
                failures.append(f"{mirror} failed ({error})")
    if not target.exists():
        raise UserError(f"{' and '.join(failures)}: try again to go on from there, or put a copy into {target.parent}")
    return target


def _fetch(url: str, target: Path, progress: bool, timeout: float) -> None:
    """Downloads to `target`, by way of `.part`, which it continues and leaves behind when the connection breaks."""
    part = target.with_name(target.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing of this file lies beyond what is there: it cannot be continued
            part.unlink()
        raise
    with response:
        if response.status != 206:
            start = 0  # the whole file comes, whatever was asked for
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(desc=target.name, total=total, initial=start, unit="B", unit_scale=True, disable=not progress) as bar,
        ):
            while block := response.read(1 << 18):
                file.write(block)
                bar.update(len(block))
            size = file.tell()
    if total is not None and size != total:
        raise OSError(f"the connection broke off at {size:,} of {total:,} bytes")
    with open(part, "rb") as file:
        magic = file.read(2)
    if magic != b"\x1f\x8b":
        part.unlink()
        raise OSError("it sent something other than a .tar.gz, perhaps a page that says the file has moved")
    os.replace(part, target)


def split_by_identity(sprites: Sprites, seed: int) -> dict[str, np.ndarray]:
    """Sorted int64 image indices of train, validation (10 % of the identities) and test (15 %).

    A split by character would put a twin, half of whose images are the same, on either side. As even different identities
    share a few images (a hidden weapon is not all that a frame can hide), an image that is also in test is left out of
    validation and of train, and one that is in validation out of train: no split has an image of another, to the bit.
    Raises `UserError` for fewer than three identities.
    """
    count = sprites.n_identities
    if count < 3:
        raise UserError(f"{count} identities cannot be split into train, validation and test: give at least 3 (6 characters)")
    order = np.random.default_rng(seed).permutation(count)
    test, validation = max(1, round(0.15 * count)), max(1, round(0.10 * count))
    parts = {"test": order[:test], "validation": order[test : test + validation], "train": order[test + validation :]}
    identity, taken, split = sprites.identity, np.zeros(sprites.distinct.max() + 1, dtype=bool), {}
    for name, identities in parts.items():
        split[name] = np.flatnonzero(np.isin(identity, identities) & ~taken[sprites.distinct])
        taken[sprites.distinct[split[name]]] = True
    return {name: split[name] for name in ("train", "validation", "test")}


def valid_mask(sprites: Sprites, indices: np.ndarray) -> Tensor:
    """BoolTensor (C, 178): which pose of which character is among the image indices."""
    import torch

    mask = torch.zeros(len(sprites.images), dtype=torch.bool)
    mask[torch.as_tensor(indices)] = True
    return mask.view(-1, P)


def sample_groups(valid: Tensor, group_size: int, groups: int, generator: torch.Generator) -> Tensor:
    """LongTensor (groups, group_size) of image indices: each row one character in distinct poses, drawn uniformly.

    `valid` (C, 178) says what may be drawn. A character comes once, as long as there are enough with `group_size` images.
    """
    import torch

    # counted by NumPy, in one thread: on busy cores torch's threads would wait milliseconds for each other, every step
    able = torch.from_numpy(np.flatnonzero(np.count_nonzero(valid.numpy(), axis=1) >= group_size))
    if len(able) == 0:
        raise UserError(f"no character has {group_size} images to train on: set group_size lower or give more sprites")
    if len(able) >= groups:
        chosen = able[torch.randperm(len(able), generator=generator)[:groups]]
    else:
        chosen = able[torch.randint(len(able), (groups,), generator=generator)]
    order = torch.rand(groups, valid.shape[1], generator=generator).masked_fill(~valid[chosen], -1)
    return chosen[:, None] * valid.shape[1] + order.topk(group_size, dim=1).indices


def to_float(images: np.ndarray | Tensor, device: torch.device | str | None = None) -> Tensor:
    """Images uint8 (..., 60, 60, 3) as float32 (B, 3, 60, 60) in [0, 1], in memory still with the channels last."""
    import torch

    images = torch.as_tensor(images, device=device).reshape(-1, SIZE, SIZE, 3)
    return images.permute(0, 3, 1, 2).float().div_(255)


def to_uint8(images: Tensor) -> np.ndarray:
    """Images (B, 3, 60, 60), clamped to [0, 1] and rounded, as uint8 (B, 60, 60, 3)."""
    return images.detach().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().contiguous().numpy()
