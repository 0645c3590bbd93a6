"""Measure the speed of a training step: the reference's, preset `paper`'s and preset `fast`'s.

    .venv/bin/python -m benchmarks.speed --json benchmarks/speed.json

The three take turns, several times, and the medians count, so that other work on the machine slows
all of them alike. The peak is the rate of a large float32 matrix product, measured in the same
turns. `torch.utils.flop_counter` counts the operations of a step, backward passes included.
"""

import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from lib.config import HParams, make_hparams
from lib.data.image_set import UNKNOWN, ImageSet
from lib.data.images import to_float
from lib.data.sources import create_images
from lib.data.splits import split_images
from lib.data.sprites import SIZE
from lib.data.stored import SPRITE_SOURCES
from lib.method.losses import kl_to_standard_normal, reparameterize
from lib.method.networks import CycleVAE
from lib.method.parallel import Objective
from lib.method.sampling import Sampler, sample_groups
from lib.method.step import make_optimizers, train_step
from lib.report.numbers import count as counted
from lib.report.numbers import fixed, percent
from lib.report.results import origin
from lib.system.arguments import Parser
from lib.system.errors import cli_errors
from lib.system.files import write_json

PAIRS = 16  # a step of the reference
PICKLES = 2_000
VERSION = 1  # see `lib.report.results.VERSION`
WARM_UP = 8  # steps before the first that is timed, where nothing else has run them
MATRIX = 2048  # side of the matrices whose product gives the peak
CPU = torch.device("cpu")


class PickledPairs(Dataset):
    """The reference's pairs of images, each stored in a file, float32 (2, 3, 60, 60)."""

    def __init__(self, folder: Path, dataset: ImageSet, train: np.ndarray) -> None:
        members = torch.from_numpy(dataset.members(train))
        generator = torch.Generator().manual_seed(0)
        self.paths = [folder / f"{number}.pickle" for number in range(PICKLES)]
        for path in self.paths:
            index = sample_groups(members, 2, 1, generator)[1].flatten()
            path.write_bytes(pickle.dumps(to_float(dataset.images[index]).contiguous().numpy()))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        return torch.from_numpy(pickle.loads(self.paths[number].read_bytes()))


def reference_steps(dataset: ImageSet, train: np.ndarray, folder: Path) -> Iterator[None]:
    """The training step of Chetan and Joshi (2020), from its description; each `next` is one.

    Encoder and decoder each run four times, once per image. KL term and reconstruction are
    back-propagated separately, and the reverse cycle through everything, including the codes s,
    which the authors detach.
    """
    hp = make_hparams("paper")
    model = CycleVAE(hp)
    for norm in (module for module in model.modules() if isinstance(module, nn.InstanceNorm2d)):
        norm.track_running_stats = True
        norm.register_buffer("running_mean", torch.zeros(norm.num_features))
        norm.register_buffer("running_var", torch.ones(norm.num_features))
    forward = torch.optim.Adam(model.parameters(), lr=1e-4)
    reverse = torch.optim.Adam(model.encoder.parameters(), lr=1e-4)
    loader = DataLoader(
        PickledPairs(folder, dataset, train), PAIRS, shuffle=True, num_workers=2, drop_last=True
    )
    values = 3 * SIZE * SIZE
    while True:
        for pairs in loader:
            x1, x2 = pairs[:, 0], pairs[:, 1]
            (mu1, logvar1, s1), (mu2, logvar2, s2) = model.encode(x1), model.encode(x2)
            z1, z2 = (
                reparameterize(mu, logvar, torch.randn_like(mu))
                for mu, logvar in ((mu1, logvar1), (mu2, logvar2))
            )
            forward.zero_grad()
            kl = (kl_to_standard_normal(mu1, logvar1) + kl_to_standard_normal(mu2, logvar2)).mean()
            (3 * kl / values).backward(retain_graph=True)
            reconstruction = F.mse_loss(model.decode(z1, s2), x1) + F.mse_loss(
                model.decode(z2, s1), x2
            )
            (2 * reconstruction).backward(retain_graph=True)
            z = torch.randn_like(z1)
            # the next pair shows another character
            images = (model.decode(z, s1), model.decode(z, s1.roll(1, 0)))
            reverse_loss = F.l1_loss(model.encode(images[0]).z_mu, model.encode(images[1]).z_mu)
            (10 * reverse_loss).backward()
            forward.step()
            reverse.step()
            reverse.zero_grad()
            yield


def our_steps(
    model: CycleVAE, images: np.ndarray, members: Tensor, hp: HParams, device: torch.device
) -> Iterator[None]:
    """Our training step with its batch; each `next` is one. This call finds the components."""
    model.to(device, memory_format=torch.channels_last)
    pixels, indices = torch.from_numpy(images).to(device), members[members != UNKNOWN]
    model.components.fit(pixels, indices, seed=0)
    rows, read = model.components.prepare(pixels, indices, draws=hp.images_seen)
    sampler = Sampler(rows, members, hp, torch.Generator().manual_seed(0), read=read)
    return _steps(model, sampler, hp, device)


def _steps(model: CycleVAE, sampler: Sampler, hp: HParams, device: torch.device) -> Iterator[None]:
    optimizers, objective = make_optimizers(model, hp), Objective(model)
    for number in count():
        step = number % hp.steps
        train_step(objective, optimizers, sampler.draw(step), step, hp)
        yield


def matrix_products() -> Iterator[None]:
    a, b, out = (torch.rand(MATRIX, MATRIX) for _ in range(3))
    while True:
        torch.mm(a, b, out=out)
        yield


def seconds_a_step(steps: Iterator[None], at_least: float, warm_up: int = 0) -> float:
    """Mean time of a step over `at_least` seconds, after `warm_up` steps that do not count."""
    for _ in range(warm_up):
        next(steps)
    started = time.perf_counter()
    for done in count(1):
        next(steps)
        elapsed = time.perf_counter() - started
        if elapsed >= at_least:
            return elapsed / done


def operations(steps: Iterator[None], n: int) -> float:
    """Floating-point operations of a step in matrix products and convolutions, a mean over n."""
    with FlopCounterMode(display=False) as counter:
        for _ in range(n):
            next(steps)
    return counter.get_total_flops() / n


def measure(
    dataset: ImageSet, rounds: int, seconds: float, say: Callable[[str], None] = print
) -> dict:
    """Rates of the three steps and the peak: medians over `rounds` turns of `seconds` each."""
    train = split_images(dataset, "identity", 0)["train"]
    members = torch.from_numpy(dataset.members(train))
    torch.manual_seed(0)
    paper, fast = make_hparams("paper"), make_hparams("fast")
    with tempfile.TemporaryDirectory(prefix="cycle-vae-speed-") as folder:
        contenders = {
            "reference": reference_steps(dataset, train, Path(folder)),
            "paper": our_steps(CycleVAE(paper), dataset.images, members, paper, CPU),
            "fast": our_steps(CycleVAE(fast), dataset.images, members, fast, CPU),
            "peak": matrix_products(),
        }
        pairs = {"reference": PAIRS, "paper": paper.batch_images / 2, "fast": fast.batch_images / 2}
        # steps until the kinds of steps repeat
        cycles = {
            "reference": 1,
            "paper": paper.reverse_every,
            "fast": fast.reverse_every,
            "peak": 1,
        }
        flops = {name: operations(steps, cycles[name]) for name, steps in contenders.items()}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(rounds):
            for name, steps in contenders.items():
                times[name].append(seconds_a_step(steps, seconds))
            say(
                f"turn {turn + 1} of {rounds}: "
                + ", ".join(f"{n} {pairs[n] / times[n][-1]:.0f} pairs/s" for n in pairs)
            )
        contenders["reference"].close()
    peak = flops["peak"] / statistics.median(times["peak"])
    rows = {
        name: {
            "pairs_per_second": pairs[name] / statistics.median(times[name]),
            "gflop_per_pair": flops[name] / pairs[name] / 1e9,
            "gflops": flops[name] / statistics.median(times[name]) / 1e9,
            "peak_share": flops[name] / statistics.median(times[name]) / peak,
            # of two rates in the same turn, so that a slow period of the machine cancels
            "times_reference": statistics.median(
                pairs[name] / ours / (PAIRS / theirs)
                for ours, theirs in zip(times[name], times["reference"], strict=True)
            ),
        }
        for name in pairs
    }
    return {
        **rows,
        "peak_gflops": peak / 1e9,
        "threads": torch.get_num_threads(),
        "turns": rounds,
        "seconds_a_turn": seconds,
    }


STEPS = ("reference", "paper", "fast")


def speed_finding(result: dict) -> list[str]:
    """How fast preset `fast` trains, beside the reference."""
    fast, reference = result["fast"], result["reference"]
    return [
        f"A training step of preset fast processes {counted(fast['pairs_per_second'])} pairs/s, and"
        f" the reference's {counted(reference['pairs_per_second'])} pairs/s.",
        f"Preset fast uses {percent(fast['peak_share'])} % of the peak of"
        f" {counted(result['peak_gflops'])} GFLOP/s, which is that of a product of large matrices.",
    ]


def speed_table(result: dict) -> dict:
    rows = [(name, result[name]) for name in STEPS]
    return {
        "caption": "Median speed of a training step.",
        "head": ["", "pairs/s", "times reference", "GFLOP per pair", "share of the peak, %"],
        "rows": [
            [
                name,
                counted(row["pairs_per_second"]),
                fixed(row["times_reference"], 2),
                fixed(row["gflop_per_pair"], 3),
                percent(row["peak_share"]),
            ]
            for name, row in rows
        ],
    }


def describe(result: dict) -> dict:
    """The content of the JSON file: the numbers, and what the report shows of them."""
    return {**result, "finding": speed_finding(result), "tables": [speed_table(result)]}


def main() -> None:
    parser = Parser("python -m benchmarks.speed", __doc__)
    parser.add_argument("--source", choices=SPRITE_SOURCES, default="drawn")
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of each (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="length of a turn (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the numbers there")
    options = parser.parse_args()
    result = describe(measure(create_images(options.source), options.rounds, options.seconds))
    for cells in (result["tables"][0]["head"], *result["tables"][0]["rows"]):
        print(*(f"{cell:>21}" for cell in cells))
    if options.json:
        write_json(options.json, {**result, "code": origin(VERSION)})


if __name__ == "__main__":
    with cli_errors("benchmarks.speed"):
        main()
