"""Every damage of `tests.archives` to what the reader takes, and two of them through
the whole command.
"""

import re
import shutil
import tempfile
from pathlib import Path

import pytest

from lib.data.archive import read_archive
from lib.system.paths import ROOT
from tests.archives import BAD_FILES, BAD_TARS, bad_tars, write_tar
from tests.faults.place import Place, check_refused, refusal, shown

pytestmark = pytest.mark.faults

BAD_PLACES = {
    "an empty folder": ("empty", "holds no sprites_0.mat"),
    "a file instead of a folder": ("file.txt", "is no tar file"),
    "nothing of that name": ("absent", "there is no .*absent: give"),
}


def copy_three(published: Path, folder: Path) -> Path:
    """A folder with the first three characters, to be damaged."""
    folder.mkdir(parents=True)
    for number in range(3):
        shutil.copy(published / f"sprites_{number}.mat", folder)
    return folder


@pytest.fixture
def damaged(published, tmp_path, fault):
    damage, _ = BAD_FILES[fault]
    folder = copy_three(published, tmp_path / "bad ü" / "data" / "sprites")
    damage(folder / "sprites_1.mat")
    return folder


@pytest.fixture(scope="module")
def three(published: Path, tmp_path_factory) -> Path:
    return copy_three(published, tmp_path_factory.mktemp("three") / "sprites")


@pytest.fixture(scope="module")
def tars(three: Path, tmp_path_factory) -> dict[str, tuple[Path, str]]:
    made = bad_tars(three, tmp_path_factory.mktemp("tars"))
    assert tuple(made) == BAD_TARS
    return made


def refusal_to_read(path: Path, pattern: str) -> str:
    return refusal(lambda: read_archive(path, progress=False, workers=1), pattern)


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_damaged_file(damaged, record, fault):
    sentence = refusal_to_read(damaged, re.escape(BAD_FILES[fault][1]))
    record(f".mat: {fault}", shown(sentence), "", "nothing", "names the file")


@pytest.mark.parametrize("fault", list(BAD_FILES)[:2])
def test_a_damaged_file_given_to_the_command(damaged, published, record, fault):
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Place(Path(folder), published)
        command = (ROOT / "run_all.sh", "--archive", damaged, "--preset", "smoke", "--run", "bad")
        ended = place.run(*command)
        check_refused(ended, 1, re.escape(BAD_FILES[fault][1]))
        sentence, left = place.shown(ended.sentence), place.left()
    record(f"run_all.sh on it: {fault}", sentence, 1, left, "names the file")


@pytest.mark.parametrize("fault", BAD_TARS)
def test_a_bad_tar(tars, record, fault):
    path, says = tars[fault]
    sentence = refusal_to_read(path, re.escape(says))
    record(f"tar: {fault}", shown(sentence), "", "nothing", "names the file")


def test_a_tar_that_points_elsewhere(three, record, tmp_path):
    names = ("../../sprites_0.mat", "/etc/sprites_1.mat")
    good = [(name, (three / Path(name).name).read_bytes()) for name in names]
    link = ("sprites_2.mat", "/etc/passwd")
    climbing = write_tar(tmp_path / "climbing ü.tar.gz", [*good, link])
    before = sorted(tmp_path.parent.rglob("*"))
    assert read_archive(climbing, progress=False, workers=1).names == ("no. 0", "no. 1")
    assert sorted(tmp_path.parent.rglob("*")) == before
    record(
        "tar: names that climb out, links",
        "(read, with a note of what is missing)",
        "",
        "nothing is written",
        "not needed",
    )


@pytest.mark.parametrize("fault", BAD_PLACES)
def test_a_place_without_an_archive(record, tmp_path, fault):
    name, says = BAD_PLACES[fault]
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("hello")
    sentence = refusal_to_read(tmp_path / name, says)
    record(f"archive: {fault}", shown(sentence), "", "nothing", "names the place")
