"""How a command of this project ends: with a sentence and a status, never with a traceback for what a user can mend."""

import contextlib
import signal
import sys
from collections.abc import Iterator

from lib.config import UserError
from lib.files import ELSEWHERE


@contextlib.contextmanager
def command(name: str, speaks: bool = True) -> Iterator[None]:
    """Runs the block as the command `name`: SIGTERM ends it as Ctrl-C does, with status 128 and the signal's number; a
    `UserError` and what the system refuses end it with status 1. One that does not speak (of several processes) is silent.
    """

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    def end(sentence: str, status: int) -> None:
        if speaks:
            print(f"{name}: {sentence}", file=sys.stderr)
        sys.exit(status)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except UserError as error:
        end(str(error), 1)
    except KeyboardInterrupt as stopped:
        end("stopped; the same command goes on from here", 128 + (stopped.args[0] if stopped.args else signal.SIGINT))
    except OSError as error:  # of a library's files, or of the terminal's; our own say more
        end(f"{error.filename or 'a file'}: {error.strerror or error}: {ELSEWHERE}", 1)
