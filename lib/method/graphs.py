"""A training step as a CUDA graph: the CPU launches it at once, not kernel by kernel.

A step of 32 images has some hundred small kernels, and a GPU computes each sooner than the CPU
launches the next one. A graph repeats the launches of one step on the same memory, so it serves
trainings in which nothing but the batch changes, such as the published one.
"""

import torch
from torch import Tensor, nn

from lib.config import HParams
from lib.method.rivals.learner import CycleLearner, Learner
from lib.method.sampling import Batch
from lib.method.schedules import is_constant

EAGER_STEPS = 5  # before the capture: they choose kernels and fill the state of Adam


def can_repeat(learner: CycleLearner | Learner, hp: HParams, device: torch.device) -> bool:
    """Whether all steps launch the same kernels with the same numbers."""
    return device.type == "cuda" and isinstance(learner, CycleLearner) and is_constant(hp)


class RepeatedStep:
    """The step of a learner: eager at first, then captured once and replayed."""

    def __init__(self, learner: CycleLearner) -> None:
        self.learner, self.eager, self.batch = learner, EAGER_STEPS, None
        self.graph, self.side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        for optimizer in learner.parts:
            for group in optimizer.param_groups:
                group["capturable"] = True

    def step(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """See `CycleLearner.step`."""
        if self.eager:
            self.eager -= 1
            return self._aside(objective, batch, step)
        if self.batch is None:
            self._capture(objective, batch, step)
        for fixed, values in zip(self.batch, batch, strict=True):
            if fixed is not None:
                fixed.copy_(values)
        self.graph.replay()
        return {name: term.clone() for name, term in self.terms.items()}

    def _aside(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """A step on another stream than the default one, which cannot be captured."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            terms = self.learner.step(objective, batch, step)
        torch.cuda.current_stream().wait_stream(self.side)
        return terms

    def _capture(self, objective: nn.Module, batch: Batch, step: int) -> None:
        """Record the launches of one step. Nothing is computed."""
        self.batch = Batch(*(values if values is None else values.clone() for values in batch))
        with torch.cuda.graph(self.graph):
            self.terms = self.learner.step(objective, self.batch, step)
