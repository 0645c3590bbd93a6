import dataclasses
import json

import numpy as np
import pytest
import torch

from benchmarks import cost, recipe, seeds, speed
from lib.config import make_hparams
from lib.data.sprites import N_POSES
from lib.system import paths
from lib.system.errors import UserError

CPU = torch.device("cpu")


def test_speed_counts_the_operations_and_shares_of_the_peak(few_sprites):
    result = speed.measure(few_sprites, rounds=1, seconds=0.01, say=lambda _: None)
    # by hand: a product of two square matrices takes 2 n^3 operations, and the reference runs the
    # paper's networks four times
    steps = speed.matrix_products()
    assert speed.operations(steps, 1) == 2 * speed.MATRIX**3
    assert (
        result["paper"]["gflop_per_pair"]
        < result["reference"]["gflop_per_pair"]
        < 2 * result["paper"]["gflop_per_pair"]
    )
    for name in ("reference", "paper", "fast"):
        row = result[name]
        assert row["gflops"] == pytest.approx(row["gflop_per_pair"] * row["pairs_per_second"])
        assert row["peak_share"] == pytest.approx(row["gflops"] / result["peak_gflops"])
    assert result["reference"]["times_reference"] == 1
    json.dumps(result, allow_nan=False)


def test_the_recipe_goes_from_paper_to_fast_leaving_nothing_out():
    first, last = recipe.settings(0), recipe.settings(len(recipe.CHANGES) - 1)
    assert first == make_hparams("paper")
    assert last == dataclasses.replace(make_hparams("fast"), images_seen=first.images_seen)
    for row in range(1, len(recipe.CHANGES)):
        assert recipe.settings(row) != recipe.settings(row - 1)


def test_the_rows_of_the_recipe_are_as_long_as_their_rates_allow(few_sprites, monkeypatch):
    for name, value in {"RATE_SECONDS": 0.01, "TURNS": 1, "WARM_UP": 1}.items():
        monkeypatch.setattr(recipe, name, value)
    short, long = (
        np.array(recipe.images_in(seconds, few_sprites, CPU)) for seconds in (30.0, 90.0)
    )
    batches = [recipe.settings(row).batch_images for row in range(len(recipe.CHANGES))]
    assert len(short) == len(recipe.CHANGES) and not (short % batches).any() and (short > 0).all()
    assert 2 < np.median(long / short) < 5  # three times as long, but for the search for matches


def test_a_row_of_the_recipe_is_trained_for_its_length_and_judged(
    few_sprites, tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "REPORTS", tmp_path)
    monkeypatch.setattr(
        recipe,
        "make_hparams",
        lambda preset, **set: make_hparams(preset, **{**set, "swap_samples": 100}),
    )
    training = recipe.measure(few_sprites, len(recipe.CHANGES) - 1, 1, 640, CPU)
    assert 0 < training["seconds"] and training["images"] == 640
    assert 0 < training["own"] < 1 and 0 < training["swap"] < 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"source": "drawn"}',
        '{"source": "drawn", "seconds": 9.0, "threads": 1, "trainings": {}}',
    ],
)
def test_a_file_of_another_comparison_is_named_and_kept(
    few_sprites, tmp_path, monkeypatch, content
):
    path = tmp_path / "recipe.json"
    path.write_text(content)
    monkeypatch.setattr(recipe, "create_sprites", lambda source: few_sprites)
    monkeypatch.setattr("sys.argv", ["recipe", "--json", str(path)])
    with pytest.raises(UserError, match=r"\S+recipe.json holds another comparison, or none"):
        recipe.main()
    assert path.read_text() == content


def test_the_table_of_the_recipe():
    rows = {
        "first": [{"swap": 0.01, "own": 0.01, "images": images} for images in (64, 128, 192)],
        "second": [{"swap": 10**-e, "own": 0.001, "images": 64} for e in (2.4, 2.5, 2.6)],
    }
    first, second = recipe.summary(rows)
    assert (first["swap_psnr"], first["ci95"], first["gained"]) == (
        pytest.approx(20),
        pytest.approx([20, 20]),
        0,
    )
    assert (first["seeds"], first["images"]) == (3, 128)
    assert second["swap_psnr"] == pytest.approx(25) and second["gained"] == pytest.approx(5)
    assert second["ci95"] == pytest.approx(
        [25 - 4.303 / 3**0.5, 25 + 4.303 / 3**0.5], abs=1e-3
    )  # t of 2 degrees of freedom


def test_the_cost_is_of_one_setting_changed_at_a_time():
    base, *others = cost.settings()
    changed = [[name for name in base if point[name] != base[name]] for point in others]
    assert all(len(names) == 1 for names in changed) and {
        name for names in changed for name in names
    } == set(base)
    assert all(point["images"] % N_POSES == 0 for point in cost.settings())


def test_the_cost_of_a_setting_is_measured_in_a_process_of_its_own(few_sprites, monkeypatch):
    small = {**cost.BASE, "images": 2 * N_POSES, "batch_images": 8}
    monkeypatch.setattr(cost, "settings", lambda: [small, {**small, "size": 120}])
    result = cost.measure(few_sprites.images, turns=2, seconds=0.01, say=lambda _: None)
    one, large = result["points"]
    assert {name: one[name] for name in small} == small
    assert all(
        one[name] > 0
        for name in ("seconds_a_pair", "match_seconds", "encode_seconds", "peak_bytes")
    )
    assert one["encode_seconds"] < large["encode_seconds"]
    assert 2**26 < one["peak_bytes"] < 2**33
    json.dumps(result, allow_nan=False)


def test_larger_images_are_the_sprites_over_and_over_with_every_pixel_repeated(
    few_sprites, tmp_path
):
    some = few_sprites.images[: 2 * N_POSES]
    cost.write_images(some, 3 * N_POSES, 120, tmp_path / "images")
    written = np.fromfile(tmp_path / "images", dtype=np.uint8).reshape(3 * N_POSES, 120, 120, 3)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        np.testing.assert_array_equal(
            written[:, row::2, column::2], np.concatenate([some, some[:N_POSES]])
        )


def test_runs_that_differ_in_their_seed_give_an_interval():
    def run(seed, psnr, preset="fast", **of_hparams):
        results = json.loads((paths.ROOT / "reports" / "drawn" / "results.json").read_text())
        results |= {"seed": seed, "preset": preset}
        results["swap"]["test"]["psnr"] = psnr
        results["training"]["hparams"] |= of_hparams
        return results

    silent = run(0, 29.0)
    silent["headline"][2]["value"] = None  # a probe that did not train
    long, fast = seeds.compare([run(7, 30.0, "long"), run(2, 28.0), silent, run(1, 27.0)])
    assert (long["preset"], long["seeds"], fast["seeds"]) == ("long", [7], [0, 1, 2])
    rows = {row["what"]: row for row in fast["rows"]}
    swap = rows["swap, dB"]
    assert swap["values"] == [29, 27, 28] and swap["mean"] == pytest.approx(28)
    assert swap["ci95"] == pytest.approx(
        [28 - 4.303 / 3**0.5, 28 + 4.303 / 3**0.5], abs=1e-3
    )  # t of 2 degrees of freedom
    assert (
        rows["identity from z, %"]["values"][0] is None
        and rows["identity from z, %"]["mean"] is None
    )
    assert all(0 <= row["ci95"][0] <= row["ci95"][1] <= 100 for row in long["rows"])
    with pytest.raises(
        UserError, match="two of the runs of drawn, preset fast, have the same seed"
    ):
        seeds.compare([run(1, 28.0), run(1, 28.5)])
    with pytest.raises(UserError, match="differ in their hyper-parameters"):
        seeds.compare([run(1, 28.0), run(2, 28.5, z_dim=9)])
