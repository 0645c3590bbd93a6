"""An archive in the published format, of drawn sprites; what can be wrong with one; and a server
that it is fetched from.
"""

import http.server
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from lib.data.archive import ARCHIVE, LABELS
from lib.data.drawn import character_labels, draw_characters
from lib.data.sprites import ANIMATIONS, N_POSES


def write_archive(folder: Path, characters: int) -> Path:
    """Writes `folder`/data/sprites with the files of the first characters (drawn, no foreign art)
    and returns that folder.
    """
    sprites = folder / "data" / "sprites"
    sprites.mkdir(parents=True)
    images = draw_characters(character_labels()[:characters]).reshape(
        characters, N_POSES, 60, 60, 3
    )
    for number, poses in enumerate(images):
        with h5py.File(sprites / f"sprites_{number}.mat", "w", userblock_size=512) as file:
            cells, start = np.empty((len(ANIMATIONS), 1), dtype=h5py.ref_dtype), 0
            for k, (_, _, frames) in enumerate(ANIMATIONS):
                rows = (
                    poses[start : start + frames].transpose(0, 3, 2, 1).reshape(frames, -1) / 255.0
                )
                cells[k] = file.create_dataset(
                    f"#refs#/s{k}", data=rows, compression="gzip", compression_opts=1
                ).ref
                start += frames
            file["sprites"] = cells
            file["labels"] = LABELS[number].astype(float)[:, None]
        with open(sprites / f"sprites_{number}.mat", "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file".ljust(512))
    return sprites


def edit(change: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return damage


def cell(values: np.ndarray) -> Callable[[Path], None]:
    """The first animation is `values`."""

    def change(file: h5py.File) -> None:
        cells = file["sprites"][()]
        cells[0, 0] = file.create_dataset("#refs#/new", data=values).ref
        file["sprites"][...] = cells

    return edit(change)


def pixel(value: float) -> Callable[[Path], None]:
    """The first value of the first image is `value`."""

    def change(file: h5py.File) -> None:
        file[file["sprites"][0, 0]][0, 0] = value

    return edit(change)


def replaced(name: str, values: object) -> Callable[[Path], None]:
    """The member `name` is `values`; None leaves it out."""

    def change(file: h5py.File) -> None:
        del file[name]
        if values is not None:
            file[name] = values

    return edit(change)


def referring(target: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    """The first animation refers to what `target` gives."""

    def change(file: h5py.File) -> None:
        cells = file["sprites"][()]
        cells[0, 0] = target(file)
        file["sprites"][...] = cells

    return edit(change)


def zeroed(path: Path, start: int, length: int) -> None:
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(length)
    path.write_bytes(content)


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


NO_LEVEL = "pixels that are not k/255"
# what is done to sprites_1.mat, and what the user reads
BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "zero bytes in place of its content": (
        lambda path: path.write_bytes(bytes(10_000)),
        "is no MATLAB 7.3",
    ),
    "cut in half": (
        lambda path: os.truncate(path, path.stat().st_size // 2),
        "is truncated or damaged",
    ),
    "cut by a little": (
        lambda path: os.truncate(path, path.stat().st_size - 4096),
        "is truncated or damaged",
    ),
    "only its header": (lambda path: os.truncate(path, 600), "is truncated or damaged"),
    "overwritten in the middle": (
        lambda path: zeroed(path, path.stat().st_size // 4, 50_000),
        "is truncated or damaged",
    ),
    "a web page": (lambda path: path.write_text("<html>not found</html>"), "is no MATLAB 7.3"),
    "an image": (
        lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5000)),
        "is no MATLAB 7.3",
    ),
    "a folder": (lambda path: instead(path, Path.mkdir), "cannot be read (Is a directory)"),
    "a link to nothing": (
        lambda path: instead(path, lambda p: p.symlink_to("nowhere")),
        "cannot be read (No such file",
    ),
    "MATLAB 5": (
        lambda path: scipy.io.savemat(path, {"sprites": np.zeros(3)}),
        "is a MATLAB 5 file",
    ),
    "no labels": (replaced("labels", None), "lacks 'labels'"),
    "no sprites": (replaced("sprites", None), "lacks 'sprites'"),
    "a group as sprites": (
        edit(lambda file: (file.pop("sprites"), file.create_group("sprites"))),
        "lacks 'sprites'",
    ),
    "labels of another length": (replaced("labels", np.zeros((3, 1))), "is renamed or foreign"),
    "labels that are no numbers": (
        replaced("labels", np.full((7, 1), np.nan)),
        "is renamed or foreign",
    ),
    "labels as text": (replaced("labels", "body"), "is truncated or damaged"),
    "another's name": (
        lambda path: shutil.copy(path.with_name("sprites_2.mat"), path),
        "is renamed or foreign",
    ),
    "numbers in place of cells": (
        replaced("sprites", np.zeros((21, 1))),
        "holds 21 float64 as 'sprites' instead of 21 cells",
    ),
    "too few animations": (
        edit(
            lambda file: (
                file.create_dataset("new", data=file["sprites"][:20]),
                file.pop("sprites"),
                file.move("new", "sprites"),
            )
        ),
        "instead of 21 cells",
    ),
    "a reference to nothing": (referring(lambda file: h5py.Reference()), "is truncated or damaged"),
    "a reference to a group": (
        referring(lambda file: file["#refs#"].ref),
        "is truncated or damaged",
    ),
    "a reference to another animation": (
        referring(lambda file: file["#refs#/s4"].ref),
        "holds spellcast up as float64 (8, 10800)",
    ),
    "too few frames": (
        cell(np.zeros((6, 10800))),
        "holds spellcast up as float64 (6, 10800), not float (7, 10800)",
    ),
    "no frames": (cell(np.zeros((0, 10800))), "holds spellcast up as float64 (0, 10800)"),
    "frames turned over": (cell(np.zeros((10800, 7))), "holds spellcast up as float64 (10800, 7)"),
    "frames unfolded": (
        cell(np.zeros((7, 60, 60, 3))),
        "holds spellcast up as float64 (7, 60, 60, 3)",
    ),
    "grey images": (cell(np.zeros((7, 3600))), "(7, 3600), not float"),
    "bytes": (cell(np.zeros((7, 10800), "u1")), "as uint8"),
    "whole numbers": (cell(np.zeros((7, 10800), "i8")), "as int64"),
    "complex numbers": (cell(np.zeros((7, 10800), "c16")), "as complex128"),
    "text": (cell(np.full((7, 10800), b"0")), "as |S1"),
    "not a number": (pixel(np.nan), NO_LEVEL),
    "infinite": (pixel(np.inf), NO_LEVEL),
    "too bright": (pixel(256 / 255), NO_LEVEL),
    "from 0 to 255": (cell(np.full((7, 10800), 255.0)), NO_LEVEL),
    "negative": (pixel(-1 / 255), NO_LEVEL),
    "between levels": (pixel(0.5), NO_LEVEL),
    "frames of nothing": (cell(np.zeros((7, 10800))), "holds spellcast up with an empty image"),
}


def write_tar(path: Path, members: list[tuple[str, bytes | str]], mode: str = "w:gz") -> Path:
    """A tar of members (name, content); text as content makes a symbolic link to it."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


BAD_TARS = (  # what `bad_tars` makes
    "cut in half",
    "cut early",
    "empty",
    "a web page",
    "damaged",
    "a character twice",
    "nothing but links",
    "nothing of sprites",
    "a file that is empty",
)


def bad_tars(sprites: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Archives that cannot be read, made in `folder` from the good files in `sprites`: what is
    wrong, the path, what the user reads.
    """
    good = [
        (f"data/sprites/{file.name}", file.read_bytes()) for file in sorted(sprites.glob("*.mat"))
    ]
    intact = write_tar(folder / ARCHIVE, good).read_bytes()
    contents = {
        "cut in half": (intact[: len(intact) // 2], "breaks off after"),
        "cut early": (intact[:30_000], "breaks off after"),
        "empty": (b"", "is no tar file"),
        "a web page": (b"<html>moved</html>" * 100, "is no tar file"),
        "damaged": (
            intact[:2000] + np.random.default_rng(0).bytes(1000) + intact[3000:],
            "breaks off after",
        ),
    }
    bad = {}
    for name, (content, says) in contents.items():
        path = folder / f"{name}.tar.gz"
        path.write_bytes(content)
        bad[name] = path, says
    tars = {
        "a character twice": (
            [*good, ("again/sprites_1.mat", good[1][1])],
            "holds character 1 twice",
        ),
        "nothing but links": (
            [("sprites_0.mat", "/etc/passwd"), ("sprites_1.mat", "../../x")],
            "holds no sprites_0.mat",
        ),
        "nothing of sprites": ([("readme.txt", b"hello")], "holds no sprites_0.mat"),
        "a file that is empty": (
            [*good[:1], ("data/sprites/sprites_1.mat", b"")],
            "sprites_1.mat is empty",
        ),
    }
    return bad | {
        name: (write_tar(folder / f"{name}.tar", members, "w"), says)
        for name, (members, says) in tars.items()
    }


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves `content`; the first `cuts` answers break off in the middle; `ranges` says whether it
    can resume.
    """

    content, cuts, ranges, code, asked = b"", 0, True, 200, []

    def do_GET(self):
        cls, asked = type(self), self.headers.get("Range")
        cls.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and cls.ranges else 0
        code = 416 if start and start >= len(cls.content) else cls.code
        self.send_response(206 if start and code == 200 else code)
        body = cls.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if code == 200:
            self.wfile.write(body[: len(body) // 2] if cls.cuts > 0 else body)
        cls.cuts -= 1

    def log_message(self, *_):
        pass
