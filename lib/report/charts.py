"""Charts of results: losses, errors, accuracies and maps of codes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from lib.report.figures import BLUE, GREY, OKABE_ITO, ORANGE, VERMILION
from lib.report.numbers import CODE_NAMES, fixed, plain

CODE_COLOURS = {"s": BLUE, "z_mu": VERMILION, "z": ORANGE}


def loss_curves(
    history: list[dict[str, float]],
    references: dict[str, float],
    events: dict[str, float],
    split: str,
) -> Figure:
    """Training terms and validation errors against images seen; no panel for a missing term.

    `references` {name: MSE} are horizontal lines in the last panel; `events` {name: images} are
    vertical lines in all panels. `split` says what is held out.
    """
    terms = {
        "reconstruction": ("squared error per image (a sum)", BLUE, "log"),
        "kl": ("KL(q(z|x) || N(0, I)), nats", ORANGE, "linear"),
        "reverse": ("reverse cycle, L1 of z", VERMILION, "linear"),
    }
    terms = {name: each for name, each in terms.items() if any(name in row for row in history)}
    rows = 1 if len(terms) < 3 else 2
    size = 8.5, 2.1 * rows + 0.5
    figure, axes = plt.subplots(
        rows, (len(terms) + 1) // rows, figsize=size, squeeze=False, layout="constrained"
    )
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
    part = "images" if split == "image" else "identities"
    ax.set(title=f"MSE on validation {part}", xlabel="images seen", yscale="log")
    for (name, images), colour in zip(events.items(), OKABE_ITO.colors[4::-2], strict=False):
        for panel in axes.flat:
            panel.axvline(images, color=colour, lw=0.8, label=name)
    for panel in axes.flat:
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", fontsize=7, ncols=8)
    return figure


def predictor_bars(errors: dict[str, dict[str, float]]) -> Figure:
    """PSNR of the model and of the predictors: {name: {psnr, ...}}."""
    figure, ax = plt.subplots(figsize=(6.2, 0.34 * len(errors) + 0.6), layout="constrained")
    values = [error["psnr"] for error in errors.values()]
    colours = [
        VERMILION if "swap" in name else BLUE if "reconstruction" in name else GREY
        for name in errors
    ]
    bars = ax.barh(list(errors), values, color=colours)
    ax.bar_label(bars, labels=list(map(fixed, values)), padding=3)
    ax.invert_yaxis()
    ax.set(xlabel="PSNR, dB (from the mean MSE)", xlim=(0, max(values) * 1.1))
    return figure


def probe_chart(probes: list[dict]) -> Figure:
    """Accuracy of each chosen probe with its 95 % interval, the baseline and the Bayes ceiling.

    A probe that is no evidence has no bar. Of two splits the first is shown.
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
            [100 * e["accuracy"] if e["evidence"] else 0 for e in entries],
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


def block_map(shares: np.ndarray, factors: Sequence[str]) -> Figure:
    """Explained entropy of each factor (rows) by s and z (columns); `shares` (2, F), 0 to 1."""
    figure, ax = plt.subplots(figsize=(2.8, 0.3 * len(factors) + 1.0), layout="constrained")
    ax.set_title("explained entropy")
    ax.imshow(shares.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, pair in enumerate(shares.T):
        for column, share in enumerate(pair):
            ax.text(
                column,
                row,
                fixed(share, 2),
                ha="center",
                va="center",
                color="white" if share > 0.6 else "black",
            )
    ax.set_xticks((0, 1), ("s", "z (mean)"))
    ax.set_yticks(range(len(factors)), [plain(factor) for factor in factors])
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    return figure


def agreement_figure(psnrs: Sequence[float], right: dict[str, Sequence[float]]) -> Figure:
    """The judge's accuracy {target: one per bin} in bins of swaps with similar PSNR, `psnrs`."""
    figure, ax = plt.subplots(figsize=(4.6, 2.4), layout="constrained")
    for (name, shares), colour in zip(right.items(), (BLUE, VERMILION, GREY), strict=False):
        ax.plot(psnrs, 100 * np.array(shares), "o-", color=colour, ms=4, lw=1.2, label=plain(name))
    ax.set(
        xlabel="PSNR of a tenth of the swaps, dB", ylabel="accuracy of the judge, %", ylim=(0, 103)
    )
    ax.legend(ncols=len(right), loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return figure


def embedding_panels(
    points: dict[str, np.ndarray], classes: dict[str, tuple[np.ndarray, Sequence[str]]]
) -> Figure:
    """Maps of codes (columns), coloured by each factor (rows).

    Shapes: `points` {name: (n, 2)}; `classes` {factor: ((n,) class, names of up to 8)}. The points
    are rasterised: thousands of vector paths would weigh more than the rest of the report.
    """
    size = 2.6 * len(points) + 1.2, 2.6 * len(classes)
    figure, axes = plt.subplots(
        len(classes), len(points), figsize=size, squeeze=False, layout="constrained"
    )
    for row, (factor, (number, names)) in zip(axes, classes.items(), strict=True):
        for ax, (name, xy) in zip(row, points.items(), strict=True):
            dots = ax.scatter(
                *xy.T, c=number, cmap=OKABE_ITO, vmin=-0.5, vmax=7.5, s=5, lw=0, rasterized=True
            )
            ax.set(title=name, xticks=[], yticks=[])
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


def forest_plot(panels: Mapping[str, Mapping[str, Mapping[str, Mapping]]]) -> Figure:
    """Differences with their 95 % intervals: {metric: {group: {method: {mean, ci95}}}}.

    A panel for each metric, a row for each method and a colour for each group. A difference of a
    single pair has no interval, and a hollow marker.
    """
    found = [each for groups in panels.values() for each in groups.values()]
    # the longest list has them in their order
    methods = list(dict.fromkeys(m for each in sorted(found, key=len, reverse=True) for m in each))
    size = 2.9 * len(panels) + 1.2, 0.22 * len(methods) + 1.1
    figure, axes = plt.subplots(
        1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (metric, groups) in zip(axes[0], panels.items(), strict=True):
        ax.axvline(0, color=GREY, lw=0.8)
        for k, (group, entries) in enumerate(groups.items()):
            offset, colour = 0.3 * (k - (len(groups) - 1) / 2), (BLUE, VERMILION, ORANGE)[k % 3]
            for method, entry in entries.items():
                y, interval = methods.index(method) + offset, entry["ci95"]
                ax.plot(entry["mean"], y, "o", color=colour, ms=4, mfc=colour if interval else "w")
                if interval:
                    ax.plot(interval, (y, y), color=colour, lw=1.2)
            ax.plot([], [], "o-", color=colour, ms=4, lw=1.2, label=group)
        ax.set_xlabel(f"{metric} {'(right is better)' if 'dB' in metric else '(left is better)'}")
    axes[0, 0].set_yticks(range(len(methods)), methods, fontsize=8)
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def learning_curves(groups: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> Figure:
    """PSNR of validation swaps against images seen: {group: {method: [[images, dB]]}}."""
    figure, axes = plt.subplots(
        1, len(groups), figsize=(7.8, 2.8), sharey=True, squeeze=False, layout="constrained"
    )
    methods = list(dict.fromkeys(method for curves in groups.values() for method in curves))
    for ax, (group, curves) in zip(axes[0], groups.items(), strict=True):
        for method, points in curves.items():
            colour = OKABE_ITO.colors[methods.index(method)]
            ax.plot(*np.transpose(points), ".-", color=colour, lw=1.2, ms=4, label=method)
        ax.set(title=group, xlabel="images seen", xscale="log")
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    lines = {line.get_label(): line for ax in axes[0] for line in ax.lines}
    figure.legend(lines.values(), lines, loc="outside right upper", fontsize=8)
    axes[0, 0].set_ylabel("PSNR of validation swaps, dB")
    return figure


def _whiskers(entry: dict) -> tuple[float, float]:
    """The 95 % interval of a probe's accuracy, below and above it, in %."""
    if not entry["evidence"]:
        return 0.0, 0.0
    low, high = entry["ci95"]
    return 100 * max(0.0, entry["accuracy"] - low), 100 * max(0.0, high - entry["accuracy"])


def _series(history: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    return [row["images"] for row in history if name in row], [
        row[name] for row in history if name in row
    ]
