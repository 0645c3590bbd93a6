"""Apply the published protocol at its full length to the codes of a finished run.

    .venv/bin/python -m benchmarks.protocol sprites --json benchmarks/protocol.json

The reference trains its classifiers for 200 epochs on all images. Notebook 5 shortens that, since
it takes hours on a CPU and two minutes on a GPU.
"""

import time
from pathlib import Path

from lib.config import make_hparams
from lib.data.image_set import bayes_ceiling
from lib.data.stored import load_images
from lib.evaluation.codes import encode_all
from lib.evaluation.protocol import published_protocol
from lib.method.runs import load_run
from lib.report.findings import LEARNED
from lib.report.numbers import CODE_NAMES, count, fixed, percent
from lib.report.results import origin
from lib.system.arguments import Parser
from lib.system.devices import choose_device
from lib.system.errors import cli_errors
from lib.system.files import write_json

VERSION = 1  # see `lib.report.results.VERSION`
EPOCHS = 200
CODES = ("s", "z")  # the reference takes a sample of z
REPORTED = {"s": 0.67, "z": 0.002}  # Chetan and Joshi (2020)


def measure(name: str) -> dict:
    """{code: result of `published_protocol`}, and what it was measured on."""
    device = choose_device()
    run = load_run(name, device)
    dataset = load_images(run.source)
    codes = encode_all(run, dataset)
    hp = make_hparams("fast", protocol_epochs=EPOCHS, protocol_images=len(dataset.images))
    found = {"source": run.source, "run": name, "seed": run.seed, "device": device.type}
    found["ceiling"] = bayes_ceiling(dataset.distinct, dataset.character)
    for code in CODES:
        started = time.monotonic()
        result = published_protocol(
            getattr(codes, code), dataset.character, hp, run.split_seed, device
        )
        found[code] = {**result, "seconds": time.monotonic() - started}
    return found


def protocol_finding(result: dict) -> list[str]:
    """The accuracies at full length, and whether the z classifier learned anything."""
    s, z = (result[code] for code in CODES)
    learned = z["cross_entropy"] < z["uniform"] - LEARNED
    return [
        f"At full length, {s['epochs']} epochs on {count(s['images'])} images, the published"
        f" protocol gives a character accuracy of {percent(s['accuracy'])} % from s and"
        f" {percent(z['accuracy'])} % from z.",
        f"Equal images limit it to {percent(result['ceiling'])} %.",
        f"The best test cross-entropy from z is {fixed(z['cross_entropy'], 3)} nats; a uniform"
        f" guess has {fixed(z['uniform'], 3)}.",
        "So the z classifier learned something that holds on test images."
        if learned
        else "So the z classifier learned nothing that holds on test images, and its low accuracy"
        " does not show that z is free of the character.",
    ]


def protocol_table(result: dict) -> dict:
    rows = [
        [
            CODE_NAMES[code],
            percent(result[code]["accuracy"]),
            percent(REPORTED[code]),
            fixed(result[code]["cross_entropy"], 3),
            fixed(result[code]["uniform"], 3),
            percent(result["ceiling"]),
        ]
        for code in CODES
    ]
    caption = (
        "The published protocol at full length: accuracy of the best test epoch for the character,"
        " what the reference reports, the best cross-entropy of the test, that of a uniform guess,"
        " and the ceiling of equal images."
    )
    head = ["", "accuracy, %", "reported, %", "cross-entropy, nats", "guess, nats", "ceiling, %"]
    return {"caption": caption, "head": head, "rows": rows}


def describe(result: dict) -> dict:
    """The content of the JSON file: the numbers, and what the report shows of them."""
    return {**result, "finding": protocol_finding(result), "tables": [protocol_table(result)]}


def main() -> None:
    parser = Parser("python -m benchmarks.protocol", __doc__)
    parser.add_argument("run", metavar="RUN", help="the folder under reports/ of a finished run")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the numbers there")
    options = parser.parse_args()
    result = describe(measure(options.run))
    print("\n".join(result["finding"]))
    if options.json:
        write_json(options.json, {**result, "code": origin(VERSION)})


if __name__ == "__main__":
    with cli_errors("benchmarks.protocol"):
        main()
