"""How a command of this project ends: with a sentence and a status, never with a traceback for what
a user can mend.
"""

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator

import psutil

ELSEWHERE = (
    "free space or allow writing there, or name other folders in CYCLE_VAE_DATA and"
    " CYCLE_VAE_REPORTS"
)


class UserError(Exception):
    """A fault that the user can mend: its text is one sentence that says what is wrong and what to
    do.
    """

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


@contextlib.contextmanager
def cli_errors(name: str, speaks: bool = True) -> Iterator[None]:
    """Runs the block as the command `name`: SIGTERM ends it as Ctrl-C does, with status 128 and the
    signal's number, and at once whatever it started; a `UserError` and what the system refuses end
    it with status 1. One that does not speak is silent.
    """

    def stop(number: int, _: object) -> None:
        logging.disable()  # libraries would go on to complain that their processes are gone
        for process in psutil.Process().children(recursive=True):
            process.kill()
        raise KeyboardInterrupt(number)

    def end(sentence: str, status: int) -> None:
        if speaks:
            print(f"{name}: {sentence}", file=sys.stderr)
        sys.exit(status)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except UserError as error:
        end(str(error), 1)
    except KeyboardInterrupt as stopped:
        if speaks:
            print(file=sys.stderr)  # as a progress bar may have left its line open
        end(
            "stopped; the same command goes on from here",
            128 + (stopped.args or (signal.SIGINT,))[0],
        )
    except OSError as error:  # of a library's files, or of the terminal's; our own say more
        end(f"{error.filename or 'a file'}: {error.strerror or error}: {ELSEWHERE}", 1)
