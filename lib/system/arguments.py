"""The options of a command: what is wrong with them is said in one sentence, with status 2."""

import argparse
import re
from collections.abc import Sequence

from lib.system.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """Without abbreviated options, which a later option of the same start would break."""

    def __init__(self, prog: str, description: str | None, epilog: str | None = None) -> None:
        """Of a description, such as the docstring of a module, the first line is shown."""
        summary = (description or "").partition("\n")[0]
        super().__init__(prog, description=summary, epilog=epilog, allow_abbrev=False)

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = re.findall(r"--[\w-]+", self.format_usage())
            self.error(f"there is no option '{unknown[0]}'{did_you_mean(unknown[0], known)}")
        return options

    def error(self, message: str) -> None:
        """End with a sentence. The usage, which argparse shows first, would hide it."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help lists the options\n")
