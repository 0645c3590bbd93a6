"""The table of layers."""

import torch

from lib.config import make_hparams
from lib.method.networks import CycleVAE
from lib.report.architecture import layers


def test_each_layer_has_its_shape_and_its_weights():
    hp = make_hparams("smoke", architecture="published", z_dim=5, s_dim=7)
    model = CycleVAE(hp)
    head, rows = layers(model.encoder, torch.zeros(2, 3, 60, 60))
    assert head == ["layer", "kind", "output", "weights"]
    shapes = {name: shape for name, _, shape, _ in rows}
    assert shapes["features.0"] == "16 × 29 × 29"
    assert (shapes["z_mu_head"], shapes["s_head"]) == ("5", "7")
    weights = sum(int(cell.replace(",", "")) for *_, cell in rows if cell)
    assert weights == sum(p.numel() for p in model.encoder.parameters())
    assert not model.encoder.s_head._forward_hooks


def test_a_decoder_takes_both_codes():
    hp = make_hparams("smoke", z_dim=5, s_dim=7)
    _, rows = layers(CycleVAE(hp).decoder, torch.zeros(1, 5), torch.zeros(1, 7))
    assert rows[-1][1:3] == ["Scale", str(hp.components)]
