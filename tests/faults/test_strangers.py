"""Settings, places and limits of machines that nobody here set up."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.system.errors import NO_MEMORY
from lib.system.paths import ROOT
from tests.faults.place import Place, check_refused, check_stopped, shown

pytestmark = pytest.mark.faults

AT_NOTEBOOK_2 = "== 02_train (2 of "
FOREIGN_KERNEL = '{"argv": ["false"], "display_name": "foreign", "language": "python"}'
HOME_FILES = {  # what a user may have in HOME
    ".config/matplotlib/matplotlibrc": "axes.facecolor: black\ntext.usetex: True\nbackend: TkAgg\n",
    ".ipython/profile_default/startup/00.py": "from numpy import *\nlen = print = None\n",
    ".ipython/profile_default/ipython_kernel_config.py": "raise SystemExit\n",
    ".jupyter/jupyter_config.py": "raise SystemExit\n",
    ".local/share/jupyter/kernels/python3/kernel.json": FOREIGN_KERNEL,
    ".local/share/jupyter/nbconvert/templates/lab/conf.json": "{}",
    ".local/share/jupyter/nbconvert/templates/lab/index.html.j2": "a foreign page",
    "jupyter/kernels/python3/kernel.json": FOREIGN_KERNEL,
    "path/numpy.py": "raise ImportError",
    "startup.py": "raise SystemExit",
}


def bash(script: str, *arguments: object) -> tuple[object, ...]:
    """A script of bash, which has these arguments."""
    return (shutil.which("bash"), "-c", script, "bash", *arguments)


def first_notebook(place: Place, *command: object) -> Path:
    """Runs the first notebook alone; returns the folder of the run."""
    ended = place.stop_at(AT_NOTEBOOK_2, signal.SIGTERM, *command)
    check_stopped(ended, signal.SIGTERM)
    return place.reports / "r"


def unshared(kind: str, then: str) -> list[str]:
    """The command that runs its arguments in a namespace of this kind, where `then` is done first.

    Skips the test where that is refused.
    """
    command = ["unshare", f"--{kind}", "bash", "-c", f'{then} && exec "$@"', "bash"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a namespace of its own takes root ({error})")
    return command


def test_settings_of_the_user_do_not_leak_in(place, record):
    expected = first_notebook(place, *place.report_command("r"))
    home = place.folder / "home"
    for name, content in HOME_FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    settings = {
        "HOME": home,
        "MATPLOTLIBRC": home / ".config/matplotlib/matplotlibrc",
        "JUPYTER_PATH": home / "jupyter",
        "JUPYTER_CONFIG_PATH": home / ".jupyter",
        "PYTHONPATH": home / "path",
        "PYTHONSTARTUP": home / "startup.py",
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONINSPECT": "1",
        "PYTHONIOENCODING": "ascii",
    }
    hostile = Place(place.folder / "hostile", place.archive, settings)
    run = first_notebook(hostile, *hostile.report_command("r"))
    for figure in ("sprites.png", "twins.svg"):
        found, wanted = (folder / "figures" / figure for folder in (run, expected))
        assert found.read_bytes() == wanted.read_bytes()
    page = (run / "notebooks/01_create_sprites.html").read_text()
    assert "<title>Notebook" not in page and "a foreign page" not in page
    assert len(page) > 100_000 and not re.search(r"<img(?![^>]*alt=)", page)
    fault = "settings of matplotlib, IPython, Jupyter, nbconvert and Python"
    record(fault, "(they count for nothing)", "", "equal figures", "not needed")


@pytest.fixture
def odd_checkout(tmp_path) -> Path:
    """A copy of this project whose path papermill would format and ASCII does not have."""
    checkout = tmp_path / "Jürgen {v2} Groß"
    checkout.mkdir()
    for name in ("lib", "notebooks", "reports/report.typ", "run_all.sh"):
        source, target = ROOT / name, checkout / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    for name in ("requirements.txt", "constraints.txt", "requirements.lock"):
        shutil.copy(ROOT / name, checkout)
    return checkout


def test_odd_and_relative_paths(place, odd_checkout, tmp_path, record):
    away, link = place.folder / "away", tmp_path / "bin" / "report"
    away.mkdir()
    link.parent.mkdir()
    link.symlink_to(odd_checkout / "run_all.sh")
    shutil.copytree(place.archive, away / "archive")
    temporary = tmp_path / ("long" * 40)
    temporary.mkdir()
    settings = {
        "CYCLE_VAE_DATA": "data",
        "CYCLE_VAE_REPORTS": "out",
        "CYCLE_VAE_ARCHIVE": "archive",
        "CYCLE_VAE_DEVICE": "",
        "TMPDIR": temporary,
        "PYTHONPATH": "",
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "VIRTUAL_ENV": sys.prefix,
    }
    odd = Place(place.folder, place.archive, settings)
    command = odd.report_command("r")
    options = [option for option in command[1:] if option not in ("--archive", place.archive)]
    here = bash('cd "$1" && shift && exec "$@"', away, link, "--source=sprites", *options)
    check_stopped(odd.stop_at(AT_NOTEBOOK_2, signal.SIGTERM, *here), signal.SIGTERM)
    assert (away / "data" / "sprites.npz").exists()
    assert (away / "out/r/notebooks/01_create_sprites.html").exists()
    assert (
        not (odd_checkout / "notebooks" / "out").exists() and not (odd_checkout / "data").exists()
    )
    fault = "relative folders, a link to the script, braces and umlauts, a long TMPDIR, ASCII"
    record(fault, "(they are understood)", "", "the files, where they belong", "not needed")


def test_an_archive_that_was_touched_is_the_same_data(place, record):
    place.make_data()
    place.run_successfully(*place.training_command("touched"))
    for path in place.archive.glob("*.mat"):
        path.touch()
    place.make_data()
    place.run_successfully(*place.training_command("touched"))
    record("an archive with other times", "(its images count)", 0, "the model", "not needed")


def limited(limit: str) -> str:
    return f'{limit} && exec "$@"'


LIMITS = {  # what is limited, and what the user reads
    "few files": (limited("ulimit -n 12"), "only 12 files may be open at once: raise the limit"),
    "little memory": (limited("ulimit -v 700000"), re.escape(NO_MEMORY)),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_of_the_system(place, record, limit):
    script, says = LIMITS[limit]
    ended = place.run(*bash(script, *place.report_command("r", "--device", "cpu")))
    check_refused(ended, 1, says)
    record(f"a limit: {limit}", place.shown(ended.sentence), 1, place.left(), "yes, without it")


@pytest.mark.parametrize("options", [["--help"], []])
def test_an_output_that_is_closed(place, record, options):
    script = '"$@" | true; exit "${PIPESTATUS[0]}"'
    ended = place.run(*bash(script, *place.report_command("r", *options)))
    check_refused(ended, 141, "its output was closed, so it stopped; the same command goes on")
    fault = f"a closed output{' of ' * bool(options)}{''.join(options)}"
    record(fault, place.shown(ended.sentence), 141, place.left(), "yes")


def test_no_shared_memory(place, published, record):
    without = unshared("mount", "mount -t tmpfs -o ro none /dev/shm")
    place.run_successfully(*without, *place.data_command())
    record("no /dev/shm", "(threads read the archive)", 0, place.left(), "not needed")


def test_no_home_and_an_unknown_user(place, record):
    without = "mount --bind /dev/null /etc/passwd && unset HOME USER LOGNAME"
    other = Place(place.folder / "nobody", place.archive)
    first_notebook(other, *unshared("mount", without), *other.report_command("r"))
    record("no HOME, an unknown user", "(not needed)", "", "sprites.npz", "not needed")


def test_no_docstrings(place, record):
    for module in ("run_all", "train"):
        command = (sys.executable, "-OO", "-P", "-m", f"lib.commands.{module}", "--help")
        place.run_successfully(*command)
    record("python -OO", "(the help has no description)", 0, "nothing", "not needed")


# Several processes, on a machine whose name leads nowhere and whose network is closed.
NETWORK = {"GLOO_SOCKET_IFNAME": "nothere", "PET_RDZV_ENDPOINT": "192.0.2.1:1", "PET_NNODES": "2"}


def two_processes(place: Place, run: str) -> tuple[object, ...]:
    overrides = '{"images_seen": 64, "batch_images": 32, "match_from": 1, "swap_samples": 100}'
    command = (sys.executable, "-P", "-m", "lib.commands.train", run, "--source=sprites")
    return (*command, "--preset=smoke", f"--overrides={overrides}", "--processes=2")


def test_a_network_that_leads_nowhere(place_with_data, record):
    place = Place(place_with_data.folder, place_with_data.archive, NETWORK)
    nowhere = unshared("uts", "hostname no.such.host.invalid")
    started = time.monotonic()
    place.run_successfully(*nowhere, *two_processes(place, "nowhere"))
    assert time.monotonic() - started < 120 and (place.reports / "nowhere/model.pt").exists()
    record("a host name that leads nowhere", "(loopback is used)", 0, place.left(), "not needed")


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM), ids=lambda n: n.name)
def test_a_signal_while_processes_wait_for_each_other(place_with_data, record, number):
    """The second process of another machine never comes."""
    place = place_with_data
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    waiting = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1"}
    alone = Place(place.folder, place.archive, waiting | {"MASTER_PORT": port})
    process = alone.start(*two_processes(alone, "alone"))
    while socket.socket().connect_ex(("127.0.0.1", port)) and process.poll() is None:
        time.sleep(0.2)  # until it listens for the other one
    process.send_signal(number)
    started = time.monotonic()
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - started < 10 and process.returncode == 128 + number, said[-800:]
    fault = f"{number.name} while a process waits for another machine"
    record(fault, shown(said.strip().splitlines()[-1]), 128 + number, "nothing", "not needed")


def test_half_of_the_variables_of_torchrun(place_with_data, record):
    place = Place(place_with_data.folder, place_with_data.archive, {"WORLD_SIZE": 2})
    ended = place.run(*two_processes(place, "half"))
    check_refused(
        ended, 1, "WORLD_SIZE is set, but not RANK and .*: unset it, or start with torchrun"
    )
    record("WORLD_SIZE alone", place.shown(ended.sentence), 1, "nothing", "not needed")
