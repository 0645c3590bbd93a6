"""Swap your own images: the identity of A in the pose of B.

    ./run_all.sh swap MODEL A.png B.png OUT.png

MODEL is the name of a run, or a file model.pt. Several images are joined to a grid: those that give
s on top, those that give z on the left. The same from Python:

    from lib.commands.swap import read_images, swap_images
    from lib.method.runs import load_model

    run = load_model("reports/drawn/model.pt")
    a, b = read_images(["a.png"], run), read_images(["b.png"], run)
    image = swap_images(run, a, b)[0, 0]  # (H, H, 3) uint8: a row for each B, a column for each A
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lib.data.folder import read_image
from lib.data.images import joined, to_uint8, with_headers
from lib.evaluation.codes import encode_images
from lib.evaluation.swaps import decode_codes
from lib.method.runs import Run, load_model, load_run
from lib.system.arguments import Parser
from lib.system.devices import choose_device
from lib.system.errors import UserError, cli_errors
from lib.system.files import atomic_write
from lib.system.paths import shown_path

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def read_images(paths: Sequence[str | Path], run: Run) -> np.ndarray:
    """(n, H, H, 3) uint8, of the size and on the background of the images of this run.

    Raises: UserError that names a file that is no image.
    """
    return np.stack([read_image(path, run.size, run.background) for path in paths])


def swap_images(run: Run, s_images: np.ndarray, z_images: np.ndarray) -> np.ndarray:
    """(R, C, H, H, 3) uint8: s from C images (C, H, H, 3) and z from R images (R, H, H, 3)."""
    s, z = encode_images(run.model, s_images).s, encode_images(run.model, z_images).z_mu
    rows, columns = np.indices((len(z), len(s))).reshape(2, -1)
    decoded = to_uint8(decode_codes(run.model, z.numpy()[rows], s.numpy()[columns]))
    return decoded.reshape(len(z), len(s), *decoded.shape[1:])


def find_run(model: str) -> Run:
    """The run of this name, or that of a file model.pt."""
    device, path = choose_device(), Path(model)
    if path.suffix == ".pt" or path.is_file():
        if not path.is_file():
            raise UserError(f"there is no {model}: give the name of a run, or its model.pt")
        return load_model(path, device)
    return load_run(model, device)


def save_image(image: np.ndarray, path: Path) -> None:
    """Write an image (H, W, 3) uint8 in the format of the suffix."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, FORMATS[path.suffix.lower()], quality=95)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def _check_out(out: Path, read: Sequence[str]) -> None:
    """Raises UserError where `out` is no image that may be written."""
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"{out} ends in no {', '.join(FORMATS)}: name it {out.with_suffix('.png')}")
    if out.is_dir():
        raise UserError(f"{out} is a folder: name a file to write")
    if any(out.resolve() == Path(each).resolve() for each in read):
        raise UserError(f"{out} is one of the images that are read: name another file to write")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        "run_all.sh swap", "The identity of A in the pose of B, as the model of a run sees them."
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="the name of a run, or a file model.pt")
    add("images", nargs="+", metavar="IMAGE", help="A, B and the file to write")
    add("--s", nargs="+", default=[], metavar="A", help="more images that give the identity")
    add("--z", nargs="+", default=[], metavar="B", help="more images that give the pose")
    options = parser.parse_args(arguments)
    if len(options.images) != 3:
        parser.error(
            "give one A, one B and the file to write; --s and --z take more images, which become a"
            " grid"
        )
    a, b, out = options.images
    _check_out(Path(out), [a, b, *options.s, *options.z])
    run = find_run(options.model)
    s_images, z_images = read_images([a, *options.s], run), read_images([b, *options.z], run)
    swaps = swap_images(run, s_images, z_images)
    alone = swaps.shape[:2] == (1, 1)
    save_image(swaps[0, 0] if alone else joined(with_headers(swaps, s_images, z_images)), Path(out))
    print(f"== {shown_path(Path(out).absolute())}: s from {a}, z from {b}")


if __name__ == "__main__":
    with cli_errors("run_all.sh swap"):
        main(sys.argv[1:])
