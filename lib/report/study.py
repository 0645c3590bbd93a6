"""What the study of `benchmarks/` says, for notebook 06 and its figures."""

import numpy as np

from lib.system.errors import UserError
from lib.system.files import READ_ERRORS, read_arrays, read_json
from lib.system.paths import BENCHMARKS

STUDY, SWAPS = BENCHMARKS / "study.json", BENCHMARKS / "study.npz"
REMEDY = "restore it (git checkout benchmarks), or run python -m benchmarks.study again"
INPUTS = {"s_image": "s image", "z_image": "z image", "target": "true image"}


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
