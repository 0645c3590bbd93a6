import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from lib.report import figures


@pytest.mark.parametrize(("inches", "pixels"), [(4.0, 800), (13.0, 1300)])
def test_a_figure_has_200_pixels_per_printed_inch(tmp_path, inches, pixels):
    path = tmp_path / "figure.png"
    figures.write_figure(path, plt.figure(figsize=(inches, 1)))
    assert Image.open(path).size[0] == pixels


def test_grids_name_images_in_the_words_of_the_source():
    images = np.zeros((2, 3, 8, 8, 3), np.uint8)
    swaps = figures.swap_grid(images[0], images[0, :2], images, images, "car")
    path = figures.interpolation_grid(images, images[0, 0], images[0, 0], "photo")
    labels = [ax.get_xlabel() for ax in (*swaps.axes, *path.axes)]
    assert labels[:2] == [
        "s from the top row, z from the left column",
        "car of the top row, pose of the left column",
    ]
    assert labels[3] == "s: left photo → right photo"
    assert path.axes[1].get_ylabel() == "z: right photo ← left photo"
    plt.close("all")
