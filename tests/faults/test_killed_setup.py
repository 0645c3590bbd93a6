"""Each signal while pip waits for its index."""

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.faults.place import LONGEST_COMMAND, NO_SENTENCE, SIGNALS, shown
from tests.system.test_setup import call, make_tree, require_tiny, start

pytestmark = pytest.mark.faults

STOPPED_SETUP = "was stopped: run the same command again"


@pytest.fixture
def silent_index() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/simple"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_in_the_set_up(tmp_path, silent_index, record, number):
    tree = make_tree(tmp_path)
    wheels = require_tiny(tree)
    index = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": silent_index, "PIP_RETRIES": "0"}
    process = start(tree, new_group=True, **index)
    deadline = time.monotonic() + LONGEST_COMMAND
    while not (tree / ".venv/bin/pip").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # until pip asks the index
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=LONGEST_COMMAND)
    status = process.returncode
    # the shell is ended by the signal too, or ends for it
    assert status in (-number, 128 + number), (status, out, err)
    assert number == signal.SIGKILL or STOPPED_SETUP in err
    assert not (tree / ".venv/.complete").exists()
    code, out, _ = call(tree, PIP_FIND_LINKS=wheels)
    assert code == 0 and "ran" in out
    sentence = shown(err.strip().splitlines()[-1]) if err.strip() else NO_SENTENCE
    record(f"{number.name} in: set-up", sentence, status, "an unfinished .venv", "yes, afresh")
