"""The set-up: what the files of versions say, and lib/environment.sh with its faults, run for real
in a copy of the tree.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import packaging
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib.system.paths import ROOT

TOOLS = (
    "awk bash cat cksum df dirname env grep ln mkdir mv readlink rm sed sh sleep tail uname".split()
)
PIPELINE = "import os, sys; print('ran', sys.executable, os.getcwd(), sys.argv[1:])\n"
LINUX, ARM, MAC = ("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")


def stated(name: str) -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def lock_of(platform: tuple[str, str], python: str) -> dict[str, list[str]]:
    here = {"sys_platform": platform[0], "platform_machine": platform[1], "python_version": python}
    pins = {}
    for pin in stated("constraints.txt"):
        if pin.marker is None or pin.marker.evaluate(here):
            pins.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier))
    return pins


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", [LINUX, ARM, MAC])
def test_lock_states_one_exact_version_of_each_dependency(platform, python):
    pins = lock_of(platform, python)
    assert {
        canonicalize_name(requirement.name) for requirement in stated("requirements.txt")
    } <= set(pins)
    assert all(
        len(versions) == 1 and re.fullmatch(r"==[0-9][0-9a-z.]*", versions[0])
        for versions in pins.values()
    )


def test_each_version_is_stated_once():
    assert all(not requirement.specifier for requirement in stated("requirements.txt"))
    assert "dependencies" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lock_of(ARM, "3.12")["torch"] != lock_of(LINUX, "3.12")["torch"]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", [LINUX, ARM, MAC])
def test_every_version_has_hashes(platform, python):
    here = {
        "sys_platform": platform[0],
        "platform_machine": platform[1],
        "python_version": python,
        "os_name": "posix",
    }
    here |= {"python_full_version": f"{python}.7"}
    text = "\n".join(
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.startswith("#")
    )
    hashed = {}
    for entry in re.split(r"\n(?! )", text):
        pin, *hashes = re.split(r" \\\n +--hash=sha256:", entry)
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes), pin
        pin = Requirement(pin)
        if pin.marker is None or pin.marker.evaluate(here):
            hashed.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier))
    pins = lock_of(platform, python)
    assert {name: hashed.get(name) for name in pins} == pins
    assert all(re.match("nvidia-|triton|cuda-", name) for name in set(hashed) - set(pins)), set(
        hashed
    ) - set(pins)


def test_conda_installs_the_same_two_files():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, rest = environment["dependencies"]
    assert (environment["name"], environment["channels"], pip) == (
        "cycle-vae",
        ["conda-forge"],
        "pip",
    )
    assert rest == {"pip": ["-r requirements.txt", "-c constraints.txt"]}
    assert (
        python
        == "python "
        + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path)


def make_tree(tmp_path: Path) -> Path:
    """A copy of the tree without an environment, whose pipeline only says how it was run; PATH has
    one good Python.
    """
    tree = tmp_path / "a tree"
    (tree / "lib").mkdir(parents=True)
    for name in (
        "requirements.txt",
        "constraints.txt",
        "requirements.lock",
        "run_all.sh",
        "lib/environment.sh",
    ):
        shutil.copy(ROOT / name, tree / name)
    (tree / "lib/commands").mkdir()
    for package in ("lib", "lib/commands"):
        (tree / package / "__init__.py").touch()
    (tree / "lib/commands/run_all.py").write_text(PIPELINE)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    python = getattr(sys, "_base_executable", sys.executable)
    script(tmp_path / "bin/python3", "exit 127")  # as a shim does for a version that is not there
    script(tmp_path / "bin/python3.13", "echo 3.10; exit 1")
    script(tmp_path / "bin/python", f'exec "{python}" "$@"')
    return tree


def script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def start(
    tree: Path, *arguments: str, new_group: bool = False, **environment: str
) -> subprocess.Popen:
    kept = {
        "PATH": str(tree.parent / "bin"),
        "HOME": str(tree.parent),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
    }
    return subprocess.Popen(
        [tree / "run_all.sh", *arguments],
        cwd=tree.parent,
        env=kept | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=new_group,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # as in a terminal, wherever this runs
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.strip(), err.strip()


def call(tree: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    code, out, err = finish(start(tree, *arguments, **environment))
    assert not os.path.lexists(tree / ".venv.lock")
    return code, out, err


def ran(environment: Path, tree: Path, *arguments: str) -> str:
    return f"ran {environment}/bin/python {tree.parent} {list(arguments)}"


def make_environment(path: Path, **versions: str | None) -> Path:
    """A virtual environment that claims to hold what the lock states, but for these versions (None:
    not at all).
    """
    venv.create(path, symlinks=True)
    (site,) = path.glob("lib/python*/site-packages")
    shutil.copytree(Path(packaging.__file__).parent, site / "packaging")
    here = {
        canonicalize_name(pin.name): str(pin.specifier)[2:]
        for pin in stated("constraints.txt")
        if not pin.marker or pin.marker.evaluate()
    }
    names = [canonicalize_name(requirement.name) for requirement in stated("requirements.txt")]
    for name, version in (
        {name: here[name] for name in names} | {"cycle-vae-report": "0.1.0"} | versions
    ).items():
        if version:
            info = site / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
    return path


def require_tiny(tree: Path) -> str:
    """Makes a package, tiny, all that the tree requires; returns the folder that holds it, as pip's
    --find-links.
    """
    folder = tree.parent / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256((folder / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (tree / "requirements.txt").write_text("tiny\n")
    (tree / "constraints.txt").write_text("tiny==1.0\n")
    (tree / "requirements.lock").write_text(f"tiny==1.0 --hash=sha256:{digest}")
    return str(folder)


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment_that_satisfies_the_lock_is_used(tree, variable):
    torch = lock_of(LINUX, "3.12")["torch"][0][2:] if os.uname().machine == "x86_64" else None
    active = make_environment(
        tree.parent / "active", **({"torch": f"{torch}+cpu"} if torch else {})
    )
    code, out, err = call(tree, "--archive", "a b", **{variable: str(active)})
    assert (code, err, out) == (0, "", ran(active, tree, "--archive", "a b"))
    assert not (tree / ".venv").exists()


def test_active_environment_that_differs_is_named_and_the_one_made_by_hand_is_used(tree):
    active = make_environment(tree.parent / "active", numpy="1.0", ruff=None)
    made = make_environment(tree / ".venv")
    code, out, err = call(tree, VIRTUAL_ENV=str(active))
    assert (code, out) == (0, ran(made, tree))
    assert re.fullmatch(
        r"The active environment \S+ does not .*\(numpy is 1.0 where the lock states ==.*, and 1"
        r" more differ\).*",
        err,
    )


def test_foreign_venv_is_kept(tree):
    made = make_environment(tree / ".venv", **{"cycle-vae-report": None})
    code, out, err = call(tree)
    assert (code, out) == (1, "") and made.exists()
    assert re.fullmatch(
        r"The folder \.venv is not of this script's making .*\(cycle-vae-report is"
        r" missing\).*remove it.*\.",
        err,
    )


def test_no_python_of_a_known_version(tree):
    (tree.parent / "bin/python").unlink()
    code, out, err = call(tree, PYTHON="python3.13")
    assert (code, out) == (1, "") and not (tree / ".venv").exists()
    note, fault = err.splitlines()
    assert note.startswith("PYTHON=python3.13 is not used") and re.fullmatch(
        r"No working Python 3\.11 to 3\.13 .*\.sh\.", fault
    )


def test_no_space(tree):
    code, out, err = call(tree, CYCLE_VAE_DISK_GB="1000000")
    assert (code, out) == (1, "") and not (tree / ".venv").exists()
    assert re.fullmatch(
        r"The disk of .* has \d+ GB free and the set-up needs 1000000 GB: .*\.", err
    )


def test_set_up_waits_for_another_and_takes_over_from_a_dead_one(tree):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tree / ".venv.lock").symlink_to(str(dead.pid))
    assert "GB free" in call(tree, CYCLE_VAE_DISK_GB="1000000")[2]
    (tree / ".venv.lock").symlink_to(str(os.getpid()))
    waiting = start(tree, CYCLE_VAE_DISK_GB="1000000")
    assert f"(process {os.getpid()}) is under way" in waiting.stderr.readline()
    (tree / ".venv.lock").unlink()
    assert "GB free" in finish(waiting)[2]


def test_failed_installation_then_a_clean_start_then_another_lock(tree):
    wheels = require_tiny(tree)
    code, out, err = call(
        tree, PIP_NO_INDEX="0", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1"
    )
    assert code == 1 and re.fullmatch(
        r"Setting up \.venv with Python 3\.\S+, once: about .* minutes\.", out
    )
    assert re.fullmatch(
        r"The set-up of \.venv failed \(pip did not reach its package index;"
        r" .*\.venv/install\.log\).*\.",
        err,
    )
    assert "ERROR" in (tree / ".venv/install.log").read_text()

    (tree / ".venv/left over").touch()
    lock = (tree / "requirements.lock").read_text()
    (tree / "requirements.lock").write_text(lock[:-8] + "00000000")
    code, out, err = call(tree, PIP_FIND_LINKS=wheels)
    assert (
        code == 1
        and "THESE PACKAGES DO NOT MATCH THE HASHES" in (tree / ".venv/install.log").read_text()
    )
    (tree / "requirements.lock").write_text(lock)
    outcomes = [
        finish(process) for process in [start(tree, PIP_FIND_LINKS=wheels) for _ in range(2)]
    ]
    assert sum("Setting up" in out for _, out, _ in outcomes) == 1
    assert all(code == 0 and out.endswith(ran(tree / ".venv", tree)) for code, out, _ in outcomes)
    assert not (tree / ".venv/left over").exists()
    assert call(tree) == (0, ran(tree / ".venv", tree), "")

    (tree / "constraints.txt").write_text("tiny==1.0  # another lock\n")
    assert "GB free" in call(tree, CYCLE_VAE_DISK_GB="1000000")[2] and not (tree / ".venv").exists()
