"""Hyper-parameters out of range, of the wrong type and misspelt; unknown parameters; notebooks out
of order.
"""

import dataclasses
import math
import re
import sys

import pytest

from lib.config import PRESETS, HParams, check_seed, make_hparams
from lib.system.paths import ROOT
from tests.faults.place import check_refused, refusal, shown

pytestmark = pytest.mark.faults

WRONG_VALUE = {"bool": "perhaps", "str": "none", "int": "1.5", "float": "much"}
SEED = "seed must be a whole number from 0 to 4294967295, not '{}'"
NO_MODEL = "run 'none' has no trained model .*: run 02_train.ipynb first"
NO_DATA = "there is no .*sprites.npz yet: run notebooks/01_create_sprites.ipynb"
NEAREST_PARAMETER = r"there is no parameter '{}' \(did you mean {}\?\)"
COMMAND_FAULTS = {  # the options, the status, and what the user reads
    "a hyper-parameter misspelt": (
        ["--set", "z_dims=8"],
        1,
        r"no hyper-parameter 'z_dims' \(did you mean z_dim\?\)",
    ),
    "a preset misspelt": (
        ["--preset", "fsat"],
        2,
        f"invalid choice: 'fsat'.*{next(iter(PRESETS))}",
    ),
    "an unknown option": (["--sed", "1"], 2, r"no option '--sed' \(did you mean --seed\?\)"),
    "a seed below 0": (["--seed", "-1"], 1, SEED.format("-1")),
    "a split seed below 0": (["--split-seed", "-1"], 1, "split_" + SEED.format("-1")),
    "a split that is none": (["--split", "pose"], 2, "invalid choice: 'pose'"),
    "a seed that a library refuses": (["--seed", "4294967296"], 1, SEED.format("4294967296")),
    "a hyper-parameter that no memory holds": (
        ["--set", "z_dim=99999999"],
        1,
        "z_dim must be between 1 and 4096, not 99999999",
    ),
    "a preset among the hyper-parameters": (
        ["--set", "preset=long"],
        1,
        "no hyper-parameter 'preset'",
    ),
    "more processes than a batch has groups": (
        ["--processes", "9"],
        1,
        "9 processes cannot share batch_images 8: set it to a multiple of 72",
    ),
    "a name that climbs out": (["--run", "../x"], 1, "'../x' cannot name a run"),
    "a notebook before its predecessor": (
        ["--run", "none", "--from", "03"],
        1,
        "03_style_transfer: run 'none' has no .*: run 02_train",
    ),
}
# The command papermill, without the seconds of one import: see `lib.commands.run_all`.
PAPERMILL = (
    "import sys; sys.modules['rfc3987_syntax'] = None;"
    " from papermill.__main__ import papermill; papermill()"
)
NOTEBOOK_FAULTS = [  # the notebook, a parameter and its value, and what the user reads
    ("01_create_sprites", "sead", "3", NEAREST_PARAMETER.format("sead", "seed")),
    ("02_train", "source", "sprites", NO_DATA),
    ("03_style_transfer", "rnu", "a", NEAREST_PARAMETER.format("rnu", "run")),
    ("04_interpolation", "run", "none", NO_MODEL),
    ("05_latent_classifiers", "run", "none", NO_MODEL),
]


def hyper_parameter_refusal(name: str, value: object, pattern: str) -> str:
    return refusal(lambda: make_hparams("fast", **{name: value}), pattern)


def test_hyper_parameters_of_the_wrong_type_or_out_of_range(record):
    fields = dataclasses.fields(HParams)
    for field in fields:
        wrong = WRONG_VALUE[field.type.__name__]
        sentence = hyper_parameter_refusal(field.name, wrong, f"^hyper-parameter {field.name} ")
        if field.type in (int, float):
            sentence = hyper_parameter_refusal(
                field.name, -1, f"{field.name} must be (at least|between|positive)"
            )
        if field.type is float:
            hyper_parameter_refusal(field.name, math.nan, f"{field.name} must be")
    fault = f"each of {len(fields)} hyper-parameters of the wrong type or out of range"
    record(fault, sentence, "", "nothing", "names it")


def test_hyper_parameters_misspelt(record):
    for field in dataclasses.fields(HParams):
        sentence = hyper_parameter_refusal(f"{field.name}x", "1", rf"did you mean {field.name}\?")
    record("the same, misspelt", sentence, "", "nothing", "names the nearest")


def test_a_seed_that_is_no_number(record):
    sentence = refusal(lambda: check_seed("two"), "^" + SEED.format("two"))
    record("a seed that is no number", sentence, "", "nothing", "names it")


@pytest.mark.parametrize("fault", COMMAND_FAULTS)
def test_a_bad_option_of_the_command(place, record, fault):
    options, status, says = COMMAND_FAULTS[fault]
    ended = place.run(*place.report_command("r"), *options)
    check_refused(ended, status, says)
    record(fault, place.shown(ended.sentence), status, "nothing", "not needed")


def test_an_option_of_the_tests(place, record):
    ended = place.run(ROOT / "run_tests.sh", "-k", "losses")
    check_refused(ended, 2, "run_tests.sh takes no options, but got '-k'")
    record("an option of run_tests.sh", place.shown(ended.sentence), 2, "nothing", "not needed")


@pytest.mark.parametrize(("notebook", "name", "value", "says"), NOTEBOOK_FAULTS)
def test_a_bad_parameter_of_a_notebook(place, record, notebook, name, value, says):
    notebooks = ROOT / "notebooks"
    copy = place.folder / f"{notebook}.ipynb"
    command = (sys.executable, "-P", "-c", PAPERMILL, notebooks / f"{notebook}.ipynb", copy)
    ended = place.run(*command, "--cwd", notebooks, "-p", name, value)
    assert ended.status == 1 and re.search(f"UserError: {says}", ended.text), ended.text[-800:]
    fault = f"papermill {notebook} -p {name} {value}"
    record(fault, shown(ended.sentence), 1, "nothing", "names what to do")
