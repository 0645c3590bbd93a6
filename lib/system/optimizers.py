"""Adam, without the seconds in which torch imports its compiler.

Where torch makes an optimizer, it imports torch._dynamo, only to say that the optimizer is not to
be compiled. Most processes here compile nothing.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType

import torch

COMPILER = "torch._dynamo"


class _Later(ModuleType):
    """Stands in for the compiler until more of it is used than optimizers do."""

    @staticmethod
    def disable(function: Callable, *_: object, **__: object) -> Callable:
        return function

    @staticmethod
    def graph_break() -> None:
        """There is no graph."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__path__":  # asked of every module, as by inspect
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(importlib.import_module(COMPILER), name)


class Adam(torch.optim.Adam):
    """Source: Kingma and Ba (ICLR 2015)."""

    def __init__(self, *arguments: object, **settings: object) -> None:
        if COMPILER not in sys.modules:
            sys.modules[COMPILER] = torch._dynamo = _Later(COMPILER)
        super().__init__(*arguments, **settings)
