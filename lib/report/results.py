"""Results of a run: each notebook writes some sections, and this module joins them."""

import platform
import subprocess
from importlib.metadata import version

from lib.system.files import read_json, write_json
from lib.system.paths import ROOT, run_dir

# why a part of a notebook is absent
NO_TRUTH = "Left out: no pose is known, so the true images of swaps are not known."
NO_ATTRIBUTES = "Left out: this needs known poses, and attributes (labels.csv in your folder)."
NO_FACTORS = "Left out: this needs known poses, and factors of them (poses.csv in your folder)."
VERSION = 4  # raised when a number is measured in another way: stored results are then too old

PACKAGES = (
    "torch",
    "torchvision",
    "torchmetrics",
    "numpy",
    "scipy",
    "scikit-learn",
    "h5py",
    "matplotlib",
    "papermill",
    "nbconvert",
    "typst",
)


def versions() -> dict[str, str]:
    """The package versions that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def origin(number: int = VERSION) -> dict[str, object]:
    """{version, commit} of the code that makes results; a "+" says that files were changed.

    The commit is None outside of a git checkout.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "lib", "benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return {"version": number, "commit": None}
    return {"version": number, "commit": commit + ("+" if changed else "")}


def save_results(run: str, notebook: str, /, **sections: object) -> None:
    """Write reports/<run>/results/<notebook>.json, completely or not at all.

    Raises: `ValueError` for a number that is not finite.
    """
    write_json(run_dir(run) / "results" / f"{notebook}.json", sections)


def read_results(run: str) -> dict:
    """Join the sections that the notebooks of a run have written; `findings` become one section."""
    results: dict = {"findings": {}}
    for path in sorted((run_dir(run) / "results").glob("*.json")):
        sections = read_json(path, f"remove it, then run {path.stem}.ipynb or ./run_all.sh again")
        results["findings"] |= sections.pop("findings", {})
        results |= sections
    return results
