"""The set-up: what the files of versions say, and environment.sh with its faults, run in a copy."""

import fcntl
import functools
import hashlib
import http.server
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import uv
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib.system.paths import ROOT

TOOLS = "bash dirname readlink sh".split()
PIPELINE = "import os, sys; print('ran', sys.executable, os.getcwd(), sys.argv[1:])\n"
LINUX, ARM, MAC = ("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")


def stated(name: str) -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pins_for(platform: tuple[str, str], python: str) -> dict[str, list[str]]:
    here = {"sys_platform": platform[0], "platform_machine": platform[1], "python_version": python}
    pins = {}
    for pin in stated("constraints.txt"):
        if pin.marker is None or pin.marker.evaluate(here):
            pins.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier))
    return pins


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", [LINUX, ARM, MAC])
def test_lock_states_one_exact_version_of_each_dependency(platform, python):
    pins = pins_for(platform, python)
    # spelled alike: environment.py compares the names
    pinned = {pin.name for pin in stated("constraints.txt")}
    assert {requirement.name for requirement in stated("requirements.txt")} <= pinned
    assert all(
        len(versions) == 1 and re.fullmatch(r"==[0-9][0-9a-z.]*", versions[0])
        for versions in pins.values()
    )


def test_each_version_is_stated_once():
    assert all(not requirement.specifier for requirement in stated("requirements.txt"))
    assert "dependencies" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pins_for(ARM, "3.12")["torch"] != pins_for(LINUX, "3.12")["torch"]


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
    pins = pins_for(platform, python)
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
    for folder in ("lib/commands", "lib/system"):
        (tree / folder).mkdir(parents=True)
    helpers = ("lib/system/environment.sh", "lib/system/environment.py")
    for name in (
        "requirements.txt",
        "constraints.txt",
        "requirements.lock",
        "run_all.sh",
        *helpers,
    ):
        shutil.copy(ROOT / name, tree / name)
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
    tree: Path,
    *arguments: str,
    new_group: bool = False,
    stdin: int | None = None,
    command: list | None = None,
    **environment: str,
) -> subprocess.Popen:
    kept = {
        "PATH": str(tree.parent / "bin"),
        "HOME": str(tree.parent),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
    }
    return subprocess.Popen(
        command or [tree / "run_all.sh", *arguments],
        cwd=tree.parent,
        stdin=stdin,
        env=kept | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=new_group,
        # as in a terminal, wherever this runs
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.strip(), err.strip()


def call(tree: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    outcome = finish(start(tree, *arguments, **environment))
    if (tree / ".venv.lock").exists():
        with (tree / ".venv.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nothing holds it any more
    return outcome


def ran(environment: Path, tree: Path, *arguments: str) -> str:
    return f"ran {environment}/bin/python {tree.parent} {list(arguments)}"


def make_environment(path: Path, **versions: str | None) -> Path:
    """A virtual environment that claims to hold what the lock states, but for these versions (None:
    not at all).
    """
    venv.create(path, symlinks=True)
    (site,) = path.glob("lib/python*/site-packages")
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


def require_tiny(tree: Path, torch: bytes = b"whole = True\n") -> str:
    """Makes two packages all that the tree requires: uv, and tiny, which claims to be numpy and
    torch.

    Returns the folders that hold them, as pip's --find-links.
    """
    tiny = write_wheel(
        tree.parent / "wheels", "tiny", "1.0", **{"numpy.py": b"", "torch.py": torch}
    )
    program = Path(uv.find_uv_bin()).read_bytes()
    number = importlib.metadata.version("uv")
    installer = write_wheel(
        tree.parent / "uv", "uv", number, **{f"uv-{number}.data/scripts/uv": program}
    )
    (tree / "requirements.txt").write_text("uv\ntiny\n")
    (tree / "constraints.txt").write_text(f"tiny==1.0\nuv=={number}\n")
    pins = {f"uv=={number}": installer, "tiny==1.0": tiny}
    lines = [
        f"{pin} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
        for pin, wheel in pins.items()
    ]
    (tree / "requirements.lock").write_text("\n".join(lines))
    return f"{installer.parent} {tiny.parent}"


def write_wheel(folder: Path, name: str, number: str, **files: bytes) -> Path:
    folder.mkdir()
    wheel = folder / f"{name}-{number}-py3-none-any.whl"
    info = f"{name}-{number}.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n".encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{info}/RECORD"] = b""
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16  # pip keeps what is executable so
            archive.writestr(entry, content)
    return wheel


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment_that_satisfies_the_lock_is_used(tree, variable):
    torch = pins_for(LINUX, "3.12")["torch"][0][2:] if os.uname().machine == "x86_64" else None
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
        r"The folder \.venv was not made by this script .*\(cycle-vae-report is"
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


def test_a_needed_size_that_is_no_number_is_named(tree):
    code, out, err = call(tree, CYCLE_VAE_DISK_GB="much")
    assert (code, out) == (1, "") and not (tree / ".venv").exists()
    assert err == "CYCLE_VAE_DISK_GB takes a whole number of GB, not 'much'."


def test_no_space(tree):
    code, out, err = call(tree, CYCLE_VAE_DISK_GB="1000000")
    assert (code, out) == (1, "") and not (tree / ".venv").exists()
    assert re.fullmatch(
        r"The disk of .* has \d+ GB free and the set-up needs 1000000 GB: .*\.", err
    )


def test_set_up_waits_for_another_while_that_holds_the_lock(tree):
    # a file that is there but that nothing holds stops nobody
    with (tree / ".venv.lock").open("w") as lock:
        assert "GB free" in call(tree, CYCLE_VAE_DISK_GB="1000000")[2]
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = start(tree, CYCLE_VAE_DISK_GB="1000000")
        assert (
            waiting.stderr.readline() == "Another set-up of .venv is under way: waiting for it.\n"
        )
        time.sleep(0.5)
        assert waiting.poll() is None
    assert "GB free" in finish(waiting)[2]  # the kernel freed the lock as the file was closed


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
        and "Hash mismatch for `tiny==1.0`; the whole log" in err
        and not (tree / ".venv/left over").exists()
    )
    (tree / ".venv/left over").touch()
    (tree / "requirements.lock").write_text(re.sub("[0-9a-f]{8}\n", "00000000\n", lock))
    code, out, err = call(tree, PIP_FIND_LINKS=wheels)
    assert code == 1 and "THESE PACKAGES DO NOT MATCH THE HASHES" in err
    (tree / "requirements.lock").write_text(lock)
    outcomes = [
        finish(process) for process in [start(tree, PIP_FIND_LINKS=wheels) for _ in range(2)]
    ]
    assert sum("Setting up" in out for _, out, _ in outcomes) == 1
    assert all(code == 0 and out.endswith(ran(tree / ".venv", tree)) for code, out, _ in outcomes)
    assert not (tree / ".venv/left over").exists()
    assert call(tree) == (0, ran(tree / ".venv", tree), "")

    (site,) = tree.glob(".venv/lib/python*/site-packages")
    (site / "torch.py").unlink()  # a package without its files
    assert "GB free" in call(tree, CYCLE_VAE_DISK_GB="1000000")[2]
    code, out, err = call(tree, PIP_FIND_LINKS=wheels)
    assert code == 0 and out.endswith(ran(tree / ".venv", tree)) and (site / "torch.py").exists()

    (tree / "constraints.txt").write_text("tiny==1.0  # another lock\n")
    assert "GB free" in call(tree, CYCLE_VAE_DISK_GB="1000000")[2]
    assert os.listdir(tree / ".venv") == [".installing"]


def test_packages_that_are_imported_from_elsewhere_are_no_set_up(tree):
    wheels = require_tiny(tree, torch=b"__file__ = '/elsewhere/torch.py'\n")
    code, _, err = call(tree, PIP_FIND_LINKS=wheels)
    assert code == 1 and "packages were installed elsewhere: " in err
    assert not (tree / ".venv/.complete").exists()


def stamped(tree: Path, machine: str) -> Path:
    """A .venv that another lock and this machine made."""
    made = make_environment(tree / ".venv")
    (made / ".complete").write_text(f"another lock\n{machine}")
    return made


def test_a_venv_in_use_is_not_emptied(tree):
    (tree / "lib/commands/run_all.py").write_text(
        PIPELINE + "sys.stdout.flush(); sys.stdin.read()\n"
    )
    made = make_environment(tree / ".venv")
    (tree / ".venv.lock").touch()
    in_use = start(tree, stdin=subprocess.PIPE)
    assert in_use.stdout.readline().startswith("ran ")
    (made / ".complete").write_text("another lock\n")
    before = sorted(os.listdir(made))
    code, _, err = finish(start(tree, CYCLE_VAE_DISK_GB="1000000"))
    assert code == 1 and err.startswith("A run uses .venv, whose packages must change: wait until")
    assert sorted(os.listdir(made)) == before
    in_use.communicate()
    assert "GB free" in call(tree, CYCLE_VAE_DISK_GB="1000000")[2]


def test_a_venv_that_another_machine_may_use_is_kept(tree):
    made = stamped(tree, "other-host 0123")
    code, out, err = call(tree)
    assert (code, out) == (1, "") and (made / "bin/python").exists()
    assert err == (
        "The folder .venv was made by the machine other-host, which may be using it, and here it is"
        " incomplete or was made from another lock: remove it if nothing uses it there, or run in"
        " another clone."
    )
    (made / "bin/python").unlink()  # as in a container without that interpreter
    assert "and here it has no working Python" in call(tree)[2] and (made / ".complete").exists()


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="has no boot id")
def test_a_venv_of_another_container_on_this_kernel_is_made_anew(tree):
    made = stamped(tree, f"other-host {Path('/proc/sys/kernel/random/boot_id').read_text()}")
    assert "GB free" in call(tree, CYCLE_VAE_DISK_GB="1000000")[2]
    assert os.listdir(made) == [".installing"]


@pytest.mark.parametrize("how", ["a link", "sh", "no permission to run it", "posix"])
def test_however_the_script_is_started(tree, how):
    made = make_environment(tree / ".venv")
    bash, sh = shutil.which("bash"), shutil.which("dash") or shutil.which("sh")
    (tree.parent / "bin/report").symlink_to("../a tree/run_all.sh")
    (tree / "run_all.sh").chmod(0o644 if how.startswith("no") else 0o755)
    command = {
        "a link": [tree.parent / "bin/report", "x"],
        "sh": [sh, tree / "run_all.sh", "x"],
        "no permission to run it": [bash, tree / "run_all.sh", "x"],
        "posix": [bash, "--posix", tree / "run_all.sh", "x"],
    }[how]
    assert finish(start(tree, command=command)) == (0, ran(made, tree, "x"), "")


def test_a_script_that_is_sourced_leaves_the_shell_alone(tree):
    command = [shutil.which("bash"), "-c", f"source '{tree}/run_all.sh'; echo status $?"]
    code, out, err = finish(start(tree, command=command))
    assert (code, out) == (0, "status 1") and err.startswith("Run this script, do not source it: ")


def test_a_clone_has_unix_line_ends_whatever_git_is_set_to(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    clone = ["git", "-c", "core.autocrlf=true", "clone", "-q", "--depth=1", f"file://{ROOT}"]
    subprocess.run([*clone, tmp_path / "clone"], check=True)
    scripts = ("run_all.sh", "run_tests.sh", "lib/system/environment.sh", "requirements.lock")
    assert not [name for name in scripts if b"\r" in (tmp_path / "clone" / name).read_bytes()]


class HalfAnIndex(http.server.SimpleHTTPRequestHandler):
    """An index that gives uv, and never answers for tiny."""

    def do_GET(self):
        self.path = self.path.removeprefix("/simple/uv")
        if "tiny" in self.path:
            self.server.asked.set()
            self.server.over.wait()
        else:
            super().do_GET()


@pytest.fixture
def half_an_index(tmp_path):
    handler = functools.partial(HalfAnIndex, directory=tmp_path / "uv")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked, server.over = threading.Event(), threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGINT, True),
        (signal.SIGTERM, True),
        (signal.SIGTERM, False),
        (signal.SIGKILL, False),
    ],
)
def test_set_up_that_is_stopped_while_uv_works_begins_afresh(tree, half_an_index, number, group):
    wheels = require_tiny(tree)
    address = f"http://127.0.0.1:{half_an_index.server_port}/simple"
    process = start(
        tree,
        PIP_NO_INDEX="0",
        PIP_INDEX_URL=address,
        PIP_TIMEOUT="5",
        PIP_RETRIES="0",
        new_group=True,
    )
    assert half_an_index.asked.wait(30)
    # What uv leaves where it is killed while it installs: a package that claims to be there,
    # without its files.
    (site,) = tree.glob(".venv/lib/python*/site-packages")
    (site / "tiny-1.0.dist-info").mkdir()
    (site / "tiny-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    )
    (os.killpg if group else os.kill)(process.pid, number)
    code, out, err = finish(process)
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert (code, err) == (
            128 + number,
            "The set-up of .venv was stopped: run the same command again.",
        )
    assert not (tree / ".venv/.complete").exists()
    code, out, err = call(tree, PIP_FIND_LINKS=wheels)
    assert code == 0 and out.endswith(ran(tree / ".venv", tree)) and (site / "torch.py").exists()


def test_damaged_cache_is_left_out_at_the_next_start(tree):
    links = {"PIP_FIND_LINKS": require_tiny(tree)}
    assert call(tree, **links)[0] == 0
    for torch in [
        *tree.glob(".venv/lib/python*/site-packages/torch.py"),
        *tree.parent.glob(".cache/uv/**/torch.py"),
    ]:
        torch.write_text("raise ImportError('half a library')")
    (tree / "constraints.txt").write_text(
        (tree / "constraints.txt").read_text() + "# another lock\n"
    )
    code, _, err = call(tree, **links)
    assert (
        code == 1
        and "(ImportError: half a library; " in err
        and not (tree / ".venv/.complete").exists()
    )
    assert call(tree, **links)[0] == 0


def test_settings_of_the_user_say_how_packages_are_reached_and_nothing_else(tree):
    wheels = require_tiny(tree)
    elsewhere = tree.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "numpy.py").write_text("raise ImportError")
    (elsewhere / "constraints.txt").write_text("tiny==2.0\nuv==0.1\n")
    (elsewhere / "pip.conf").write_text(
        f"[global]\nno-index = true\nfind-links =\n    {wheels.replace(' ', chr(10) + '    ')}\n"
        f"user = true\ntarget = {elsewhere}\nconstraint = {elsewhere}/constraints.txt\n"
    )
    hostile = {
        name: str(elsewhere)
        for name in "PIP_TARGET PIP_PREFIX PIP_ROOT UV_TARGET PYTHONPATH PYTHONHOME".split()
    }
    (tree.parent / ".pydistutils.cfg").write_text(f"[install]\nprefix = {elsewhere}\n")
    hostile |= {
        "PIP_USER": "1",
        "PIP_DRY_RUN": "1",
        "PIP_REQUIREMENT": f"{elsewhere}/constraints.txt",
        "DIST_EXTRA_CONFIG": str(tree.parent / ".pydistutils.cfg"),
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONINSPECT": "1",
        "SHELLOPTS": "nounset",
        "POSIXLY_CORRECT": "1",
        "PIP_CONSTRAINT": f"{elsewhere}/constraints.txt",
        "UV_CONSTRAINT": f"{elsewhere}/constraints.txt",
    }
    hostile |= {"UV_INDEX_URL": "http://127.0.0.1:9", "UV_NO_BINARY": "1"}
    code, out, err = call(
        tree, **hostile, PIP_NO_INDEX="", PIP_CONFIG_FILE=str(elsewhere / "pip.conf")
    )
    assert (code, err) == (0, "") and out.endswith(ran(tree / ".venv", tree))
    assert sorted(path.name for path in elsewhere.iterdir()) == [
        "constraints.txt",
        "numpy.py",
        "pip.conf",
    ]


def test_full_or_read_only_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "nr_inodes=64", "none", disk], capture_output=True
    ).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        tree = make_tree(disk)
        with pytest.raises(OSError, match="No space left"):
            for number in range(64):
                (disk / str(number)).touch()
        assert_refused(tree, "No space left on device")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert_refused(tree, "Read-only file system")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def assert_refused(tree, why):
    code, out, err = call(tree)
    assert (code, out) == (1, "") and re.fullmatch(
        rf"The set-up of \.venv failed \(.*{why}.*\.venv\.lock'\): .*\.", err
    )
