"""A loss that overflows after some good steps."""

import pytest
import torch

from tests.faults.place import check_refused

pytestmark = pytest.mark.faults

NOT_FINITE = (
    r"the loss is not finite at step 2\d of run 'r': lower learning_rate .*;"
    " the last checkpoint is kept"
)
DIVERGE = (
    "from lib.method import step as s; rate = s.learning_rate;"
    " s.learning_rate = lambda step, hp: 1e30 if step == 20 else rate(step, hp)"
)


def test_the_loss_overflows(place_with_data, record):
    place = place_with_data
    ended = place.run(*place.training_command("r", before=DIVERGE))
    check_refused(ended, 1, NOT_FINITE)
    kept = torch.load(place.reports / "r" / "checkpoint.pt", weights_only=True)
    assert 0 < kept["step"] <= 20
    assert all(value.abs().max() < 1e6 for value in kept["weights"].values())
    place.run_successfully(*place.training_command("r"))
    sentence = place.shown(ended.sentence)
    record("the loss overflows", sentence, 1, "the last good checkpoint", "yes")
