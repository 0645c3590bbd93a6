"""What the study of `benchmarks/` says, for notebooks 02 and 06 and their figures."""

from collections.abc import Sequence

import numpy as np

from lib.report.tables import Table
from lib.system.errors import UserError
from lib.system.files import READ_ERRORS, read_arrays, read_json
from lib.system.paths import BENCHMARKS

STUDY, SWAPS = BENCHMARKS / "study.json", BENCHMARKS / "study.npz"
REMEDY = "restore it (git checkout benchmarks), or run python -m benchmarks.study again"
INPUTS = {"s_image": "s image", "z_image": "z image", "target": "true image"}

# the columns of `selected`
SELECTED = (
    "swap, dB",
    "less “ours”, dB",
    "mean leak of z (mean), %",
    "mean leak of z (sampled), %",
    "pose from s, %",
)


def is_measured() -> bool:
    """Whether the study has compared methods."""
    return "comparison" in _stored()


def read_comparison() -> dict:
    """Tables {caption, head, rows}, sentences and differences, see `benchmarks.comparison`.

    Raises: UserError where the study has not compared methods.
    """
    stored = _stored()
    if "comparison" not in stored:
        raise UserError(f"{STUDY} compares no methods: {REMEDY}")
    return stored["comparison"]


def selected(methods: Sequence[str], source: str = "2D Sprites") -> Table:
    """Swaps and leaks of some methods on one source, a row each; without those that are absent."""
    comparison = read_comparison()
    meanings = dict(comparison["methods"]["rows"])
    cells: dict[str, dict[str, str]] = {}
    for table in comparison["values"]:
        if f": {source}, split by identity." in table["caption"]:
            for name, *values in table["rows"]:
                cells.setdefault(name, {}).update(zip(table["head"][1:], values, strict=True))
    names = [f"“{method}”" for method in methods if f"“{method}”" in cells]
    rows = [[name, meanings[name], *(cells[name].get(c, "–") for c in SELECTED)] for name in names]
    return ["method", "what it is", *SELECTED], rows


def read_swaps() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same swaps of drawn sprites by each method.

    Returns: {name: uint8 (N, 60, 60, 3)} of the s images, the z images and the true images; and of
        the swaps, by method. Raises: UserError where the file is absent or damaged.
    """
    try:
        arrays = read_arrays(SWAPS)
        inputs = {text: arrays.pop(name) for name, text in INPUTS.items()}
    except READ_ERRORS:
        raise UserError(f"{SWAPS} cannot be read: {REMEDY}") from None
    return inputs, arrays


def _stored() -> dict:
    return read_json(STUDY, REMEDY) if STUDY.exists() else {}
