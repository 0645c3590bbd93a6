"""Where files live, and how the folder of a run is named."""

import hashlib
import os
import re
from pathlib import Path

from lib.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
LONGEST_NAME = 100  # letters of a run's name


def named_folder(variable: str) -> Path | None:
    """The path in an environment variable; None where it is unset or empty.

    The variable becomes absolute, since kernels and other processes work in other folders.
    """
    if not (value := os.environ.get(variable)):
        return None
    os.environ[variable] = os.path.abspath(os.path.expanduser(value))
    return Path(os.environ[variable])


DATA = named_folder("CYCLE_VAE_DATA") or ROOT / "data"
REPORTS = named_folder("CYCLE_VAE_REPORTS") or ROOT / "reports"
named_folder("CYCLE_VAE_ARCHIVE")  # for the processes that this one starts
NOTEBOOKS = (
    "01_create_sprites",
    "02_train",
    "03_style_transfer",
    "04_interpolation",
    "05_latent_classifiers",
    "06_study",
)


def run_name(
    source: str,
    preset: str,
    seed: int,
    overrides: dict[str, object],
    split: str = "identity",
    split_seed: int = 0,
) -> str:
    """The default name of a run: its source, and every setting that is not the default."""
    changed = [f"{name}={value}" for name, value in sorted(overrides.items())]
    if (split, split_seed) != ("identity", 0):
        changed.insert(0, f"{split}{split_seed}")
    if preset == "fast" and seed == 0 and not changed:
        return source
    name = "-".join([source, preset, f"seed{seed}", *changed])
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def run_dir(run: str) -> Path:
    """The folder of a run, `reports/<run>`. Raises UserError for a name that no folder can have."""
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._=+-]{{0,{LONGEST_NAME - 1}}}", run):
        raise UserError(
            f"'{run}' cannot name a run: use up to {LONGEST_NAME} letters, digits, '.', '_', '=',"
            " '+' and '-', a letter or digit first"
        )
    return REPORTS / run


def shown_path(path: Path) -> str:
    """A path as the user reads it: relative to the working directory where it lies inside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # it lies elsewhere; the working directory is gone
        return str(path)
