"""The page reports/<run>/explorer.html, in which a visitor changes s and z: one file.

Its networks run in the browser (explorer.js), with weights in 8 bits, on sprites of the test split.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from IPython.display import IFrame, Markdown

from lib.data.image_set import ImageSet
from lib.data.sprites import ACTIONS, N_POSES, POSES, VIEWS, pose_number
from lib.data.stored import SPRITE_SOURCES
from lib.evaluation import swaps
from lib.method.runs import Run
from lib.report.numbers import count, fixed
from lib.report.packing import pack, palette, weights_in_8_bits
from lib.system.files import atomic_write

CHARACTERS, SLIDERS, SWAPS = 20, 16, 1_000  # at most; the swaps measure what 8 bits cost
PORTRAIT = pose_number("walk", "down", 0)  # from which s is read
FIRST_POSES = pose_number("walk", "right", 4), pose_number("spellcast", "down", 5)  # they differ
NO_PAGE = "There is no explorer of this run: its page is for sprites and the dense networks."


def has_page(run: Run) -> bool:
    return run.source in SPRITE_SOURCES and run.hp.architecture == "dense"


def write_page(
    run: Run, dataset: ImageSet, test: np.ndarray, order: np.ndarray, ranges: np.ndarray
) -> None:
    """Write explorer.html, if the images are sprites and the networks dense. `test` are indices.

    Its sliders are the axes of z in `order` (A,); each axis goes to its value in `ranges` (Z,).
    """
    if not has_page(run):
        return
    weights, rounded = weights_in_8_bits(run.model.state_dict())
    coarse = copy.deepcopy(run.model)
    coarse.load_state_dict(rounded)
    rng, identity = np.random.default_rng(run.split_seed), dataset.character_identity
    some = rng.permutation(np.unique(dataset.identity[test]))[:CHARACTERS]
    characters = [rng.choice(np.flatnonzero(identity == each)) for each in some]
    images = dataset.images[dataset.image_at(np.array(characters)[:, None], np.arange(N_POSES))]
    colours, numbers = palette(images)
    sample = swaps.sample_swaps(dataset, test, min(SWAPS, run.hp.swap_samples), run.split_seed)
    errors = (swaps.swap_error(model, dataset, sample) for model in (run.model, coarse))
    exact, shown = (swaps.summarize(error)["psnr"] for error in errors)
    portraits = len(np.unique(dataset.distinct[PORTRAIT::N_POSES]))
    texts = {
        "run": run.name,
        "characters": count(len(characters)),
        "swaps": count(len(sample.target)),
        "exact": fixed(exact),
        "lost": fixed(exact - shown, 3),
        "attribution": dataset.attribution.credit,
    }
    facts = {
        "texts": texts,
        **{"portrait": PORTRAIT, "first_poses": FIRST_POSES},
        "portrait_hides_weapon": portraits <= dataset.n_identities,
        "background_level": run.hp.background_level,
        **{"order": order.tolist(), "ranges": ranges.tolist()},
        **{"poses": POSES.tolist(), "actions": ACTIONS, "views": VIEWS},
    }
    data = pack({**weights, "images": numbers, "colours": colours}, facts)
    page, script = (Path(__file__).with_suffix(kind).read_text() for kind in (".html", ".js"))
    with atomic_write(run.folder / "explorer.html") as file:
        file.write(page.replace("{{script}}", script).replace("{{data}}", data).encode())


def show_page(run: Run, executed: Sequence[str]) -> IFrame | Markdown:
    """explorer.html in a frame, or why there is none.

    `executed` are the sources of the cells that ran (IPython's `In`). A notebook with given
    parameters is a copy in the folder of the run (`lib.commands.notebooks`).
    """
    if not has_page(run):
        return Markdown(NO_PAGE)
    is_copy = any(source.startswith("# Parameters") for source in executed)
    folder = ".." if is_copy else f"../reports/{run.name}"
    return IFrame(f"{folder}/explorer.html", "100%", 900, extras=['title="the explorer"'])
