"""A finished run, with all that notebooks 03 to 05 read of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from lib.config import check_parameters
from lib.data.image_set import ImageSet
from lib.data.splits import split_images
from lib.data.stored import load_images
from lib.evaluation.codes import Codes, encode_all
from lib.method.runs import Run, load_run
from lib.system.devices import choose_device


class OpenedRun(NamedTuple):
    training: Run
    dataset: ImageSet
    codes: Codes  # of all images
    splits: dict[str, np.ndarray]  # image indices of train, validation and test
    device: torch.device
    # of all that an evaluation draws: so all trainings on a split are measured alike
    seed: int


def open_run(name: str, executed: Sequence[str]) -> OpenedRun:
    """The run in `reports/<name>`; `executed` are the sources of the cells that ran (`In`).

    Raises: UserError where there is no finished run, and for a parameter that no notebook has.
    """
    check_parameters(executed)
    device = choose_device()
    training = load_run(name, device)
    dataset = load_images(training.source)
    codes = encode_all(training, dataset)
    splits = split_images(dataset, training.split, training.split_seed)
    return OpenedRun(training, dataset, codes, splits, device, training.split_seed)
