"""A user's own images: a folder with a folder for each identity, PATH/<identity>/<image>.png.

Images of several identities may have the same name: "left.png" of Anna and "left.png" of Ben. They
then show the same pose. Two optional files say more. `labels.csv` has a row for each identity, and
`poses.csv` a row for each pose.
"""

import csv
import hashlib
import io
import json
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from lib.data.image_set import UNKNOWN, Attribution, Factor, ImageSet, distinct_images
from lib.system.errors import UserError, did_you_mean

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FOREIGN = (".heic", ".heif", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".jxl")  # other images
FORMATS = ("PNG", "JPEG", "WEBP")
STARTS = (b"\x89PNG", b"\xff\xd8", b"RIFF")  # of files in these formats
LEVELS = {"L;2": 85, "L;4": 17}  # between two greys of PNG files with few bits
SIZE, BACKGROUND = 64, "black"  # where the user does not say
SIZES = (16, 256)  # pixels, the smallest and the largest
SMALLEST_SIDE = 8  # pixels of a file's image
IDENTITIES, IMAGES = 6, 2  # at least so many identities, each with so many images
POSES = ("names", "unknown")  # whether equal file names mean equal poses
LABELS_FILE, POSES_FILE = "labels.csv", "poses.csv"
RESERVED = ("character", "identity", "pose", "cluster")  # names of other things in reports
CHUNK = 64  # images that a thread reads in a row
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")

# Pillow warns of images that are refused here, and of EXIF data that nobody needs. A filter for the
# time of a call would not be safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Listing(NamedTuple):
    """What a folder holds."""

    images: dict[str, dict[str, os.DirEntry]]  # by the name of their folder, then by their own
    tables: dict[str, os.DirEntry]  # labels.csv and poses.csv, those that are there
    ignored: list[str]  # names of everything else

    @property
    def kept(self) -> dict[str, dict[str, os.DirEntry]]:
        """The images of the folders that have enough."""
        return {name: files for name, files in self.images.items() if len(files) >= IMAGES}

    @property
    def foreign(self) -> list[str]:
        """The ignored images, which have a format that is not read."""
        return [name for name in self.ignored if _is_foreign(name)]


class Table(NamedTuple):
    """A .csv file, without the rows that nothing needs."""

    key: str  # header of the first column
    columns: dict[str, dict[str, str]]  # by their headers: {cell of the first column: cell}


def folder_source(
    path: str | Path, size: int = SIZE, background: str = BACKGROUND, poses: str = POSES[0]
) -> str:
    """The name of the source: equal for the same folder, read in the same way.

    Returns: "folder-", the folder's name as far as it is ASCII, and 8 hexadecimal digits, as in
    "folder-my-cars-0a1b2c3d".
    """
    real = os.path.realpath(path)
    letters = unicodedata.normalize("NFKD", os.path.basename(real)).encode("ascii", "ignore")
    slug = re.sub("[^a-z0-9]+", "-", letters.decode().lower()).strip("-")[:30].strip("-")
    digest = _sha256([real, size, background, poses])[:8]
    return "-".join(["folder", *([slug] if slug else []), digest])


def folder_stamp(
    path: str | Path, size: int = SIZE, background: str = BACKGROUND, poses: str = POSES[0]
) -> str:
    """Changes with the names, sizes and times of the files, and with how they are read.

    While it is the same, the folder need not be read again.

    Raises: UserError for what is found without opening an image (`read_folder`).
    """
    _check_options(size, background, poses)
    listing = _list_folder(path)
    stats = [
        (folder, *_stat(file)) for folder, files in listing.kept.items() for file in files.values()
    ]
    tables = [_stat(table) for table in listing.tables.values()]
    return _sha256([stats, tables, size, background, poses])


def read_folder(
    path: str | Path,
    size: int = SIZE,
    background: str = BACKGROUND,
    poses: str = POSES[0],
    progress: bool = True,
    workers: int | None = None,
) -> ImageSet:
    """The images of a folder with a folder for each identity, in `size` x `size` pixels.

    Folders and the images in them are sorted by name. Notes on stderr say what is left out.

    With `poses` "names", images show the same pose if their names, without suffix, are equal. The
    pose of an image whose name no other identity has is unknown. With "unknown" all are.

    `labels.csv` gives attributes of the identities, and their clusters in a column "cluster".
    `poses.csv` gives factors of the poses. Integers are numbered by value, texts in the order of
    their first appearance; attributes that are integers from 0 to 255 keep their values.

    Raises: UserError for options or a folder that cannot be used. It names the first file that is
    at fault.
    """
    _check_options(size, background, poses)
    path = Path(path)
    listing = _list_folder(path)
    kept = listing.kept
    names = tuple(kept)
    counts = [len(files) for files in kept.values()]
    stems = [stem for files in kept.values() for stem in files]
    pose_names = _shared(stems) if poses == "names" else ()
    _note_left_out(path, listing)
    if pose_names:
        print(
            f"note: {_shown(path)}: equal file names count as equal poses,"
            f" {len(pose_names)} in all: give --poses unknown if they do not mean that",
            file=sys.stderr,
        )

    key, attributes, labels, cluster = _read_labels(listing, names)
    factors = _read_factors(path, listing, pose_names, attributes)
    files = [Path(file.path) for of_folder in kept.values() for file in of_folder.values()]
    images = _read_images(files, size, background, progress, workers)
    character = np.repeat(np.arange(len(names)), counts)
    number = {name: n for n, name in enumerate(pose_names)}
    title = _shown(os.path.basename(os.path.realpath(path))) or "images"
    digest = hashlib.sha256(images)
    digest.update(character.astype("<i8"))
    return ImageSet(
        source=folder_source(path, size, background, poses),
        images=images,
        character=character,
        names=names,
        distinct=distinct_images(images),
        fingerprint=f"folder {digest.hexdigest()}",
        attribution=Attribution(
            title,
            f"Images: the folder {title}.",
            character=key,
            cluster=Attribution.cluster if cluster is None else "cluster",
        ),
        pose=np.array([number.get(stem, UNKNOWN) for stem in stems], np.int64),
        pose_names=pose_names,
        factors=factors,
        labels=labels,
        attributes=attributes,
        cluster_of_character=cluster,
        background=background,
    )


def read_image(path: str | Path, size: int, background: str) -> np.ndarray:
    """(size, size, 3) uint8, the image of a file, letterboxed.

    Raises: UserError that names the file and says what is wrong with it.
    """
    image = open_image(path)
    if size * min(image.size) < max(image.size):
        raise _bad_file(
            path,
            f"has {image.width}x{image.height} pixels, of which {size}x{size} would show less than"
            " a line",
            "cut it to a wider shape",
        )
    return letterbox(image, size, background)


def open_image(path: str | Path) -> Image.Image:
    """The image of a .png, .jpg or .webp file, decoded, in the file's own mode.

    Raises: UserError that names the file and says what is wrong with it.
    """
    copy = "copy or save it again"
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"there is no {_shown(path)}: give a PNG, JPEG or WebP image") from None
    except IsADirectoryError:
        raise UserError(f"{_shown(path)} is a folder: name one image of it") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    with file:
        try:
            start = file.read(len(STARTS[0]))
            if not start:
                raise _bad_file(path, "is empty", copy)
            file.seek(0)
            image = Image.open(file, formats=FORMATS)
            _check_image(path, image)
            _scale_transparency(image)
            image.load()
        except (UserError, MemoryError):
            raise
        except Image.DecompressionBombError:
            raise _too_large(path) from None
        except Exception as error:  # Pillow raises many kinds for a damaged file
            is_foreign = isinstance(error, UnidentifiedImageError) and not start.startswith(STARTS)
            if is_foreign:
                raise _bad_file(
                    path, "is not a PNG, JPEG or WebP image", "save it as one of these"
                ) from None
            raise _bad_file(path, "is truncated or damaged", copy) from None
    return image


def letterbox(image: Image.Image, size: int, background: str) -> np.ndarray:
    """(size, size, 3) uint8: the image, upright and scaled to fit, in the middle of a background.

    The background also shows where the image is transparent. An image whose longer side has `size`
    pixels is not scaled.
    """
    colour = check_background(background)
    image = _to_rgb(_upright(image), colour)
    longer = max(image.size)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    # the gap makes it several times as fast for a photograph, and hardly changes a pixel
    image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    canvas = Image.new("RGB", (size, size), colour)
    canvas.paste(image, ((size - width) // 2, (size - height) // 2))
    return np.array(canvas)


def check_background(text: str) -> tuple[int, int, int]:
    """The red, green and blue of a colour. Raises UserError for what is no opaque colour."""
    try:
        colour = ImageColor.getrgb(text)
    except ValueError:
        colour = ()
    if len(colour) != 3 or max(colour) > 255:
        raise UserError(
            f"the background '{_shown(text)}' is no colour: give a name, such as black or white, or"
            " #rrggbb"
        )
    return colour


def _check_options(size: int, background: str, poses: str) -> None:
    smallest, largest = SIZES
    if not smallest <= size <= largest:
        raise UserError(
            f"images cannot have a size of {size} pixels: choose one from {smallest} to {largest}"
        )
    check_background(background)
    if poses not in POSES:
        raise UserError(f"poses cannot be '{poses}': choose {' or '.join(POSES)}")


# The files


def _list_folder(path: str | Path) -> Listing:
    """What the folder and its folders hold. Deeper ones are not looked at.

    Raises: UserError where there are not enough images, or a name is not clear.
    """
    listing = Listing({}, {}, [])
    folders: dict[str, os.DirEntry] = {}
    real = Path(os.path.realpath(path))
    entries = _scan(path)
    for entry in entries:
        if entry.name.startswith("."):
            listing.ignored.append(_shown(entry.name))
        elif entry.is_dir():
            # a link up would show this folder's own images as those of another identity
            if entry.is_symlink() and real.is_relative_to(os.path.realpath(entry.path)):
                listing.ignored.append(_shown(entry.name))
            else:
                _add(folders, _shown(entry.name), entry)
        elif entry.name in (LABELS_FILE, POSES_FILE) and entry.is_file():
            listing.tables[entry.name] = entry
        else:
            listing.ignored.append(_shown(entry.name))
    for name in sorted(folders):
        listing.images[name] = _list_images(name, folders[name], listing.ignored)

    if not folders and any(entry.name.lower().endswith(SUFFIXES) for entry in entries):
        raise UserError(
            f"{_shown(path)} holds images but no folders: put the images of each identity into a"
            " folder of its own"
        )
    enough = len(listing.kept)
    if enough < IDENTITIES:
        remedy = "put images there as <identity>/<image>.png, .jpg, .jpeg or .webp"
        if foreign := listing.foreign:
            kinds = ", ".join(sorted({Path(name).suffix.lower() for name in foreign}))
            remedy = f"its {len(foreign)} images in {kinds} are not read, so save them as .png"
        elif nested := _nested(folders.values()):
            remedy = f"'{nested}' in it holds folders of images, so give that folder"
        raise UserError(
            f"{_shown(path)} has {enough} folders with at least {IMAGES} images, of"
            f" {IDENTITIES} that it needs, and {len(folders) - enough} with fewer: {remedy}"
        )
    return listing


def _nested(folders: Iterable[os.DirEntry]) -> str:
    """The first of the folders that holds folders itself; empty where none does."""
    for folder in folders:
        if any(entry.is_dir() and not entry.name.startswith(".") for entry in _scan(folder.path)):
            return _shown(folder.name)
    return ""


def _list_images(folder: str, entry: os.DirEntry, ignored: list[str]) -> dict[str, os.DirEntry]:
    """{name without suffix: image}, sorted. Appends the names of everything else to `ignored`."""
    images: dict[str, os.DirEntry] = {}
    for file in _scan(entry.path):
        stem, suffix = os.path.splitext(file.name)
        is_image = suffix.lower() in SUFFIXES and not file.name.startswith(".")
        if is_image and file.is_file():
            _add(images, _shown(stem), file)
        else:
            ignored.append(f"{folder}/{_shown(file.name)}")
    return dict(sorted(images.items()))


def _scan(folder: str | Path) -> list[os.DirEntry]:
    """What lies in a folder, sorted. Raises UserError where it or a link cannot be followed."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise UserError(
            f"there is no {_shown(folder)}: give a folder that holds a folder of images for each"
            " identity"
        ) from None
    except NotADirectoryError:
        raise UserError(
            f"{_shown(folder)} is a file: give a folder that holds a folder of images for each"
            " identity"
        ) from None
    except OSError as error:
        raise _unreadable(folder, error) from None
    for entry in entries:
        is_link = entry.is_symlink() and not entry.name.startswith(".")
        if is_link and not os.path.exists(entry.path):
            raise _bad_file(entry.path, "is a link that leads nowhere", "mend it")
    return entries


def _add(entries: dict[str, os.DirEntry], name: str, entry: os.DirEntry) -> None:
    other = entries.setdefault(name, entry)
    if other is not entry:
        raise UserError(
            f"{_shown(other.path)} and {_shown(entry.path)} have the same name: rename or remove"
            " one of them"
        )


def _stat(entry: os.DirEntry) -> tuple[str, int, int]:
    try:
        stat = entry.stat()
    except OSError as error:
        raise _unreadable(entry.path, error) from None
    return entry.name, stat.st_size, stat.st_mtime_ns


def _shared(stems: Sequence[str]) -> tuple[str, ...]:
    """Those that several identities have, sorted."""
    seen: set[str] = set()
    return tuple(sorted({stem for stem in stems if stem in seen or seen.add(stem)}))


def _note_left_out(path: Path, listing: Listing) -> None:
    empty = [name for name, files in listing.images.items() if not files]
    few = [name for name, files in listing.images.items() if 0 < len(files) < IMAGES]
    _note(path, "folders without images, left out", empty)
    _note(path, f"folders with fewer than {IMAGES} images, left out", few)
    saved = "images in other formats, left out: save them as .png to have them"
    _note(path, saved, listing.foreign)
    others = [name for name in listing.ignored if not _is_foreign(name)]
    _note(path, "other files and folders, ignored", others)


def _is_foreign(name: str) -> bool:
    """Whether a file of this name is an image in a format that is not read."""
    return name.lower().endswith(FOREIGN)


def _note(path: Path, fault: str, names: list[str]) -> None:
    if names:
        shown = ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])])
        print(f"note: {_shown(path)}: {fault}: {len(names)} ({shown})", file=sys.stderr)


def _shown(name: str | Path) -> str:
    """A name as text in one line: some are no UTF-8, and some have a line break.

    Names that look the same become the same (NFC); macOS and Windows write an accent differently.
    """
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return CONTROLS.sub(
        lambda match: match[0].encode("unicode_escape").decode(), unicodedata.normalize("NFC", text)
    )


def _bad_file(path: str | Path, fault: str, remedy: str) -> UserError:
    return UserError(f"{_shown(path)} {fault}: {remedy}, or leave it out")


def _unreadable(path: str | Path, error: OSError) -> UserError:
    return _bad_file(path, f"cannot be read ({error.strerror})", "allow reading it")


def _sha256(content: list) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


# The images


def _read_images(
    files: list[Path], size: int, background: str, progress: bool, workers: int | None
) -> np.ndarray:
    """(N, size, size, 3) uint8. In threads, for Pillow decodes without the GIL."""
    images = np.empty((len(files), size, size, 3), np.uint8)

    def read(start: int) -> int:
        chunk = files[start : start + CHUNK]
        for n, file in enumerate(chunk, start):
            images[n] = read_image(file, size, background)
        return len(chunk)

    bar = tqdm(total=len(files), desc="reading the images", unit=" images", disable=not progress)
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as executor, bar:
        for count in executor.map(read, range(0, len(files), CHUNK)):
            bar.update(count)
    return images


def _check_image(path: str | Path, image: Image.Image) -> None:
    """Raises UserError for an image that should not be decoded."""
    if image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise _too_large(path)
    if min(image.size) < SMALLEST_SIDE:
        raise _bad_file(
            path,
            f"has {image.width}x{image.height} pixels, fewer than {SMALLEST_SIDE} on a side",
            "take a larger image",
        )
    # JPEG files of some cameras hold a preview as a second frame
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        raise _bad_file(path, "is animated", "save one frame")


def _too_large(path: str | Path) -> UserError:
    return _bad_file(
        path, f"has more than {Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels", "scale it down"
    )


def _scale_transparency(image: Image.Image) -> None:
    """Makes a transparent grey of few bits one of 8 bits, as Pillow does with the pixels alone."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and image.tile:
        image.info["transparency"] = transparent * LEVELS.get(image.tile[0].args, 1)


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
    except Exception:  # the EXIF data are damaged, of which no viewer tells
        return image


def _to_rgb(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    if image.mode.startswith("I"):
        image = _to_8_bits(image)
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, colour)
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as grey of 8, with alpha where a grey is transparent. Pillow would clip."""
    levels = np.asarray(image).astype(np.int64).clip(0, 65_535)
    grey = Image.fromarray(((levels * 255 + 32_767) // 65_535).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    opaque = np.where(levels == image.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", [grey, Image.fromarray(opaque)])


# The tables


def _read_labels(
    listing: Listing, names: tuple[str, ...]
) -> tuple[str, tuple[str, ...], np.ndarray, np.ndarray | None]:
    """What an identity is called; attributes (L), labels (C, L), clusters (C,) or None."""
    if LABELS_FILE not in listing.tables:
        return "identity", (), np.zeros((len(names), 0), np.int64), None
    file = listing.tables[LABELS_FILE]
    table = _read_table(file, "folder", names, listing.images)
    clusters = table.columns.pop("cluster", None)
    _check_headers(file, table)
    columns = [_labels(column, names) for column in table.columns.values()]
    labels = np.array(columns, np.int64).reshape(-1, len(names)).T
    cluster = None if clusters is None else np.array(_number(clusters, names)[0], np.int64)
    return table.key, tuple(table.columns), np.ascontiguousarray(labels), cluster


def _read_factors(
    path: Path, listing: Listing, pose_names: tuple[str, ...], attributes: tuple[str, ...]
) -> dict[str, Factor]:
    if POSES_FILE not in listing.tables:
        return {}
    file = listing.tables[POSES_FILE]
    if not pose_names:
        _note(path, "ignored, for no poses are known", [POSES_FILE])
        return {}
    stems = {stem for files in listing.images.values() for stem in files}
    table = _read_table(file, "image", pose_names, stems)
    _check_headers(file, table, attributes)
    numbers = {name: _number(column, pose_names) for name, column in table.columns.items()}
    return {name: Factor(np.array(n, np.int64), texts) for name, (n, texts) in numbers.items()}


def _read_table(
    file: os.DirEntry, kind: str, needed: Sequence[str], known: Collection[str]
) -> Table:
    """The rows of `needed` names, in the order of the file. `kind` is what their names name.

    Raises: UserError that names the line of a fault, or a needed row that is missing.
    """
    header, *rows = _read_rows(file)
    headers = [_shown(cell.strip()) for cell in header[1]]
    for n, name in enumerate(headers):
        if not name or name in headers[:n]:
            fault = f"has '{name}' twice in its header" if name else "has a column without a header"
            raise _bad_line(file, header[0], fault, "give each column a name of its own")
    lines: dict[str, int] = {}
    columns: dict[str, dict[str, str]] = {name: {} for name in headers[1:]}
    for line, cells in rows:
        name = _shown(cells[0])
        name = name if name in known else name.strip()
        if len(cells) != len(headers):
            fault = f"has {len(cells)} cells in the row of '{name}', not {len(headers)}"
            raise _bad_line(file, line, fault, "give it a cell for each column")
        if name not in known:
            fault = f"names '{name}', but there is no such {kind}{did_you_mean(name, known)}"
            raise _bad_line(file, line, fault, "mend or remove the row")
        if name in lines:
            fault = f"has a second row for '{name}', after line {lines[name]}"
            raise _bad_line(file, line, fault, "remove one of them")
        lines[name] = line
        for column, cell in zip(headers[1:], cells[1:], strict=True):
            if not cell.strip():
                fault = f"has no {column} for '{name}'"
                raise _bad_line(file, line, fault, "fill the cell or remove the column")
            columns[column][name] = _shown(cell.strip())
    for name in needed:
        if name not in lines:
            raise UserError(f"{_shown(file.path)} has no row for the {kind} '{name}': add one")
    wanted = set(needed)
    return Table(
        headers[0],
        {
            column: {name: cell for name, cell in cells.items() if name in wanted}
            for column, cells in columns.items()
        },
    )


def _read_rows(file: os.DirEntry) -> list[tuple[int, list[str]]]:
    """[(line, cells)] of the header and the rows. Empty rows are left out.

    The separator may be a semicolon or a tab: spreadsheets write it in some languages.
    """
    try:
        data = Path(file.path).read_bytes().removeprefix("\ufeff".encode())
    except OSError as error:
        raise _unreadable(file.path, error) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line, start = data.count(b"\n", 0, error.start) + 1, data.rfind(b"\n", 0, error.start) + 1
        value = data[start:].splitlines()[0][:40].decode("utf-8", "backslashreplace")
        raise _bad_line(
            file, line, f"is not UTF-8: '{_shown(value)}'", "save the file as UTF-8"
        ) from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise _bad_line(
            file, reader.line_num, f"is no row of a .csv file ({error})", "mend it"
        ) from None
    if not rows:
        raise _bad_file(file.path, "is empty", "give it a header and rows")
    return rows


def _check_headers(file: os.DirEntry, table: Table, taken: Collection[str] = ()) -> None:
    for name in table.columns:
        if name in (*RESERVED, *taken):
            raise UserError(
                f"{_shown(file.path)} has a column '{name}', a name that means something else in"
                " reports: rename it"
            )


def _labels(column: Mapping[str, str], names: Sequence[str]) -> list[int]:
    if all(INTEGER.fullmatch(cell) and 0 <= int(cell) <= 255 for cell in column.values()):
        return [int(column[name]) for name in names]
    return _number(column, names)[0]


def _number(column: Mapping[str, str], names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """The number of each name's cell, from 0, and the text of each number.

    Integers are numbered by value, texts in the order of the column.
    """
    if all(INTEGER.fullmatch(cell) for cell in column.values()):
        value_of = {cell: int(cell) for cell in column.values()}
        values = sorted(set(value_of.values()))
    else:
        value_of = {cell: cell for cell in column.values()}
        values = list(value_of)
    number = {value: n for n, value in enumerate(values)}
    return [number[value_of[column[name]]] for name in names], tuple(map(str, values))


def _bad_line(file: os.DirEntry, line: int, fault: str, remedy: str) -> UserError:
    return UserError(f"{_shown(file.path)}, line {line}, {fault}: {remedy}")
