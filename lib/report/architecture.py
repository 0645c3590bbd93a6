"""The layers of a network, with the shapes of what they give."""

from torch import Tensor, nn

from lib.report.numbers import count
from lib.report.tables import Table


def layers(network: nn.Module, *inputs: Tensor) -> Table:
    """A row for each layer that has no parts, in the order in which the inputs pass them.

    Shapes are those of one image. A layer that is used twice comes twice.
    """
    rows, hooks = [], []
    for name, layer in network.named_modules():
        if not list(layer.children()):

            def show(layer: nn.Module, _: object, output: Tensor, name: str = name) -> None:
                shape = " × ".join(map(str, output.shape[1:]))
                weights = sum(p.numel() for p in layer.parameters())
                rows.append([name, type(layer).__name__, shape, count(weights) if weights else ""])

            hooks.append(layer.register_forward_hook(show))
    try:
        network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return ["layer", "kind", "output", "weights"], rows
