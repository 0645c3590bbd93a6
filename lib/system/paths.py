"""Where files live, and how the folder of a run is named."""

import os
import re
from pathlib import Path

from lib.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


DATA = Path(os.environ.get("CYCLE_VAE_DATA", ROOT / "data"))


REPORTS = Path(os.environ.get("CYCLE_VAE_REPORTS", ROOT / "reports"))


def run_name(source: str, preset: str, seed: int, overrides: dict[str, object]) -> str:
    """The default name of a run: the source alone for default settings, else every setting that differs."""
    if preset == "fast" and seed == 0 and not overrides:
        return source
    return "-".join([source, preset, f"seed{seed}", *(f"{name}={value}" for name, value in sorted(overrides.items()))])


def run_dir(run: str) -> Path:
    """The folder of a run, `reports/<run>`. Raises `UserError` where the name could not be a folder's."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}", run):
        raise UserError(
            f"'{run}' cannot name a run: use up to 100 letters, digits, '.', '_', '=', '+' and '-', a letter or digit first"
        )
    return REPORTS / run
