"""The options of run_all.sh, the joining of results, the sentences, and the store of executed
cells.
"""

import json
import re
import shutil

import nbformat
import pytest

from benchmarks.recipe import summary
from benchmarks.seeds import compare
from lib.commands import notebooks, run_all
from lib.report import build, findings, results
from lib.system import paths
from lib.system.errors import UserError

NOTEBOOKS = paths.ROOT / "notebooks"


def run(*arguments):
    return run_all.run_all(run_all.parse_arguments(list(arguments)))


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(
        notebooks, "execute", lambda *_: pytest.fail("a notebook was run in spite of a bad option")
    )
    return tmp_path / "reports"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "zdim=3"], "no hyper-parameter 'zdim'.*did you mean z_dim.*known ones are"),
        (["--set", "z_dim"], "--set takes NAME=VALUE, not 'z_dim'"),
        (["--set", "z_dim=-1"], "z_dim must be at least 1, not -1"),
        (["--seed", "-1"], "seed takes a whole number from 0"),
        (["--processes", "0"], "--processes takes a whole number from 1, not 0"),
        (["--run", "../up"], "cannot name a run"),
        (
            ["--source", "drawn", "--fresh", "--from", "03"],
            "--fresh starts again .* leave out --from",
        ),
        (["--source", "drawn", "--archive", "somewhere"], "--source drawn needs no archive"),
    ],
)
def test_a_bad_option_is_one_sentence_before_anything_runs(reports, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        run(*arguments)
    assert not reports.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--presets", "fast"],
        ["--preset", "slow"],
        ["--seed", "x"],
        ["--from", "06"],
        ["--device", "tpu"],
    ],
)
def test_an_unknown_option_ends_with_the_known_ones(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run_all.parse_arguments(arguments)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert "--preset" in printed and "{" in printed


def test_a_failing_notebook_stops_the_run_with_its_cell_and_keeps_the_copy(tmp_path, monkeypatch):
    for name in ("notebooks", "out"):
        (tmp_path / name).mkdir()
    cells = [
        nbformat.v4.new_code_cell(source) for source in ("print('fine')", "1 / 0", "print('never')")
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "bad.ipynb"
    )
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    with pytest.raises(
        UserError,
        match=(
            r"(?s)bad failed in its cell 2 with ZeroDivisionError: division by zero.*1 /"
            r" 0.*executed copy is .*bad.unfinished.ipynb"
        ),
    ):
        notebooks.execute("bad", tmp_path / "out", {}, "smoke")
    assert "fine" in (tmp_path / "out" / "bad.unfinished.ipynb").read_text()


def test_results_are_joined_and_hold_finite_numbers_only(reports):
    results.save_results("joined", "01_a", data={"images": 3}, findings={"data": "one"})
    results.save_results("joined", "02_b", training={"seconds": 1.5}, findings={"training": "two"})
    assert results.read_results("joined") == {
        "data": {"images": 3},
        "training": {"seconds": 1.5},
        "findings": {"data": "one", "training": "two"},
    }
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.save_results("joined", "03_c", swap={"mse": float("nan")})
    assert sorted(p.name for p in (reports / "joined" / "results").iterdir()) == [
        "01_a.json",
        "02_b.json",
    ]
    with pytest.raises(UserError, match="lacks the results swap, interpolation, probes"):
        build.build_report("joined")


def swap(test):
    predictors = {
        "black": 12.0,
        "mean": 15.3,
        "pose_mean": 18.8,
        "additive": 21.3,
        "retrieval": 26.1,
    }
    by_attribute = {
        "skin": {"ratio": 1.5, "ci95": [1.2, 1.8]},
        "hair": {"ratio": 1.9, "ci95": [0.9, 2.9]},
    }
    errors = {name: {"psnr": value, "ssim": 0.97} for name, value in predictors.items()}
    score = {
        "psnr": test,
        "ssim": 0.93,
        "ci95": [10 ** (-(test + 0.5) / 10), 10 ** (-(test - 0.7) / 10)],
    }
    best = {"swap": {"psnr": test, "n": 100}, "best": {"psnr": 31.0, "n": 100}}
    return {"test": score, "predictors": errors, "by_attribute": by_attribute, "best": best}


@pytest.mark.parametrize(
    ("psnr", "verdict"),
    [
        (27.0, "beats retrieval"),
        (24.0, r"beats additive \(21.3 dB\) but not retrieval"),
        (19.0, r"beats pose mean \(18.8 dB\) but not"),
        (11.0, "beats no simple predictor"),
    ],
)
def test_the_verdict_on_swaps_follows_from_the_numbers(psnr, verdict):
    finding = findings.swap_finding(swap(psnr), {"test": {"psnr": 30.0}})
    assert (
        re.search(verdict, finding)
        and "depends most on the skin" in finding
        and "1.50 times (95 %: 1.20 to 1.80)" in finding
    )
    assert f"{psnr} dB (95 %: {psnr - 0.7:.1f} to {psnr + 0.5:.1f})" in finding
    assert (
        f"On 100 of the swaps the best codes found for this decoder take {psnr} to 31.0 dB"
        in finding
    )
    assert ("retrieval, which shows true sprites, is ahead (0.970 to 0.930)" in finding) == (
        psnr > 26.1
    )


def test_a_difference_that_may_be_chance_is_not_told():
    swaps = swap(27.0)
    del swaps["by_attribute"]["skin"]
    assert (
        "Of no attribute does the interval say that the error is larger"
        in findings.swap_finding(swaps, {"test": {"psnr": 30.0}})
    )


@pytest.mark.parametrize("as_published", [None, True, False])
def test_images_that_were_not_published_are_called_so(as_published):
    data = {
        "characters": 672,
        "identities": 336,
        "poses": 178,
        "images": 119_616,
        "distinct_images": 86_095,
    }
    finding = findings.data_finding(
        {
            **data,
            "ceilings": dict.fromkeys(("character", "identity", "pose"), 0.9),
            "as_published": as_published,
        }
    )
    assert finding.startswith("These are not the 119,616 images that were published. ") == (
        as_published is False
    )


def test_a_collapsed_run_is_called_so():
    training = {"kl_nats": 9.0, "pose_nats": 5.2} | {
        "first": {"reconstruction": 600.0},
        "final": {"reconstruction": 50.0},
    }
    assert "collapsed" not in findings.training_finding(training)
    assert "z collapsed" in findings.training_finding({**training, "kl_nats": 0.1})


def probes(leak=0.0, trained=True, pose_from_s=0.9):
    """Probes with chance 0.5 and ceiling 1, in which the mean of z gives away the skin by `leak`;
    linear ones were not chosen.
    """
    rows = {
        (code, target): 0.9 for code in ("s", "z_mu", "z") for target in ("identity", "pose")
    } | {
        ("s", "skin"): 0.9,
        ("z_mu", "skin"): 0.5 + leak,
        ("z", "skin"): 0.5,
        ("s", "pose"): pose_from_s,
    }
    common = {"baseline": 0.5, "ceiling": 1.0, "trained": trained, "ci95": [0.4, 0.95]}
    entries = [
        {
            "code": code,
            "target": target,
            "kind": kind,
            "accuracy": 0.99 if kind == "linear" else accuracy,
            "chosen": kind == "mlp",
        }
        for (code, target), accuracy in rows.items()
        for kind in ("linear", "mlp")
    ]
    entries.append(
        {
            "code": "z_mu",
            "target": "identity",
            "kind": "attributes",
            "accuracy": 0.7,
            "chosen": False,
        }
    )
    return [{**entry, **common} for entry in entries]


def test_the_headline_takes_the_chosen_probes_and_turns_errors_into_decibels():
    rows = {
        row["what"]: row
        for row in findings.headline({"swap": swap(24.0), "probes": probes(pose_from_s=0.6)})
    }
    first = rows["swap, PSNR in dB"]
    assert first["ci95"] == pytest.approx([23.3, 24.5]) and (first["floor"], first["ceiling"]) == (
        18.8,
        31.0,
    )
    assert [row["value"] for row in rows.values()] == [24.0, 0.9, 0.9, 0.7, 0.9, 0.6]
    untrained = findings.headline({"swap": swap(24.0), "probes": probes(trained=False)})
    assert [row["value"] for row in untrained] == [24.0, *[None] * 5]


def judge(pose=0.98, weapon=0.74):
    ceilings = {
        "skin": 1.0,
        "weapon": 0.74,
        "pose": 0.98,
        "identity": 0.999,
        "pose_within_tolerance": 1.0,
        "both": 0.999,
    }
    truth = {**ceilings, "pose": pose, "both": 0.5}
    swaps = {**truth, "identity": 0.6, "weapon": weapon}
    return {
        "ceilings": ceilings,
        "baseline": {"skin": 0.3, "weapon": 0.5, "pose": 0.006, "identity": 0.02},
        "truth": truth,
        "swap": swaps,
        "retrieval": {"identity": 0.002},
        "rank_correlation": {"identity": 0.75, "pose": 0.1},
        "tolerance_pixels": 10,
    }


def test_a_judge_is_trusted_as_far_as_it_is_right_on_true_images():
    trusted = findings.judge_finding(judge())
    assert (
        "Retrieval has no test identity to give: there it sees the right one in 0.2 %." in trusted
    )
    assert "Swaps show little" not in trusted
    assert "within a point of the ceiling" in trusted and "it tells of the identity." in trusted
    weak = findings.judge_finding(judge(pose=0.9))
    assert "8.0 points below the ceiling in the pose" in weak and "lower bound" in weak
    assert "sees the right identity, all but the weapon, in 60.0 % (99.9 %) of the swaps" in weak
    lost = findings.judge_finding(judge(weapon=0.6))
    assert (
        "Swaps show little of the weapon (right in 60.0 %, of true images in 74.0 %, chance"
        " 50.0 %)." in lost
    )


def test_a_published_probe_worse_than_a_guess_is_said_not_to_have_learnt():
    ours = {"character": 0.5, "identity": None, "ceiling": 0.737, "character_ceiling": 0.757}
    s = {
        "published": {
            "accuracy": 0.67,
            "cross_entropy": 1.0,
            "uniform": 6.51,
            "epochs": 3,
            "images": 20_000,
        },
        **ours,
    }
    for cross_entropy, verdict in ((7.05, "did not learn"), (5.0, "learnt something")):
        z = {
            "published": {"accuracy": 0.002, "cross_entropy": cross_entropy, "uniform": 6.51},
            **ours,
        }
        finding = findings.protocol_finding({"s": s, "z": z})
        assert (
            verdict in finding
            and "67.0 % from s and 0.2 % from z" in finding
            and "more than 73.7 %" in finding
        )
        assert (
            "cut to 3 epochs on 20,000 images" in finding
            and "(there the ceiling is 75.7 %)" in finding
        )
        assert "the identity in no share that a probe could learn" in finding


def test_blocks_name_the_factors_that_the_wrong_code_tells():
    blocks = {
        "factors": ["skin", "weapon", "view"],
        "gap_by_factor": [0.9, -0.1, 0.7],
        "gap": 0.5,
        "disentanglement_by_code": {"s": 1, "z": 0.5},
    }
    assert "of weapon the wrong code tells more" in findings.block_finding(blocks)
    assert "wrong code" not in findings.block_finding({**blocks, "gap_by_factor": [0.9, 0.1, 0.7]})


def test_matches_are_told_by_their_share_that_is_right():
    assert "that the training held to be one pose, 85.0 % are" in findings.match_finding(0.85)
    assert findings.match_finding(None) == "This run matched no images of different characters."


def test_a_run_that_failed_is_called_so():
    def failures(kl, psnr, **of):
        run = {"training": {"kl_nats": kl}, "swap": swap(psnr), "probes": probes(**of)}
        return findings.failures(run)

    assert failures(11.0, 24.0) == []
    collapsed, ignored = failures(0.2, 18.0)
    assert collapsed.startswith("z collapsed: it is charged 0.20 nats")
    assert ignored.startswith(
        "s is ignored, or little was learnt: a swap (18.0 dB) comes no nearer to the truth than the"
        " mean image"
    )
    unknown = failures(11.0, 24.0, trained=False)
    assert (
        unknown[0] == "Whether s holds who is not known: no probe of the identity trained."
        and len(unknown) == 2
    )
    none = findings.failures(
        {
            "training": {"kl_nats": 11.0},
            "swap": swap(24.0),
            "probes": [{**entry, "accuracy": 0.52} for entry in probes()],
        }
    )
    assert (
        none[0]
        == "s hardly holds who: a probe names the identity in 52.0 % of the images (chance 50.0 %)."
    )
    assert none[1].startswith("z hardly holds which pose: a probe names the pose in 52.0 %")


def test_leaks_are_named_on_either_side():
    leaking = findings.probe_finding(probes(leak=0.3))
    assert (
        "gives away the skin, in 80.0 %" in leaking
        and "a sample of z gives away no attribute" in leaking
    )
    assert (
        "No attribute is read from z" in findings.probe_finding(probes(leak=0.01))
        and "s hardly names" not in leaking
    )
    poor = [
        {**entry, "accuracy": 0.6} if (entry["code"], entry["target"]) == ("s", "skin") else entry
        for entry in probes()
    ]
    assert (
        "Of attributes, s hardly names the skin, in 60.0 % (chance 50.0 %). "
        in findings.probe_finding(poor)
    )
    assert "s is not free of the pose" in leaking
    assert "s is free of the pose" in findings.probe_finding(probes(pose_from_s=0.5))


def test_a_probe_that_did_not_train_gives_no_number():
    finding = findings.probe_finding(probes(leak=0.3, trained=False))
    assert "in no share that a probe could learn" in finding and "80.0 %" not in finding


def test_a_path_that_jumps_is_called_so():
    even = {
        "end_psnr": 25.0,
        "middle_psnr": 22.0,
        "largest_step_s": 1.5,
        "largest_step_z": 2.0,
        "n": 100,
    }
    even |= {"jumping_s": 0.0, "jumping_z": 0.05}
    finding = findings.interpolation_finding(even)
    assert (
        "neither path jumps; a step of more than 4 times the mean is in 0.0 % of the paths in s and"
        " 5.0 %" in finding
    )
    assert (
        "25.0 dB from the nearest true image" in finding
        and "middle of a path in z at 22.0 dB" in finding
    )
    assert "a path in z jumps" in findings.interpolation_finding({**even, "largest_step_z": 9.0})


def test_the_recipe_names_what_gained_most_and_what_gained_nothing():
    rows = [("as published", 15.0, 0.0), ("a", 18.5, 3.5), ("b", 18.2, -0.3), ("c", 19.0, 0.8)]
    table = [{"change": name, "swap_psnr": psnr, "gained": gained} for name, psnr, gained in rows]
    finding = findings.recipe_finding(table)
    assert "from 15.0 to 19.0 dB" in finding and "of 3.5 dB, is \u201ca\u201d" in finding
    assert "no gain came from \u201cb\u201d (-0.3 dB)" in finding and "\u201cc\u201d" not in finding
    assert "no gain" not in findings.recipe_finding(table[:2])


def cost_points():
    base = {"images": 1_000, "size": 60, "z_dim": 8, "s_dim": 64, "batch_images": 64}
    measured = {
        "seconds_a_pair": 0.002,
        "match_seconds": 1.0,
        "encode_seconds": 2.0,
        "peak_bytes": 2**30,
    }
    changed = (
        {"images": 9_000, "encode_seconds": 18.0},
        {"size": 120, "seconds_a_pair": 0.009},
        {"z_dim": 512, "peak_bytes": 2**31},
    )
    return [
        {**base, **measured},
        *(
            {**base, **measured, **change}
            for change in (*changed, {"s_dim": 16}, {"batch_images": 8})
        ),
    ]


def test_the_cost_tells_how_each_setting_changes_it():
    finding = findings.cost_finding(cost_points())
    assert "A pair takes 2.0 ms of training, in a process of 1.0 GiB" in finding
    assert "4.5 times the time and 1.0 times the memory from 60 to 120 pixels each way" in finding
    assert "1.0 times the time and 2.0 times the memory from 8 to 512 numbers in z" in finding
    assert "For 9,000 images the matches are found in 1 s, and all are encoded in 18 s." in finding


@pytest.mark.parametrize("measured", ["whole", "in part", "nothing"])
def test_the_report_is_typeset_with_what_the_benchmarks_measured(
    reports, tmp_path, monkeypatch, measured
):
    committed = paths.ROOT / "reports" / "drawn"
    measured_before = shutil.ignore_patterns(*(f"{name}.svg" for name in build.BENCHMARKS))
    shutil.copytree(committed / "figures", reports / "drawn" / "figures", ignore=measured_before)
    content = json.loads((committed / "results.json").read_text())
    for name in build.BENCHMARKS:
        content.pop(name, None)
        content["findings"].pop(name, None)
    results.save_results("drawn", "01_all", **content)
    trainings = {
        name: [{"swap": 0.01 / n, "own": 0.005, "images": 64}]
        for n, name in enumerate(("as published", "better"), 1)
    }
    recipe = {"source": "sprites", "seconds": 60.0, "threads": 1, "trainings": trainings}
    if measured == "whole":
        recipe["table"] = summary(trainings)
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    others = [content | {"seed": seed} for seed in range(3)]
    (tmp_path / "seeds.json").write_text(json.dumps({"groups": compare(others)}))
    (tmp_path / "cost.json").write_text(
        json.dumps({"threads": 1, "turns": 3, "points": cost_points()})
    )
    speed = paths.ROOT / "benchmarks" / "speed.json"
    places = {
        "seeds": tmp_path / "seeds.json",
        "recipe": tmp_path / "recipe.json",
        "speed": speed,
        "cost": tmp_path / "cost.json",
    }
    monkeypatch.setattr(build, "BENCHMARKS", {} if measured == "nothing" else places)
    assert build.build_report("drawn").stat().st_size > 100_000
    content = json.loads((reports / "drawn" / "results.json").read_text())
    assert all(name in content for name in build.BENCHMARKS)
    assert ("speed" in content, *(name in content["findings"] for name in ("cost", "seeds"))) == (
        measured != "nothing",
    ) * 3
    assert ("recipe" in content["findings"]) == (measured == "whole")
    assert (reports / "drawn" / "figures" / "recipe.svg").exists() == (measured == "whole")


def test_executed_cells_are_stored_in_their_notebook(tmp_path):
    source, executed = tmp_path / "source.ipynb", tmp_path / "executed.ipynb"
    parameters = nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]})
    shown = nbformat.v4.new_code_cell("print(a)")
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, shown]), source)
    injected = nbformat.v4.new_code_cell(
        "a = 1", metadata={"tags": ["injected-parameters"]}, execution_count=2
    )
    done = nbformat.v4.new_code_cell(
        "print(a)", execution_count=3, outputs=[nbformat.v4.new_output("stream", text="1\n")]
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, injected, done]), executed)
    notebooks.store_outputs(executed, source)
    cells = nbformat.read(source, as_version=4).cells
    assert [cell.execution_count for cell in cells] == [1, 2] and cells[1].outputs[0].text == "1\n"
