"""Figures of images, and how every figure is saved.

A function returns a matplotlib `Figure`; `save_figure` puts it into the run's folder. Images are
uint8 (H, H, 3), or stacks of them, (R, C, H, H, 3) for R rows and C columns. Colours are those
of Okabe and Ito (2008), which differ for colour-blind readers and in grey.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from lib.data.image_set import UNKNOWN, ImageSet
from lib.data.images import GAP, joined, with_headers
from lib.report.descriptions import DESCRIPTIONS
from lib.report.palette import palette_png
from lib.system.files import atomic_write
from lib.system.paths import run_dir

BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#777777"
OKABE_ITO = ListedColormap(
    [BLUE, ORANGE, "#009E73", VERMILION, "#CC79A7", "#56B4E9", "#F0E442", "black"]
)
UNDATED = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
DPI = 200  # of a printed figure
SCREEN_DPI = 100  # of a figure in a notebook
TEXT_WIDTH = 6.5  # inches: a wider figure is shrunk to it in print, so it needs fewer pixels

# A name in a script that the font lacks is drawn as boxes.
warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
plt.rcdefaults()  # a matplotlibrc of the user counts for nothing
plt.rcParams.update(
    {
        "figure.dpi": SCREEN_DPI,
        "savefig.dpi": DPI,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "cycle-vae",
        "legend.frameon": False,
    }
)


class Shown:
    """A saved figure as a notebook shows it: with its description, which screen readers read."""

    def __init__(self, figure: Figure, description: str) -> None:
        self.description = description
        self.png = _render(figure, "png", SCREEN_DPI, bbox_inches="tight")

    def _repr_mimebundle_(self, **_: object) -> tuple[dict, dict]:
        content = {"image/png": self.png, "text/plain": self.description}
        return content, {"image/png": {"alt": self.description}}


def save_figure(run: str, name: str, figure: Figure, width: float = TEXT_WIDTH) -> Shown:
    """Write reports/<run>/figures/<name>.png and .svg; return what the cell shows.

    Raises: KeyError where `lib.report.descriptions` does not say what the figure shows.
    """
    shown = show_figure(figure, DESCRIPTIONS[name])
    for kind in ("png", "svg"):
        write_figure(run_dir(run) / "figures" / f"{name}.{kind}", figure, width)
    return shown


def show_figure(figure: Figure, description: str) -> Shown:
    """As `save_figure`, of a figure that no report keeps: nothing is written."""
    shown = Shown(figure, description)
    plt.close(figure)
    return shown


def _render(figure: Figure, kind: str, dpi: float, **options: object) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=UNDATED.get(kind), dpi=dpi, **options)
    return buffer.getvalue()


def write_figure(path: Path, figure: Figure, width: float = TEXT_WIDTH) -> None:
    """Write one figure in the format of the suffix, and close it.

    `width` is that of the print, in inches. Equal figures give equal bytes.
    """
    kind = path.suffix[1:]
    data = _render(figure, kind, DPI * min(1.0, width / figure.get_size_inches()[0]))
    with atomic_write(path) as file:
        file.write(palette_png(data) if kind == "png" else data)
    plt.close(figure)


def image_grid(
    images: np.ndarray, titles: Sequence[str] = (), rows: Sequence[str] = (), scale: float = 0.62
) -> Figure:
    """A grid of `images` (R, C, H, H, 3), with `titles` over columns and `rows` beside rows."""
    n_rows, n_columns = images.shape[:2]
    figure, ax = plt.subplots(
        layout="constrained",
        figsize=(scale * n_columns + (0.9 if rows else 0), scale * n_rows + 0.3 * bool(titles)),
    )
    _show(ax, images)
    step = images.shape[3] + GAP
    _label(
        ax,
        [step * (c + 0.5) for c in range(len(titles))],
        titles,
        [step * (r + 0.5) for r in range(len(rows))],
        rows,
    )
    return figure


def shown_images(dataset: ImageSet, index: np.ndarray) -> np.ndarray:
    """(..., H, H, 3) uint8, the images of these indices; white where they are UNKNOWN."""
    images = dataset.images[index]
    images[index == UNKNOWN] = 255
    return images


def swap_grid(
    top: np.ndarray, left: np.ndarray, swaps: np.ndarray, truth: np.ndarray | None, noun: str
) -> Figure:
    """Style transfer, with the s images on top and the z images on the left.

    The true images stand beside it, if they are known. `noun` is what the source calls a
    character.

    Shapes: `top` (C, H, H, 3), `left` (R, H, H, 3), `swaps` and `truth` (R, C, H, H, 3).
    """
    panels = [(swaps, "decoded from (z, s)", "s from the top row, z from the left column")]
    if truth is not None:
        sources = f"{noun} of the top row, pose of the left column"
        panels.append((truth, "true images", sources))
    size = 5.5 * len(panels), 6.1
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
    for ax, (images, name, sources) in zip(axes.flat, panels, strict=True):
        _show_with_headers(ax, images, top, left)
        ax.set_title(name, fontsize=13)
        ax.set_xlabel(sources, fontsize=13)
    return figure


def method_grid(inputs: Mapping[str, np.ndarray], swaps: Mapping[str, np.ndarray]) -> Figure:
    """The same swaps by many methods, a row each, in two columns below the same inputs.

    Shapes: `inputs` and `swaps` {name: (N, H, H, 3)}.
    """
    names, step = list(swaps), next(iter(inputs.values())).shape[1] + GAP
    half = -(-len(names) // 2)
    n_rows = len(inputs) + half
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.5 * n_rows + 0.1), layout="constrained")
    for ax, part in zip(axes, (names[:half], names[half:]), strict=True):
        rows = {**inputs, **{name: swaps[name] for name in part}}
        images = np.stack(list(rows.values()))
        missing = (0, n_rows - len(rows))  # both columns get the same size
        _show(ax, np.pad(images, (missing, *[(0, 0)] * 4), constant_values=255))
        _label(ax, [], [], [step * (k + 0.5) for k in range(len(rows))], list(rows))
        ax.axhline(step * len(inputs) - 0.5, color=VERMILION, lw=1.5)
    return figure


def interpolation_grid(grid: np.ndarray, first: np.ndarray, last: np.ndarray, noun: str) -> Figure:
    """Interpolation of s from left to right and of z downwards, beside two decoded corners.

    `noun` is what the source calls an image.

    Shapes: `grid` (8, 8, H, H, 3); `first` and `last` (H, H, 3).
    """
    figure, axes = plt.subplots(
        1, 3, figsize=(7.4, 5.4), width_ratios=[1, 7, 1], layout="constrained"
    )
    for ax, image, name in (
        (axes[0], first, "corner (1, 1)\ndecoded"),
        (axes[2], last, "corner (8, 8)\ndecoded"),
    ):
        _show(ax, image[None, None])
        ax.set_title(name, fontsize=8)
    _show(axes[1], grid)
    axes[1].set_xlabel(f"s: left {noun} \u2192 right {noun}", fontsize=13)
    axes[1].set_ylabel(f"z: right {noun} \u2190 left {noun}", fontsize=13)  # reads upwards
    return figure


def cycle_diagram(
    forward: Sequence[np.ndarray], reverse: Sequence[np.ndarray], has_reverse: bool = True
) -> Figure:
    """Both cycles, drawn with real images. `has_reverse` says whether the run has the reverse one.

    Shapes: four images (H, H, 3) each: `forward` x1, x2, decode(z1, s2), decode(z2, s1);
    `reverse` x_a, x_b, decode(z, s_a), decode(z, s_b).
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.1), layout="constrained")
    _draw_forward(axes[0], forward)
    _draw_reverse(axes[1], reverse, "trains the encoder only" if has_reverse else "not in this run")
    return figure


UPPER, LOWER = 2.9, 0.9  # heights of the two rows of a cycle diagram


def _draw_forward(ax: Axes, images: Sequence[np.ndarray]) -> None:
    ax.set_title("forward cycle: trains encoder and decoder")
    _place_images(ax, images, ("$x_1$", "$x_2$"), ("$g(z_1, s_2)$", "$g(z_2, s_1)$"))
    codes = (
        ("$z_1$", UPPER + 0.4, UPPER, UPPER, VERMILION),
        ("$s_1$", UPPER - 0.4, UPPER, LOWER, BLUE),
        ("$z_2$", LOWER + 0.4, LOWER, LOWER, VERMILION),
        ("$s_2$", LOWER - 0.4, LOWER, UPPER, BLUE),
    )
    for text, y, encoded, decoded, colour in codes:
        _code(ax, text, (3.6, y), colour)
        _arrow(ax, (1.6, encoded), (3.15, y), GREY)
        _arrow(ax, (4.1, y), (6.45, decoded), colour)
    for y, goal in ((UPPER, "should be $x_1$"), (LOWER, "should be $x_2$")):
        ax.annotate(goal, (8.1, y), va="center")


def _draw_reverse(ax: Axes, images: Sequence[np.ndarray], role: str) -> None:
    ax.set_title(f"reverse cycle: {role}")
    _place_images(ax, images, ("$x_a$", "$x_b$"), ("$g(z, s_a)$", "$g(z, s_b)$"))
    _code(ax, "$z \\sim N(0, I)$", (3.6, 1.9), VERMILION)
    for y, s, z in ((UPPER, "$s_a$", "$z_a$"), (LOWER, "$s_b$", "$z_b$")):
        _code(ax, s, (3.6, y), BLUE)
        _code(ax, z, (9.3, y), VERMILION)
        _arrow(ax, (1.6, y), (3.15, y), GREY)
        _arrow(ax, (4.1, y), (6.45, y), BLUE)
        _arrow(ax, (4.55, 1.9), (6.45, y), VERMILION)
        _arrow(ax, (8.0, y), (8.95, y), GREY)
    ax.annotate("should\nbe equal", (9.3, 1.9), ha="center", va="center")


def _place_images(
    ax: Axes, images: Sequence[np.ndarray], inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    ax.set(xlim=(0, 10.6), ylim=(0, 4))
    ax.axis("off")
    for row, y in enumerate((UPPER, LOWER)):
        _place(ax, images[row], (0.9, y), inputs[row])
        _place(ax, images[2 + row], (7.2, y), outputs[row])


def _show(ax: Axes, images: np.ndarray) -> None:
    """Images (R, C, H, W, 3) on white, GAP pixels apart."""
    ax.imshow(joined(images), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _show_with_headers(ax: Axes, images: np.ndarray, top: np.ndarray, left: np.ndarray) -> None:
    """Images with a row of headers above and a column of headers beside them, behind lines."""
    _show(ax, with_headers(images, top, left))
    step = images.shape[3] + GAP
    for line in (ax.axhline, ax.axvline):
        line(step - 0.5, color=VERMILION, lw=1.5)


def _label(
    ax: Axes, x: list[float], titles: Sequence[str], y: list[float], rows: Sequence[str]
) -> None:
    ax.set_xticks(x, titles, fontsize=7)
    ax.set_yticks(y, rows, fontsize=7)
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)


def _place(ax: Axes, image: np.ndarray, at: tuple[float, float], text: str) -> None:
    x, y = at
    ax.imshow(
        image, extent=(x - 0.75, x + 0.75, y - 0.75, y + 0.75), interpolation="nearest", zorder=2
    )
    ax.annotate(text, (x, y - 0.82), ha="center", va="top", fontsize=9)


def _code(ax: Axes, text: str, at: tuple[float, float], colour: str) -> None:
    ax.annotate(
        text,
        at,
        ha="center",
        va="center",
        bbox=dict(boxstyle="round", fc="white", ec=colour),
        zorder=3,
    )


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    ax.annotate("", end, start, arrowprops=dict(arrowstyle="->", color=colour, lw=1.1))
