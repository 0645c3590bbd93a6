"""What the tests share: a few drawn sprites, and a slice of the real archive, rebuilt where this
machine has its source.
"""

import importlib.util
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from lib.data.drawn import ATTRIBUTES, character_labels, draw_characters, draw_sprites
from lib.data.image_set import ImageSet, to_arrays
from lib.data.sprites import sprite_set
from lib.data.stored import stored_path
from lib.system.files import write_arrays

pytest_plugins = ["tests.faults.table"]
BUILD = Path(__file__).parents[2] / "shared" / "sprites" / "build_archive.py"


LONGEST_MODULES = (  # by what they took, the longest first
    "test_smoke_report",
    "test_own_images",
    "test_killed_pipeline",
    "test_setup",
    "test_strangers",
    "test_study",
    "test_killed_training",
    "test_benchmarks",
    "test_options",
    "test_disk",
    "test_training",
    "test_probes",
    "test_checkpoints",
    "test_train",
    "test_killed_setup",
    "test_judge",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts the longest modules first, so that no worker has one left when the others are done."""
    order = {name: place for place, name in enumerate(LONGEST_MODULES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def save_sprites(dataset: ImageSet) -> Path:
    """Writes `data/<source>.npz`, as notebook 1 does when it made them."""
    path = stored_path(dataset.source)
    write_arrays(path, to_arrays(dataset))
    return path


def make_once(path: Path, make: Callable[[Path], object]) -> Path:
    """Has `make` write `path`, unless it did so in this session, perhaps for another worker of
    pytest-xdist. Returns the path.
    """
    with FileLock(f"{path}.lock"):
        if not path.exists():
            partial = path.with_name(f"partial-{path.name}")
            make(partial)
            partial.rename(path)
    return path


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder that all workers of this session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def real_images():
    """The true images (178, 60, 60, 3) of some characters by their number: 0 to 7, and 31 pairs of
    twins from the rest.
    """
    if not BUILD.exists():
        pytest.skip("the real sprites are not on this machine (../shared/sprites)")
    spec = importlib.util.spec_from_file_location("build_archive", BUILD)
    build_archive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build_archive)
    characters = [*range(8), *(first + twin for first in range(20, 640, 20) for twin in (0, 1))]
    return dict(zip(characters, build_archive.load(characters)[0], strict=True))


@pytest.fixture(scope="session")
def archive_slice(shared_folder):
    """A folder that holds `data/sprites` with characters 0 to 7 and `nips2015-analogy-data.tar.gz`
    with the same.
    """
    if not BUILD.exists():
        pytest.skip("the real sprites are not on this machine (../shared/sprites)")

    def build(folder: Path) -> None:
        command = [sys.executable, BUILD, folder, "--characters", "0-7", "--tar"]
        subprocess.run(command, check=True, capture_output=True)

    return make_once(shared_folder / "archive", build)


@pytest.fixture(scope="session")
def drawn_sprites():
    """All drawn sprites."""
    start = time.process_time()
    data = draw_sprites(progress=False)
    assert time.process_time() - start < 20
    return data


@pytest.fixture(scope="session")
def few_sprites(shared_folder):
    """Twelve identities of the drawn sprites, 4,272 images: enough to split, train and probe on in
    seconds.
    """
    path = make_once(shared_folder / "few.pickle", lambda path: path.write_bytes(few_pickled()))
    return pickle.loads(path.read_bytes())


def few_pickled() -> bytes:
    labels = character_labels()
    identity = np.unique(labels[:, :-1], axis=0, return_inverse=True)[1].reshape(-1)
    some = np.random.default_rng(0).permutation(identity.max() + 1)[:12]
    labels = labels[np.isin(identity, some)]
    images, numbers = draw_characters(labels), np.arange(len(labels))
    return pickle.dumps(sprite_set("drawn", images, labels, tuple(ATTRIBUTES), numbers, "few"))
