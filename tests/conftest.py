"""What the tests share: a few drawn sprites, and a slice of the real archive, rebuilt where this
machine has its source.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lib.data.drawn import ATTRIBUTES, character_labels, draw_characters
from lib.data.sprites import Sprites, distinct_images

BUILD = Path(__file__).parents[2] / "shared" / "sprites" / "build_archive.py"


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
def archive_slice(tmp_path_factory):
    """A folder that holds `data/sprites` with characters 0 to 7 and `nips2015-analogy-data.tar.gz`
    with the same.
    """
    if not BUILD.exists():
        pytest.skip("the real sprites are not on this machine (../shared/sprites)")
    folder = tmp_path_factory.mktemp("archive")
    subprocess.run(
        [sys.executable, BUILD, folder, "--characters", "0-7", "--tar"],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="session")
def few_sprites():
    """Twelve identities of the drawn sprites, 4,272 images: enough to split, train and probe on in
    seconds.
    """
    labels = character_labels()
    identity = np.unique(labels[:, :-1], axis=0, return_inverse=True)[1].reshape(-1)
    labels = labels[
        np.isin(identity, np.random.default_rng(0).permutation(identity.max() + 1)[:12])
    ]
    images = draw_characters(labels)
    return Sprites(
        "drawn",
        images,
        labels,
        tuple(ATTRIBUTES),
        np.arange(len(labels)),
        distinct_images(images),
        "few",
    )
