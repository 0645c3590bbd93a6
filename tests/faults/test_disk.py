"""A full disk under data, checkpoint and figure; data and reports that cannot be written."""

import shutil

import pytest

from tests.faults.disks import check_full, check_read_only, small_disk
from tests.faults.place import Place

pytestmark = pytest.mark.faults


def figure_command(place: Place) -> tuple[object, ...]:
    return place.python_command(
        "from matplotlib.figure import Figure; from lib.report.figures import save_figure;"
        " save_figure('r', 'maps', Figure())"
    )


def test_full_under_the_data(place, record):
    with small_disk(place.data, "500k") as remount:
        ended = place.run(*place.report_command("r"))
        check_full(ended)
        assert not (place.data / "sprites.npz").exists()
        left = place.left()
        remount("size=100m")
        place.make_data()
    shutil.rmtree(place.reports, ignore_errors=True)
    record("disk full: data", place.shown(ended.sentence), 1, left, "yes")


def test_read_only_data(place, made_data, record):
    with small_disk(place.data, "100m") as remount:
        shutil.copy(made_data, place.data)
        (place.archive / "sprites_0.mat").touch()  # so that the data must be made again
        remount("ro")
        ended = place.run(*place.data_command())
        check_read_only(ended)
        left = place.left()
        remount("rw")
        place.make_data()
    record("read-only data/", place.shown(ended.sentence), 1, left, "yes")


@pytest.fixture(scope="module")
def place_to_report(place: Place) -> Place:
    """The place with data that are no older than its archive, whatever became of that."""
    place.make_data()
    return place


def test_full_under_a_checkpoint(place_to_report, record):
    place = place_to_report
    with small_disk(place.reports, "3m") as remount:
        ended = place.run(*place.training_command("r"))
        check_full(ended)
        left = place.left()
        remount("size=500m")
        place.run_successfully(*place.training_command("r"))
    record("disk full: checkpoint", place.shown(ended.sentence), 1, left, "yes")


def test_full_under_a_figure(place_to_report, record):
    place = place_to_report
    with small_disk(place.reports, "60k") as remount:
        ended = place.run(*place.report_command("r"))
        check_full(ended)
        left = place.left()
        remount("size=500m")
        place.run_successfully(*figure_command(place))
    record("disk full: figure", place.shown(ended.sentence), 1, left, "yes")


def test_read_only_reports(place_to_report, record):
    place = place_to_report
    with small_disk(place.reports, "500m") as remount:
        remount("ro")
        ended = place.run(*place.training_command("r"))
        check_read_only(ended)
        left = place.left()
        remount("rw")
        place.run_successfully(*figure_command(place))
    record("read-only reports/", place.shown(ended.sentence), 1, left, "yes")
