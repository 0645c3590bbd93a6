"""The options of run_all.sh, and the storing of executed cells."""

from base64 import b64decode, b64encode
from io import BytesIO

import nbformat
import pytest
from PIL import Image

from lib.commands import notebooks, run_all
from lib.report import build, results, study
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
        (["--set", "z_dim=-1"], "z_dim must be between 1 and 4096, not -1"),
        (["--seed", "-1"], "seed must be a whole number from 0 to 4294967295"),
        (["--processes", "0"], "processes must be a whole number of at least 1, not 0"),
        (["--run", "../up"], "cannot name a run"),
        (
            ["--source", "drawn", "--fresh", "--from", "03"],
            "--fresh starts again .* leave out --from",
        ),
        (["--source", "drawn", "--archive", "somewhere"], "--source drawn needs no archive"),
        (["--size", "0"], "--size is for a folder of yours: give --images PATH"),
        (["--background", ""], "--background is for a folder of yours: give --images PATH"),
        (["--images", "none", "--archive", "somewhere"], "name two sources: leave one out"),
        (["--images", "none"], "there is no .*none: give a folder that holds a folder of images"),
        (["--images", "none", "--size", "0"], "images cannot have a size of 0 pixels"),
    ],
)
def test_a_bad_option_is_one_sentence_before_anything_runs(reports, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        run(*arguments)
    assert not reports.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--presets", "fast"], "there is no option '--presets' (did you mean --preset?)"),
        (["--imges", "x"], "there is no option '--imges' (did you mean --images?)"),
        (["drawn"], "there is no option 'drawn'; "),
        (["--preset", "slow"], "--preset: invalid choice: 'slow' (choose from 'paper', 'fast'"),
        (["--seed", "x"], "--seed: invalid int value: 'x'"),
        (["--seed"], "--seed: expected one argument"),
        (["--from", "07"], "--from: invalid choice: '07'"),
        (["--device", "tpu"], "--device: invalid choice: 'tpu' (choose from 'cpu', 'cuda'"),
        (["--images", ""], "--images: it is empty: give the path of your images"),
    ],
)
def test_a_wrong_option_ends_with_one_sentence(arguments, says, capsys):
    with pytest.raises(SystemExit) as stop:
        run_all.parse_arguments(arguments)
    assert stop.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("run_all.sh: ") and says in sentence
    assert sentence.endswith("run_all.sh --help lists the options")


@pytest.mark.parametrize("arguments", [["--preset", "paper"], ["--set", "architecture=published"]])
def test_networks_that_do_not_suit_a_folder_are_refused_before_it_is_read(
    reports, tmp_path, arguments
):
    for k in range(6):
        (tmp_path / "cars" / str(k)).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            (tmp_path / "cars" / str(k) / name).write_bytes(b"no image, but nobody looks")
    with pytest.raises(UserError, match="60x60 pixels, not 64x64: set architecture"):
        run("--images", str(tmp_path / "cars"), *arguments)
    assert not reports.exists()


@pytest.mark.parametrize("start", [[], ["--from", "02"]])
def test_another_trained_run_keeps_its_results(reports, start):
    stored = {"run": "mine", "source": "drawn", "preset": "smoke", "folder": {}}
    results.save_results("mine", "01_create_sprites", **stored)
    (reports / "mine" / "model.pt").write_text("a model")
    with pytest.raises(UserError, match=r"run 'mine' has preset smoke, not fast: .* with --fresh"):
        run("--source", "drawn", "--run", "mine", *start)
    assert results.read_results("mine")["preset"] == "smoke"


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


def test_the_frame_in_a_stored_notebook_leads_to_the_run(tmp_path):
    source, folder = tmp_path / "source.ipynb", tmp_path / "drawn" / "notebooks"
    folder.mkdir(parents=True)
    shown = nbformat.v4.new_output("display_data", {"text/html": '<iframe src="../explorer.html">'})
    cell = nbformat.v4.new_code_cell("show()", outputs=[shown])
    for path in (source, folder / "executed.ipynb"):
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    notebooks.store_outputs(folder / "executed.ipynb", source)
    output = nbformat.read(source, as_version=4).cells[0].outputs[0]
    assert output.data["text/html"] == '<iframe src="../reports/drawn/explorer.html">'


def test_pictures_of_executed_cells_get_a_palette():
    buffer = BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "PNG")
    shown = nbformat.v4.new_output(
        "display_data", {"image/png": b64encode(buffer.getvalue()).decode(), "text/plain": "x"}
    )
    text = nbformat.v4.new_output("stream", text="1\n")
    cell = nbformat.v4.new_code_cell("show()", outputs=[text, shown])
    notebooks._shrink_images(nbformat.v4.new_notebook(cells=[cell]))
    picture = Image.open(BytesIO(b64decode(cell.outputs[1].data["image/png"])))
    assert picture.mode == "P" and picture.size == (256, 256)


@pytest.mark.parametrize(
    ("source", "measured"), [("drawn", True), ("sprites", True), ("drawn", False)]
)
def test_store_outputs_keeps_the_art_of_the_archive_out(
    reports, monkeypatch, capsys, source, measured
):
    monkeypatch.setattr(study, "is_measured", lambda: measured)
    stored: list[str] = []
    monkeypatch.setattr(notebooks, "execute", lambda *_: 1.0)
    monkeypatch.setattr(results, "read_results", lambda _: {"training": {"seconds": 0}})
    monkeypatch.setattr(build, "build_report", lambda _: reports / "report.pdf")
    monkeypatch.setattr(build, "store_committed", lambda run: stored.append(run))
    monkeypatch.setattr(
        notebooks, "store_outputs", lambda executed, _: stored.append(executed.stem)
    )
    run("--source", source, "--run", "x", "--store-outputs")
    names = run_all.NOTEBOOKS if measured else run_all.NOTEBOOKS[:-1]
    assert stored == [*(names if source == "drawn" else ()), "x"]
    said = capsys.readouterr().out
    assert ("outputs are not stored" in said) == (source == "sprites")
    assert ("06_study is left out: benchmarks/study.json compares no methods" in said) != measured
