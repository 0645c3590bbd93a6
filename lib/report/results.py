"""Results of a run: each notebook writes its own sections, which are joined here."""

import platform
from importlib.metadata import version

from lib.system.files import read_json, write_json
from lib.system.paths import run_dir

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
    """The versions that a result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def save_results(run: str, notebook: str, /, **sections: object) -> None:
    """Write reports/<run>/results/<notebook>.json, whole or not at all. Raises `ValueError` for a
    number that is not finite.
    """
    write_json(run_dir(run) / "results" / f"{notebook}.json", sections)


def read_results(run: str) -> dict:
    """What the notebooks of a run have written so far, joined in their order; `findings` of all of
    them in one section.
    """
    results: dict = {"findings": {}}
    for path in sorted((run_dir(run) / "results").glob("*.json")):
        sections = read_json(path, f"remove it, then run {path.stem}.ipynb or ./run_all.sh again")
        results["findings"] |= sections.pop("findings", {})
        results |= sections
    return results
