"""The animated picture of a mix of two characters and of two poses."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lib.report.figures import BLUE, GREY, VERMILION
from lib.system.files import atomic_write
from lib.system.paths import run_dir

SIZE = 760, 300  # pixels of a frame
STEPS = 12  # frames from one corner of a mix to the next
SHOWN, HELD = 80, 900  # milliseconds of a frame between corners, and in one


def mix_path() -> tuple[np.ndarray, np.ndarray]:
    """The shares (4 * STEPS,) of the second s and of the second z: s, z, s and z change in turn."""
    rise = (1 - np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2
    low, high = np.zeros(STEPS), np.ones(STEPS)
    t_s, t_z = (rise, high, 1 - rise, low), (low, rise, high, 1 - rise)
    return np.concatenate(t_s), np.concatenate(t_z)


def save_mix(run: str, s_images: np.ndarray, z_images: np.ndarray, mixed: np.ndarray) -> None:
    """Write reports/<run>/figures/mix.webp: the decoded images of `mix_path` and their sources.

    Shapes: `s_images` and `z_images` (2, 60, 60, 3); `mixed` (4 * STEPS, 60, 60, 3).
    """
    shares = zip(*mix_path(), mixed, strict=True)
    frames = [_frame(s_images, z_images, t_s, t_z, image) for t_s, t_z, image in shares]
    milliseconds = [SHOWN if k % STEPS else HELD for k in range(len(frames))]
    options = {"save_all": True, "append_images": frames[1:], "loop": 0, "lossless": True}
    with atomic_write(run_dir(run) / "figures" / "mix.webp") as file:
        frames[0].save(file, "WEBP", duration=milliseconds, method=6, **options)


def _frame(
    s_images: Sequence[np.ndarray],
    z_images: Sequence[np.ndarray],
    t_s: float,
    t_z: float,
    image: np.ndarray,
) -> Image.Image:
    frame = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(frame)
    for left, images, t, name, colour in (
        (10, s_images, t_s, "s: the character", BLUE),
        (510, z_images, t_z, "z: the pose", VERMILION),
    ):
        draw.text((left, 50), name, colour, ImageFont.load_default(20))
        for k, source in enumerate(images):
            _paste(frame, source, (left + 120 * k, 90), 2)
        draw.line((left, 230, left + 240, 230), GREY, 3)
        draw.circle((left + 8 + 224 * t, 230), 8, colour)
    _paste(frame, image, (260, 30), 4)
    return frame


def _paste(frame: Image.Image, image: np.ndarray, at: tuple[int, int], scale: int) -> None:
    frame.paste(Image.fromarray(image.repeat(scale, axis=0).repeat(scale, axis=1)), at)
