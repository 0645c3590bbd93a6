"""What all faults share: a small archive, the data made from it, a place for each module, and the
record of a row.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.archives import write_archive
from tests.conftest import make_once
from tests.faults.place import Place
from tests.faults.table import PROPERTY, Row

CHARACTERS = 24
ARCHIVE_NAME = "archive ü <img src=x onerror=alert(1)>"  # letters and markup that must do no harm


@pytest.fixture(scope="session")
def published(shared_folder: Path) -> Path:
    """An archive, not to be changed."""
    return (
        make_once(shared_folder / "published", lambda path: write_archive(path, CHARACTERS))
        / "data"
        / "sprites"
    )


@pytest.fixture(scope="session")
def made_data(shared_folder: Path, published: Path) -> Path:
    """The data made from it, sprites.npz."""

    def make(folder: Path) -> None:
        Place(folder, published).make_data()

    return make_once(shared_folder / "made", make) / "data" / "sprites.npz"


@pytest.fixture(scope="module")
def place(published: Path) -> Iterator[Place]:
    """A place for one module, without data. Its path is short, as sockets of kernels lie in it."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        archive = shutil.copytree(published, Path(folder) / ARCHIVE_NAME)
        yield Place(Path(folder), archive)


@pytest.fixture(scope="module")
def place_with_data(place: Place, made_data: Path) -> Place:
    place.data.mkdir(exist_ok=True)
    shutil.copy(made_data, place.data)
    return place


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Records the row of this test: fault, sentence, status, what is left, recovered."""

    def add(fault: str, sentence: str, status: object, left: str, recovered: str) -> None:
        row = Row(
            request.session.items.index(request.node), fault, sentence, str(status), left, recovered
        )
        request.node.user_properties.append((PROPERTY, tuple(row)))

    return add
