"""Where files live, and how the folder of a run is named."""

import os
import re
from pathlib import Path

from lib.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CYCLE_VAE_DATA", ROOT / "data"))
REPORTS = Path(os.environ.get("CYCLE_VAE_REPORTS", ROOT / "reports"))
NOTEBOOKS = (
    "01_create_sprites",
    "02_train",
    "03_style_transfer",
    "04_interpolation",
    "05_latent_classifiers",
)


def run_name(source: str, preset: str, seed: int, overrides: dict[str, object]) -> str:
    """The default name of a run: its source, and every setting that is not the default."""
    if preset == "fast" and seed == 0 and not overrides:
        return source
    changed = [f"{name}={value}" for name, value in sorted(overrides.items())]
    return "-".join([source, preset, f"seed{seed}", *changed])


def run_dir(run: str) -> Path:
    """The folder of a run, `reports/<run>`. Raises UserError for a name that no folder can have."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}", run):
        raise UserError(
            f"'{run}' cannot name a run: use up to 100 letters, digits, '.', '_', '=', '+' and '-',"
            " a letter or digit first"
        )
    return REPORTS / run


def shown_path(path: Path) -> str:
    """A path as the user reads it: relative to the working directory where it lies inside."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
