import json
import subprocess

import numpy as np
import pytest
import torch

from benchmarks import cost, load, protocol, speed, study
from lib.config import PRESETS
from lib.data.sprites import N_POSES
from lib.system import paths

CPU = torch.device("cpu")


@pytest.fixture
def few_components(monkeypatch):
    """Presets with few components, which are found faster."""
    for preset in ("fast", "paper"):
        monkeypatch.setitem(PRESETS[preset], "components", 64)


def test_speed_counts_the_operations_and_shares_of_the_peak(few_sprites, few_components):
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


def test_the_cost_is_of_one_setting_changed_at_a_time():
    base, *others = cost.settings()
    changed = [[name for name in base if point[name] != base[name]] for point in others]
    assert all(len(names) == 1 for names in changed) and {
        name for names in changed for name in names
    } == set(base)
    assert all(point["images"] % N_POSES == 0 for point in cost.settings())


def test_the_cost_of_a_setting_is_measured_in_a_separate_process(few_sprites, monkeypatch):
    small = {**cost.BASE, "images": 2 * N_POSES, "batch_images": 8, "components": 64}
    monkeypatch.setattr(cost, "settings", lambda: [small, {**small, "size": 120}])
    result = cost.measure(few_sprites.images, turns=1, seconds=0.01, say=lambda _: None)
    one, large = result["points"]
    assert {name: one[name] for name in small} == small
    measured = ("seconds_a_pair", "components_seconds", "match_seconds", "encode_seconds")
    assert all(one[name] > 0 for name in (*measured, "peak_bytes"))
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


def test_the_cost_says_how_each_setting_changes_it():
    point = {"images": 1_000, "size": 60, "z_dim": 8, "s_dim": 64, "batch_images": 64}
    point |= {"seconds_a_pair": 0.002, "match_seconds": 1.0, "encode_seconds": 2.0}
    point |= {"peak_bytes": 2**30}
    changes = (
        {},
        {"images": 9_000, "encode_seconds": 18.0},
        {"size": 120, "seconds_a_pair": 0.009},
        {"z_dim": 512, "peak_bytes": 2**31},
        {"s_dim": 16},
        {"batch_images": 8},
    )
    text = " ".join(cost.cost_finding([point | change for change in changes]))
    assert "a training pair takes 2.0 ms, and peak memory is 1.0 GiB." in text
    assert "From 60 to 120 pixels per side, time per pair changes by a factor of 4.5" in text
    assert "of z, time per pair changes by a factor of 1.0 and memory by 2.0." in text
    assert "For 9,000 images, the matching takes 1 s and the encoding 18 s." in text


def test_the_load_says_what_the_chosen_way_keeps_and_what_the_library_does():
    rows = {way: {"quiet": 90.0, "busy": 60.0} for way in load.WAYS}
    rows["as the library comes"] = {"quiet": 100.0, "busy": 8.0}
    content = load.describe({"ways": rows, "cores": 2, "turns": 1, "seconds_a_turn": 1.0})
    chosen, library = content["finding"]
    assert f"\u201c{load.CHOSEN}\u201d, a training on 2 cores has 90.0 % of the best" in chosen
    assert "60.0 % beside one busy process" in chosen and "8.0 % beside" in library
    set_by_script = (paths.ROOT / "lib" / "system" / "environment.sh").read_text()
    assert "GOMP_SPINCOUNT=" + load.WAYS[load.CHOSEN]["GOMP_SPINCOUNT"] in set_by_script


def test_each_way_is_timed_in_a_process_that_waits_so(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")  # of the user
    seen, rates = [], '{"quiet": 7.5, "busy": 2.5}'
    monkeypatch.setattr(
        load.subprocess,
        "run",
        lambda *_, env, **__: seen.append(env) or subprocess.CompletedProcess([], 0, rates, ""),
    )
    measured = load.measure(1, 1.0, say=str)["ways"]
    assert measured == {way: {"quiet": 7.5, "busy": 2.5} for way in load.WAYS}
    for way, environment in zip(load.WAYS.values(), seen, strict=True):
        assert {name: environment.get(name) for name in way} == way
        assert way or "GOMP_SPINCOUNT" not in environment


@pytest.mark.parametrize("module", [study, cost, load, speed])
def test_the_committed_text_follows_from_the_committed_numbers(module):
    name = module.__name__.rpartition(".")[2]
    content = json.loads((paths.ROOT / "benchmarks" / f"{name}.json").read_text())
    again = module.describe(content["runs"] if module is study else content)
    assert (again["finding"], again["tables"]) == (content["finding"], content["tables"])
    for table in content["tables"]:
        assert all(len(row) == len(table["head"]) for row in table["rows"])


@pytest.mark.parametrize(("loss", "verdict"), [(6.6, "nothing"), (5.0, "something")])
def test_the_published_protocol_says_whether_its_classifier_learned(loss, verdict):
    one = {"epochs": 200, "images": 95_693, "uniform": 6.51, "accuracy": 0.716}
    result = {"s": {**one, "cross_entropy": 0.4}, "z": {**one, "cross_entropy": loss}}
    content = protocol.describe({**result, "ceiling": 0.737})
    text = " ".join(content["finding"])
    assert f"So the z classifier learned {verdict} that holds" in text
    assert "200 epochs on 95,693 images" in text and "limit it to 73.7 %" in text
    head, rows = content["tables"][0]["head"], content["tables"][0]["rows"]
    assert [row[2] for row in rows] == ["67.0", "0.2"] and all(len(r) == len(head) for r in rows)
