"""Workers of a pool, when their parent is interrupted or killed."""

import os
import signal
import subprocess
import sys
import time

import psutil

from lib.system.paths import ROOT

POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
sys.path.insert(0, {root!r})
from lib.system.processes import end_with_parent, interrupts_blocked

if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        with interrupts_blocked():
            task = pool.submit(os.getpid)
        {then}
        print(task.result(), flush=True)
        time.sleep(60)
"""


def start_pool(tmp_path, then="pass"):
    script = tmp_path / "pool.py"
    script.write_text(POOL.format(root=str(ROOT), then=then))
    return subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_is_starting_prints_no_traceback_of_an_interrupt(tmp_path):
    """The interrupt goes to the whole group, as from a terminal, while the worker starts."""
    wait = "print('starting', flush=True)"
    process = start_pool(tmp_path, wait)
    assert process.stdout.readline() == "starting\n"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.count("Traceback") <= 1 and "SpawnProcess" not in err  # that of the parent alone
    assert process.returncode != 0


def test_a_worker_ends_with_a_killed_parent(tmp_path):
    process = start_pool(tmp_path)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while is_alive(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_alive(worker)


STARTER = """
import subprocess, sys
for _ in range({count}):
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)", {marker!r}])
"""
STOPPED = """
import os, signal, subprocess, sys, time
from lib.system.errors import cli_errors
with cli_errors("stopped"):
    subprocess.Popen([sys.executable, "-S", "-c", {starter!r}, {marker!r}])
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


def test_a_stopped_command_leaves_none_of_the_processes_that_are_being_started(tmp_path):
    marker = f"marker of {tmp_path}"
    code = STOPPED.format(starter=STARTER.format(count=2_000, marker=marker), marker=marker)
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    left = [p for p in psutil.process_iter(["cmdline"]) if marker in (p.info["cmdline"] or ())]
    for process in left:
        process.kill()
    assert ended.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in ended.stderr and not left
