"""How a command ends: with a sentence and a status, and no traceback for a user's fault."""

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
    """A fault that the user can mend. Its text is one sentence: what is wrong, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Jupyter shows this in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


@contextlib.contextmanager
def cli_errors(name: str, speaks: bool = True) -> Iterator[None]:
    """Runs the block as the command `name`. With `speaks` false it says nothing.

    SIGTERM ends it as Ctrl-C does: with its child processes, and with status 128 + the signal.
    A UserError and an OSError end it with a sentence and status 1.
    """

    def stop(number: int, _: object) -> None:
        logging.disable()  # else libraries complain that their processes are gone
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
    except KeyboardInterrupt as interrupt:
        if speaks:
            print(file=sys.stderr)  # a progress bar may have left its line open
        number = (interrupt.args or (signal.SIGINT,))[0]
        end("stopped; the same command goes on from here", 128 + number)
    except OSError as error:  # from a library; our own writes say more
        end(f"{error.filename or 'a file'}: {error.strerror or error}: {ELSEWHERE}", 1)
