import io

import numpy as np
from PIL import Image

from lib.report.palette import palette_png


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_palette_is_smaller_and_shows_no_visible_difference():
    smooth = np.indices((240, 240)).transpose(1, 2, 0)  # 57,600 colours, far more than a figure has
    picture = np.concatenate([smooth, smooth[..., :1] // 2], axis=-1).astype(np.uint8)
    picture[:8], picture[-8:] = 255, 0
    before = png(Image.fromarray(picture))
    after = palette_png(before)
    shown = np.asarray(Image.open(io.BytesIO(after)).convert("RGB"))
    assert Image.open(io.BytesIO(after)).mode == "P"
    assert (shown[:8] == 255).all() and (shown[-8:] == 0).all()
    assert np.abs(shown.astype(int) - picture).mean() < 8


def test_a_picture_of_few_colours_keeps_them():
    image = Image.fromarray(
        np.random.default_rng(0).integers(2, size=(9, 9, 3), dtype=np.uint8) * 200
    )
    shown = Image.open(io.BytesIO(palette_png(png(image)))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(image))
