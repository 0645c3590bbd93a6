"""Each signal in a training that writes checkpoints, and a kill while a file is written."""

import time

import pytest
import torch

from tests.faults.place import LONGEST_COMMAND, NO_SENTENCE, SIGNALS, Place, check_stopped, finish

pytestmark = pytest.mark.faults


def history(place: Place, run: str) -> list[dict]:
    rows = torch.load(place.reports / run / "model.pt", weights_only=True)["history"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def history_never_stopped(place_with_data: Place) -> list[dict]:
    place_with_data.run_successfully(*place_with_data.training_command("never"))
    return history(place_with_data, "never")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_in_a_training(place_with_data, history_never_stopped, record, number):
    place = place_with_data
    checkpoint = place.reports / number.name / "checkpoint.pt"
    process = place.start(*place.training_command(number.name))
    deadline = time.monotonic() + LONGEST_COMMAND
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    ended = finish(process)
    sentence, left = check_stopped(ended, number), place.left()
    assert checkpoint.exists(), "it had finished"
    place.run_successfully(*place.training_command(number.name))
    assert history(place, number.name) == history_never_stopped
    fault = f"{number.name} in: training with checkpoints"
    record(fault, sentence, ended.status, left, "equal losses")


def test_a_kill_between_writing_a_file_and_naming_it(place_with_data, record):
    place, path = place_with_data, place_with_data.data / "new.json"
    write = "from pathlib import Path; from lib.system.files import write_json;"
    write += " write_json(Path('data/new.json'), {})"
    kill = "import os; os.replace = lambda *_: os.kill(os.getpid(), 9)"
    ended = place.run(*place.python_command(f"{kill}; {write}"))
    assert ended.status == -9 and not path.exists()
    (partial,) = place.data.glob(".new.json.*.partial")
    place.run_successfully(*place.python_command(write))
    assert not partial.exists() and path.exists()
    record(
        "SIGKILL between writing a file and naming it",
        NO_SENTENCE,
        ended.status,
        "a partial name",
        "yes, and that is removed",
    )
