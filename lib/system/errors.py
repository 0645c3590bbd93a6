"""How a command ends: with a sentence and a status, and no traceback for a user's fault."""

import contextlib
import difflib
import errno
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Collection, Iterator

import psutil

ELSEWHERE = (
    "free space or allow writing there, or name other folders in CYCLE_VAE_DATA and"
    " CYCLE_VAE_REPORTS"
)


HALTED = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
PATIENCE = 5  # seconds from a signal to the end
STOPPED = "stopped; the same command goes on from here"
NO_MEMORY = (
    "there is not enough memory: close other programs, raise the limit (ulimit -v), or choose a"
    " smaller run (--help)"
)
OUT_OF_MEMORY = re.compile(
    "MemoryError|failed to map segment|(can't|cannot|unable to) allocate|out of memory|bad_alloc"
    "|can't start new thread",
    re.IGNORECASE,
)


class UserError(Exception):
    """A fault that the user can mend. Its text is one sentence: what is wrong, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Jupyter shows this in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A hint to put after an unknown name; empty where no known one is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


@contextlib.contextmanager
def cli_errors(name: str, speaks: bool = True) -> Iterator[None]:
    """Runs the block as the command `name`. With `speaks` false it says nothing.

    SIGTERM ends it as Ctrl-C does: with its child processes, and with status 128 + the signal, at
    the latest after PATIENCE seconds.
    Whatever else is raised ends it with a sentence and status 1.
    """

    def stop(number: int, _: object) -> None:
        logging.disable()  # else libraries complain that their processes are gone
        _kill_children()
        raise KeyboardInterrupt(number)

    def end(sentence: str, status: int) -> None:
        if speaks:
            print(f"{name}: {sentence}", file=sys.stderr)
        sys.exit(status)

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # a stream may be closed, or another
            stream.reconfigure(errors="backslashreplace")  # for names that it cannot encode
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        _limit_patience(name, speaks)
        try:
            yield
        finally:
            if sys.stdout:  # None where the output was closed from the start
                sys.stdout.flush()
    except UserError as error:
        end(str(error), 1)
    except KeyboardInterrupt as interrupt:
        if speaks:
            print(file=sys.stderr)  # a progress bar may have left its line open
        number = (interrupt.args or (signal.SIGINT,))[0]
        end(STOPPED, 128 + number)
    except BrokenPipeError:  # as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to flush
        end("its output was closed, so it stopped; the same command goes on from here", 141)
    except Exception as error:
        end(explained(error), 1)


def _kill_children() -> None:
    """Kills all processes that this one started, and theirs.

    A process that is still starting would print a traceback if its parent died before it. So all
    are halted first, until none can start another, and the last ones die first.
    """
    halted: dict[int, psutil.Process] = {}
    while found := [p for p in _children() if p.pid not in halted]:
        halted |= {process.pid: process for process in found}
        for process in found:
            _halt(process)
    for process in reversed(halted.values()):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _halt(process: psutil.Process) -> None:
    """Halts it and waits for that, at most a second: it may be starting another process."""
    end = time.monotonic() + 1
    with contextlib.suppress(psutil.Error):
        process.suspend()
        while process.status() not in HALTED and time.monotonic() < end:
            time.sleep(0.001)


def _limit_patience(name: str, speaks: bool) -> None:
    """Ends this process some seconds after a signal, even while a library waits and heeds none."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait() -> None:
        while (number := os.read(reader, 1)[0]) not in (signal.SIGINT, signal.SIGTERM):
            pass
        time.sleep(PATIENCE)
        _kill_children()
        if speaks:
            print(f"\n{name}: {STOPPED}", file=sys.stderr, flush=True)
        os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()


def explained(error: Exception) -> str:
    """One sentence for what a library or the system raised."""
    text = f"{type(error).__name__}: {error}"
    if OUT_OF_MEMORY.search(text) or getattr(error, "errno", None) == errno.ENOMEM:
        return NO_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: raise the limit, for example with ulimit -n 4096"
    if isinstance(error, OSError) and error.errno:
        return f"{error.filename or 'a file'}: {error.strerror}: {ELSEWHERE}"
    place = _write_traceback(error)
    return f"{text.splitlines()[0]}: this is a fault of the program; please report it{place}"


def _write_traceback(error: Exception) -> str:
    """Writes it to a temporary file; returns how a sentence names that."""
    try:
        descriptor, path = tempfile.mkstemp(".txt", "cycle-vae-error-")
        with open(descriptor, "w") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return ""
    return f" with {path}"
