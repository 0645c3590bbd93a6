import json

import pytest

from lib.report import findings, numbers, tables
from lib.system.paths import ROOT

RUNS = ROOT / "reports" / "_committed"


@pytest.fixture(scope="module", params=["drawn", "sprites"])
def committed(request):
    return json.loads((RUNS / request.param / "results.json").read_text())


def test_a_number_reads_the_same_in_a_finding_and_in_a_table():
    shares = {"identity": 0.88350, "pose_within_tolerance": 0.92650, "both": 0.817}
    judged = {name: shares for name in ("encoded", "predicted_s", "predicted_z")}
    r2 = {"r2": 0.5}
    prediction = {"s_from_z": r2, "z_from_s": r2, "judged": judged, "unseen_identities": True}
    prediction |= {name: {"psnr": 30.25} for name in judged}
    text = " ".join(findings.prediction_finding(prediction))
    _, rows = tables.decoded_predictions(prediction)
    _, _, identity, pose, _ = rows[0]
    assert f"({identity} % with the encoded s)" in text
    assert f"({pose} % with the encoded z)" in text


def test_no_number_is_a_negative_zero():
    assert [numbers.fixed(value, 2) for value in (-0.001, 0.001, -0.006)] == [
        "0.00",
        "0.00",
        "-0.01",
    ]


def test_every_table_of_the_report_has_full_rows_of_strings(committed):
    for head, rows in tables.report_tables(committed).values():
        assert rows and all(len(row) == len(head) for row in rows)
        assert all(isinstance(cell, str) for row in (head, *rows) for cell in row)
    assert all(isinstance(number, str) for number in tables.report_numbers(committed).values())


def test_a_table_in_markdown():
    assert tables.markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("accuracies", "columns"),
    [
        (
            {"character": 0.9, "identity": 0.8, "by_attributes": None},
            {"ours": "90.0", "identity": "80.0", "identity, by attributes": numbers.NO_EVIDENCE},
        ),
        ({"character": 0.9, "identity": 0.8}, {"ours": "90.0", "identity": "80.0"}),
        ({"identity": None}, {"ours": numbers.NO_EVIDENCE}),
    ],
)
def test_the_published_protocol_stands_beside_the_probes_that_a_source_has(accuracies, columns):
    published = {"accuracy": 0.5, "cross_entropy": 1.0, "uniform": 2.0}
    code = {"published": published, "ceiling": 0.99, "character_ceiling": 0.98, **accuracies}
    head, rows = tables.protocols({"s": code, "z": code})
    assert head[4:] == ["ours", "our ceiling", *list(columns)[1:]]
    for row in rows:
        assert {name: row[head.index(name)] for name in columns} == columns
