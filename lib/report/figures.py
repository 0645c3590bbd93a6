"""Each figure of the report; every function returns a matplotlib `Figure` and `save_figure` puts it
into the run's folder.

Images are uint8 (60, 60, 3) or stacks of them, (R, C, 60, 60, 3) for R rows and C columns. Colours:
Okabe and Ito (2008), told apart by colour-blind readers and in grey.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from torchvision.utils import make_grid

from lib.data.images import to_float, to_uint8
from lib.system.files import atomic_write
from lib.system.paths import run_dir

BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#777777"
OKABE_ITO = ListedColormap(
    [BLUE, ORANGE, "#009E73", VERMILION, "#CC79A7", "#56B4E9", "#F0E442", "black"]
)
CODE_COLOURS = {"s": BLUE, "z_mu": VERMILION, "z": ORANGE}
CODE_NAMES = {
    "s": "s",
    "z_mu": "z (mean)",
    "z": "z (sampled)",
    "both": "s and z (mean)",
    "untrained": "untrained encoder",
    "pixels": "pixels",
}
UNDATED = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
GAP = 2  # pixels between the images of a sheet


plt.rcParams.update(
    {
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "cycle-vae",
        "legend.frameon": False,
    }
)


def save_figure(run: str, name: str, figure: Figure) -> Figure:
    """Write reports/<run>/figures/<name>.png and .svg, each whole or not at all; returns the
    figure, for the cell to show.
    """
    for kind in ("png", "svg"):
        write_figure(run_dir(run) / "figures" / f"{name}.{kind}", figure)
    return figure


def write_figure(path: Path, figure: Figure) -> None:
    """Write one picture, whole or not at all, and close it; the suffix of `path` names its format.
    Equal pictures give equal bytes.
    """
    buffer = io.BytesIO()
    kind = path.suffix[1:]
    figure.savefig(buffer, format=kind, metadata=UNDATED.get(kind))
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    plt.close(figure)


def image_grid(
    images: np.ndarray, titles: Sequence[str] = (), rows: Sequence[str] = (), scale: float = 0.62
) -> Figure:
    """A sheet of images (R, C, 60, 60, 3); `titles` over the columns, `rows` beside the rows."""
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


def swap_grid(top: np.ndarray, left: np.ndarray, swaps: np.ndarray, truth: np.ndarray) -> Figure:
    """Style transfer: s from `top` (C, 60, 60, 3), z from `left` (R, ...); `swaps` and, beside
    them, `truth` (R, C, ...).
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 6.1), layout="constrained")
    panels = (
        (swaps, "decoded from (z, s)", "s from the top row, z from the left column"),
        (truth, "true images", "character of the top row, pose of the left column"),
    )
    for ax, (images, name, sources) in zip(axes, panels, strict=True):
        _show_with_headers(ax, images, top, left)
        ax.set_title(name, fontsize=13)
        ax.set_xlabel(sources, fontsize=13)
    return figure


def interpolation_grid(grid: np.ndarray, first: np.ndarray, last: np.ndarray) -> Figure:
    """`grid` (8, 8, 60, 60, 3), s changing from left to right and z downwards; beside it what is
    decoded in the two corners.
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
    axes[1].set_xlabel("s: left sprite's \u2192 right one's", fontsize=13)
    axes[1].set_ylabel("z: right sprite's \u2190 left one's", fontsize=13)  # which reads upwards
    return figure


def loss_curves(
    history: list[dict[str, float]], references: dict[str, float], events: dict[str, float]
) -> Figure:
    """Training terms and validation errors against images seen.

    `references` are MSEs, drawn as lines in the last panel; `events` happen after so many images,
    upright lines in all.
    """
    terms = {
        "reconstruction": ("squared error per image (a sum)", BLUE, "log"),
        "kl": ("KL(q(z|x) || N(0, I)), nats", ORANGE, "linear"),
        "reverse": ("reverse cycle, L1 of z", VERMILION, "linear"),
    }
    figure, axes = plt.subplots(2, 2, figsize=(8.5, 4.2), layout="constrained")
    *panels, ax = axes.flat
    for panel, (name, (label, colour, scale)) in zip(panels, terms.items(), strict=True):
        panel.plot(*_series(history, name), color=colour, lw=1.2)
        panel.set(title=label, xlabel="images seen", yscale=scale)
    for name, label, colour in (
        ("validation_swap", "swap", VERMILION),
        ("validation_reconstruction", "reconstruction", BLUE),
    ):
        ax.plot(*_series(history, name), color=colour, label=label, lw=1.2, marker=".", ms=4)
    for (name, mse), style in zip(references.items(), ("--", ":", "-."), strict=False):
        ax.axhline(mse, color=GREY, ls=style, lw=1, label=name)
    ax.set(title="MSE on validation identities", xlabel="images seen", yscale="log")
    for (name, images), colour in zip(events.items(), OKABE_ITO.colors[4::-2], strict=False):
        for panel in axes.flat:
            panel.axvline(images, color=colour, lw=0.8, label=name)
    for panel in axes.flat:
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.legend(loc="upper right", fontsize=7, ncols=2, frameon=True, edgecolor="none")
    return figure


def cycle_diagram(forward: Sequence[np.ndarray], reverse: Sequence[np.ndarray]) -> Figure:
    """Both cycles, drawn on real pictures.

    forward: x1, x2, decode(z1, s2), decode(z2, s1); reverse: x_a, x_b, decode(z, s_a), decode(z,
    s_b).
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.1), layout="constrained")
    texts = (
        (
            "forward cycle: encoder and decoder learn",
            ("$x_1$", "$x_2$"),
            ("$g(z_1, s_2)$", "$g(z_2, s_1)$"),
            ("$z_1$", "$s_1$", "$z_2$", "$s_2$"),
            ("should be $x_1$", "should be $x_2$"),
        ),
        (
            "reverse cycle: the encoder alone learns",
            ("$x_a$", "$x_b$"),
            ("$g(z, s_a)$", "$g(z, s_b)$"),
            ("$z \\sim N(0, I)$", "$s_a$", "", "$s_b$"),
            ("$z_a$", "$z_b$"),
        ),
    )
    for ax, images, (title, inputs, outputs, codes, goals), is_forward in zip(
        axes, (forward, reverse), texts, (True, False), strict=True
    ):
        ax.set(xlim=(0, 10.6), ylim=(0, 4), title=title)
        ax.axis("off")
        for row, y in enumerate((2.9, 0.9)):
            _place(ax, images[row], (0.9, y), inputs[row])
            _place(ax, images[2 + row], (7.2, y), outputs[row])
            if is_forward:
                ax.annotate(goals[row], (8.1, y), va="center")
            else:
                _code(ax, goals[row], (9.3, y), VERMILION)
                _arrow(ax, (8.0, y), (8.95, y), GREY)
        code_at = (
            [(3.6, 3.3), (3.6, 2.5), (3.6, 1.3), (3.6, 0.5)]
            if is_forward
            else [(3.6, 1.9), (3.6, 2.9), None, (3.6, 0.9)]
        )
        for text, at in zip(codes, code_at, strict=True):
            if at:
                _code(ax, text, at, VERMILION if "z" in text else BLUE)
        if is_forward:
            encode = [
                ((1.6, 2.9), code_at[0]),
                ((1.6, 2.9), code_at[1]),
                ((1.6, 0.9), code_at[2]),
                ((1.6, 0.9), code_at[3]),
            ]
            decode = [
                (code_at[0], 2.9, VERMILION),
                (code_at[3], 2.9, BLUE),
                (code_at[2], 0.9, VERMILION),
                (code_at[1], 0.9, BLUE),
            ]
        else:
            encode = [((1.6, 2.9), code_at[1]), ((1.6, 0.9), code_at[3])]
            decode = [
                (code_at[0], 2.9, VERMILION),
                (code_at[0], 0.9, VERMILION),
                (code_at[1], 2.9, BLUE),
                (code_at[3], 0.9, BLUE),
            ]
            ax.annotate("should\nbe equal", (9.3, 1.9), ha="center", va="center")
        for start, (x, y) in encode:
            _arrow(ax, start, (x - 0.45, y), GREY)
        for (x, y), row, colour in decode:
            _arrow(ax, (x + (0.5 if is_forward or y != 1.9 else 0.95), y), (6.45, row), colour)
    return figure


def predictor_bars(errors: dict[str, dict[str, float]]) -> Figure:
    """Swap error of the model and of the predictors, as PSNR in dB: {name: {psnr, ...}}."""
    figure, ax = plt.subplots(figsize=(6.2, 0.34 * len(errors) + 0.6), layout="constrained")
    values = [error["psnr"] for error in errors.values()]
    colours = [
        VERMILION if "swap" in name else BLUE if "reconstruction" in name else GREY
        for name in errors
    ]
    bars = ax.barh(list(errors), values, color=colours)
    ax.bar_label(bars, labels=[f"{value:.1f}" for value in values], padding=3)
    ax.invert_yaxis()
    ax.set(xlabel="PSNR, dB (from the mean MSE)", xlim=(0, max(values) * 1.1))
    return figure


def probe_chart(probes: list[dict]) -> Figure:
    """Accuracy, with its 95 % interval, of each chosen probe beside chance and the Bayes ceiling;
    none where it did not train.
    """
    chosen = [entry for entry in probes if entry["chosen"]]
    targets = list(dict.fromkeys(entry["target"] for entry in chosen))
    figure, ax = plt.subplots(figsize=(7.5, 2.7), layout="constrained")
    for k, code in enumerate(CODE_COLOURS):
        entries = [
            next(e for e in chosen if e["code"] == code and e["target"] == target)
            for target in targets
        ]
        at = np.arange(len(targets)) + 0.26 * (k - 1)
        ax.bar(
            at,
            [100 * e["accuracy"] if e["trained"] else 0 for e in entries],
            yerr=np.array([_whiskers(e) for e in entries]).T,
            error_kw={"lw": 0.8},
            width=0.25,
            color=CODE_COLOURS[code],
            label=CODE_NAMES[code],
        )
        if k == 1:
            for name, style in (("baseline", ":"), ("ceiling", "-")):
                levels = [100 * e[name] for e in entries]
                ax.hlines(levels, at - 0.4, at + 0.4, color="black", ls=style, lw=1.2, label=name)
    ax.set_xticks(
        range(len(targets)), [target.replace("_", "\n") for target in targets], fontsize=7
    )
    ax.set(ylabel="accuracy, %", ylim=(0, 105))
    ax.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.16), fontsize=8)
    return figure


def recipe_figure(table: list[dict]) -> Figure:
    """The rows of `benchmarks.recipe`'s table, first on top: PSNR of swaps with its 95 % interval,
    and of reconstructions.
    """
    figure, ax = plt.subplots(figsize=(7, 0.34 * len(table) + 0.8), layout="constrained")
    y = np.arange(len(table))
    swaps = np.array([row["swap_psnr"] for row in table])
    low, high = np.array([row["ci95"] for row in table]).T
    ax.errorbar(
        swaps,
        y,
        xerr=(swaps - low, high - swaps),
        fmt="o",
        color=VERMILION,
        capsize=3,
        label="swap",
    )
    ax.plot(
        [row["reconstruction_psnr"] for row in table],
        y,
        "|",
        color=GREY,
        markersize=9,
        label="reconstruction",
    )
    ax.set_yticks(
        y, [row["change"] if n == 0 else f"+ {row['change']}" for n, row in enumerate(table)]
    )
    ax.invert_yaxis()
    ax.set_xlabel("validation identities, PSNR in dB")
    ax.legend(loc="lower left")
    return figure


def block_map(shares: np.ndarray, factors: Sequence[str]) -> Figure:
    """The share (2, F), 0 to 1, of each factor's entropy (rows) that s and z (columns) tell."""
    figure, ax = plt.subplots(figsize=(2.8, 0.3 * len(factors) + 1.0), layout="constrained")
    ax.set_title("share of entropy told")
    ax.imshow(shares.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, pair in enumerate(shares.T):
        for column, share in enumerate(pair):
            ax.text(
                column,
                row,
                f"{share:.2f}",
                ha="center",
                va="center",
                color="white" if share > 0.6 else "black",
            )
    ax.set_xticks((0, 1), ("s", "z (mean)"))
    ax.set_yticks(range(len(factors)), [factor.replace("_", " ") for factor in factors])
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    return figure


def agreement_figure(psnrs: Sequence[float], right: dict[str, Sequence[float]]) -> Figure:
    """Share of swaps that the judge judges right, {what: one each}, in bins of swaps alike in
    error, of which `psnrs` in dB.
    """
    figure, ax = plt.subplots(figsize=(4.6, 2.4), layout="constrained")
    for (what, shares), colour in zip(right.items(), (BLUE, VERMILION, GREY), strict=False):
        ax.plot(
            psnrs,
            100 * np.array(shares),
            "o-",
            color=colour,
            ms=4,
            lw=1.2,
            label=what.replace("_", ", "),
        )
    ax.set(xlabel="PSNR of a tenth of the swaps, dB", ylabel="judged right, %", ylim=(0, 103))
    ax.legend(loc="lower right")
    return figure


def cost_figure(points: list[dict[str, float]]) -> Figure:
    """What `benchmarks.cost` measured: time of a training pair and peak memory (rows) against each
    setting (columns).
    """
    settings = {
        "images": "images",
        "size": "pixels, each way",
        "z_dim": "size of z",
        "s_dim": "size of s",
        "batch_images": "images a step",
    }
    figure, axes = plt.subplots(
        2, len(settings), figsize=(9, 3.6), sharex="col", sharey="row", layout="constrained"
    )
    for column, (name, label) in zip(axes.T, settings.items(), strict=True):
        shown = sorted(
            (p for p in points if all(p[o] == points[0][o] for o in settings if o != name)),
            key=lambda p: p[name],
        )
        x = [p[name] for p in shown]
        column[0].plot(
            x, [1e3 * p["seconds_a_pair"] for p in shown], "o-", color=VERMILION, ms=4, lw=1.2
        )
        column[1].plot(x, [p["peak_bytes"] / 2**30 for p in shown], "o-", color=BLUE, ms=4, lw=1.2)
        column[0].set_xscale("log")
        column[1].set_xlabel(label)
        column[1].set_xticks(
            x, [str(value) if value < 1_000 else f"{value / 1_000:.0f}k" for value in x]
        )
        column[1].minorticks_off()
    axes[0, 0].set(ylabel="training, ms a pair", ylim=(0, None))
    axes[1, 0].set(ylabel="peak memory, GiB", ylim=(0, None))
    return figure


def embedding_panels(
    points: dict[str, np.ndarray], classes: dict[str, tuple[np.ndarray, Sequence[str]]]
) -> Figure:
    """Maps of codes (columns), coloured by each factor (rows): {what: (n, 2)}, {factor: ((n,)
    class, names of up to 8)}.
    """
    size = 2.6 * len(points) + 1.2, 2.6 * len(classes)
    figure, axes = plt.subplots(
        len(classes), len(points), figsize=size, squeeze=False, layout="constrained"
    )
    for row, (factor, (number, names)) in zip(axes, classes.items(), strict=True):
        for ax, (what, xy) in zip(row, points.items(), strict=True):
            dots = ax.scatter(*xy.T, c=number, cmap=OKABE_ITO, vmin=-0.5, vmax=7.5, s=5, lw=0)
            ax.set(title=what, xticks=[], yticks=[])
        row[0].set_ylabel(f"coloured by {factor}")
        present = sorted(set(number))
        handles, _ = dots.legend_elements(num=present)
        row[-1].legend(
            handles,
            [names[k] for k in present],
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            fontsize=9,
        )
    return figure


def _whiskers(entry: dict) -> tuple[float, float]:
    """What the 95 % interval of a probe's accuracy spans below and above it, in %."""
    if not entry["trained"]:
        return 0.0, 0.0
    low, high = entry["ci95"]
    return 100 * max(0.0, entry["accuracy"] - low), 100 * max(0.0, high - entry["accuracy"])


def _show(ax: Axes, images: np.ndarray) -> None:
    """Images (R, C, H, W, 3) on white, GAP pixels apart, pixel by pixel."""
    rows, columns = images.shape[:2]
    grid = make_grid(
        to_float(images.reshape(rows * columns, *images.shape[2:])),
        nrow=columns,
        padding=GAP,
        pad_value=1.0,
    )
    ax.imshow(to_uint8(grid[None])[0][GAP // 2 :, GAP // 2 :], interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _show_with_headers(ax: Axes, images: np.ndarray, top: np.ndarray, left: np.ndarray) -> None:
    """As `_show`, with a row of headers above and a column of headers beside, set off by a line."""
    corner = np.full_like(top[:1], 255)
    _show(
        ax,
        np.concatenate(
            [np.concatenate([corner, top])[None], np.concatenate([left[:, None], images], axis=1)]
        ),
    )
    step = images.shape[3] + GAP
    for line in (ax.axhline, ax.axvline):
        line(step - 0.5, color=VERMILION, lw=1.5)


def _label(
    ax: Axes, x: list[float], titles: Sequence[str], y: list[float], rows: Sequence[str]
) -> None:
    ax.set_xticks(x, titles, fontsize=7)
    ax.set_yticks(y, rows, fontsize=7)
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)


def _series(history: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    return [row["images"] for row in history if name in row], [
        row[name] for row in history if name in row
    ]


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
