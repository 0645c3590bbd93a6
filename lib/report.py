"""Results and figures of a run to `results.json` and a typeset `report.pdf`; the text is `reports/report.typ`.

Each notebook writes its own sections with `save_results`; `merge_results` joins them. A sentence that draws a conclusion is
computed here, once, from the numbers, and shown by the notebook and by the report alike.
"""

import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import typst

from lib.config import ROOT, UserError, run_dir

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "h5py", "matplotlib", "papermill", "nbconvert", "typst")
ATTRIBUTION = {
    "sprites": "Sprites: Liberated Pixel Cup (CC-BY-SA 3.0 and GPL 3.0), as published by Reed et al. (NIPS 2015).",
    "drawn": "The sprites were drawn by this project's own code (lib/drawn.py); no foreign art is shown.",
}
WORKING_KL = 1.0  # nats: a z that carries less than about one bit does not hold a pose
JUMP = 4.0  # times the mean step: where one of 11 steps takes more than a third of the way, the way is not even
LEAK = 0.05  # accuracy above chance from which on an attribute counts as given away


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def save_results(run: str, notebook: str, /, **sections: object) -> None:
    """Write reports/<run>/results/<notebook>.json, whole or not at all. Raises `ValueError` for a number that is not finite."""
    _write(run_dir(run) / "results" / f"{notebook}.json", sections)


def read_results(run: str) -> dict:
    """What the notebooks of a run have written so far, joined in their order; `findings` of all of them in one section."""
    results: dict = {"findings": {}}
    for path in sorted((run_dir(run) / "results").glob("*.json")):
        sections = json.loads(path.read_text())
        results["findings"] |= sections.pop("findings", {})
        results |= sections
    return results


def build_report(run: str) -> Path:
    """Join the results of all notebooks into results.json and typeset report.pdf from it and the figures.

    Raises `UserError` where a notebook has not run or the text does not compile without warnings.
    """
    results = read_results(run)
    missing = [name for name in ("data", "training", "swap", "interpolation", "probes") if name not in results]
    if missing:
        raise UserError(
            f"run '{run}' lacks the results {', '.join(missing)}: run its notebooks first, ./run_all.sh --run {run}"
        )
    folder = run_dir(run)
    results["attribution"] = ATTRIBUTION[results["source"]]
    _write(folder / "results.json", results)
    text = folder / "report.typ"
    shutil.copyfile(ROOT / "reports" / "report.typ", text)
    try:
        pdf, warnings = typst.compile_with_warnings(str(text), root=str(folder), ignore_system_fonts=True, timestamp=0)
    except typst.TypstError as error:
        raise UserError(f"report.typ does not compile: {error}") from error
    if warnings:
        raise UserError(f"report.typ compiles with a warning: {warnings[0].message}")
    text.unlink()
    beside = folder / "report.pdf.partial"
    beside.write_bytes(pdf)
    os.replace(beside, folder / "report.pdf")
    return folder / "report.pdf"


def data_finding(data: dict) -> str:
    """What the data allow any classifier to reach."""
    ceilings = data["ceilings"]
    return (
        f"Of {data['images']:,} images {data['distinct_images']:,} are distinct, because characters that differ in the weapon "
        f"alone look the same wherever it is hidden. From one image nobody can name one of {data['characters']} characters "
        f"more often than "
        f"{_percent(ceilings['character'])}, one of {data['identities']} identities more often than "
        f"{_percent(ceilings['identity'])}, or the pose more often than {_percent(ceilings['pose'])}."
    )


def training_finding(training: dict) -> str:
    """Whether the model learned and what z carries."""
    kl = training["kl_nats"]
    first, final = (training[when]["reconstruction"] for when in ("first", "final"))
    cost = (
        f"Training on {training['pairs']:,} pairs took {training['seconds'] / 60:.1f} minutes, "
        f"{training['pairs_per_second']:.0f} pairs/s; the squared error of an image went from {first:.0f} to {final:.0f}."
    )
    if kl < WORKING_KL:
        return f"{cost} z collapsed: it carries {kl:.2f} nats an image, so it holds no pose: this run failed."
    return f"{cost} z carries {kl:.1f} nats an image, where naming one of the poses takes {training['pose_nats']:.1f}."


def swap_finding(swap: dict, reconstruction: dict) -> str:
    """On which side of the simple predictors the model stands."""
    test, predictors = swap["test"]["psnr"], swap["predictors"]
    beaten = [name for name, error in predictors.items() if test > error["psnr"]]
    best = max(beaten, key=lambda name: predictors[name]["psnr"], default=None)
    retrieval = predictors["retrieval"]["psnr"]
    if test > retrieval:
        verdict = f"It beats retrieval ({retrieval:.1f} dB): it composes characters and poses that it never saw together."
    elif best is None:
        verdict = "It beats no simple predictor: this run did not learn to swap."
    else:
        verdict = (
            f"It beats {best.replace('_', ' ')} ({predictors[best]['psnr']:.1f} dB) but not retrieval ({retrieval:.1f} dB): "
            "by this measure it does not yet do better than remembering the nearest training character."
        )
    return (
        f"On unseen identities a swap reaches {test:.1f} dB against the true sprite, a plain reconstruction "
        f"{reconstruction['test']['psnr']:.1f} dB. {verdict}"
    )


def interpolation_finding(interpolation: dict) -> str:
    """Whether the way between two sprites is even; 11 equal to a single jump on a path of 12 images."""
    largest = {code: interpolation[f"largest_step_{code}"] for code in ("s", "z")}
    text = (
        f"Along a line in s the largest of 11 steps changes the image {largest['s']:.1f} times as much as the mean step, "
        f"along one in z {largest['z']:.1f} times (medians over {interpolation['n']} pairs of test sprites)"
    )
    jumpy = [code for code, step in largest.items() if step > JUMP]
    if jumpy:
        return f"{text}: a path in {' and in '.join(jumpy)} jumps rather than changes."
    return f"{text}: neither path jumps. A path's end lies at {interpolation['end_psnr']:.1f} dB from its real sprite."


def probe_finding(probes: list[dict]) -> str:
    """Who and which pose each code gives away, by the MLP probe, between chance and ceiling."""
    found = {(e["code"], e["target"]): e for e in probes if e["probe"] == "mlp"}
    untrained = [
        f"{target} from {code.removesuffix('_mu')}" for (code, target), e in found.items() if not e["trained"] and code != "z"
    ]
    attributes = [
        e for (code, target), e in found.items() if code == "z_mu" and target not in ("character", "identity", "pose")
    ]
    worst = max(attributes, key=lambda e: e["accuracy"] - e["chance"])
    text = (
        f"s names the identity in {_of_ceiling(found['s', 'identity'])}, z in {_of_ceiling(found['z_mu', 'identity'])}. "
        f"z names the pose in {_of_ceiling(found['z_mu', 'pose'])}, s in {_of_ceiling(found['s', 'pose'])}. "
    )
    if worst["accuracy"] - worst["chance"] > LEAK:
        text += f"z is not free of who: it gives away the {worst['target'].replace('_', ' ')} in {_of_ceiling(worst)}."
    else:
        text += f"No single attribute is read from z more than {100 * LEAK:.0f} points above chance."
    if untrained:
        text += f" The probes of {', '.join(untrained)} did not train: their accuracy says nothing."
    return text


def _of_ceiling(entry: dict) -> str:
    return f"{_percent(entry['accuracy'])} of images (chance {_percent(entry['chance'])}, ceiling {_percent(entry['ceiling'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".json.partial")
    beside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(beside, path)
