import matplotlib.pyplot as plt
import pytest
from PIL import Image

from lib.report import figures


@pytest.mark.parametrize(("inches", "pixels"), [(4.0, 800), (13.0, 1300)])
def test_a_figure_has_200_pixels_per_printed_inch(tmp_path, inches, pixels):
    path = tmp_path / "figure.png"
    figures.write_figure(path, plt.figure(figsize=(inches, 1)))
    assert Image.open(path).size[0] == pixels
