"""What environment.sh asks of Python, by path: `base`, `differences` or `set-up`."""

import ast
import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV, LOCK_FILE = ROOT / ".venv", ROOT / ".venv.lock"
IN_USE = 99  # the descriptor that environment.sh opens on the lock file
PYTHON, UV, LOG = VENV / "bin/python", VENV / "bin/uv", VENV / "install.log"
COMPLETE, UNFINISHED = VENV / ".complete", VENV / ".installing"
FILES = ("requirements.txt", "constraints.txt", "requirements.lock")
REQUIREMENTS, CONSTRAINTS, LOCK = ((ROOT / name).read_text() for name in FILES)
STAMP = hashlib.sha256((REQUIREMENTS + CONSTRAINTS + LOCK).encode()).hexdigest()
IMPORT = (
    "import sys, numpy, torch; files = [numpy.__file__, torch.__file__];"
    " sys.exit(not all(file.startswith(sys.prefix) for file in files)"
    " and f'packages were installed elsewhere: {files}')"
)
# pip's settings that say how packages are reached. uv knows those not named here as UV_<NAME>.
SETTINGS = "index-url extra-index-url find-links no-index trusted-host cert proxy timeout retries"
UV_NAMES = {"CERT": "SSL_CERT_FILE", "PROXY": "ALL_PROXY", "TRUSTED_HOST": "UV_INSECURE_HOST"}
UV_NAMES |= {"TIMEOUT": "UV_HTTP_TIMEOUT", "RETRIES": "UV_HTTP_RETRIES"}


def differences() -> str:
    """How the environment that runs this differs from the lock, in few words; "" if it does not.

    If it is .venv and does not differ, it stays locked for the script that asks (see `use_venv` in
    environment.sh).
    """
    is_venv = VENV.exists() and VENV.samefile(sys.prefix)
    is_locked = is_venv and script_asks()
    if is_locked:
        try:
            fcntl.flock(IN_USE, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "a set-up of it is under way"
        except OSError:  # this disk has no locks
            is_locked = False
    found = (is_venv and mark_fault()) or package_faults()
    if found and is_locked:
        fcntl.flock(IN_USE, fcntl.LOCK_UN)
    return found


def script_asks() -> bool:
    """Whether environment.sh has opened the lock file for whatever it starts."""
    try:
        return os.path.samestat(os.fstat(IN_USE), LOCK_FILE.stat())
    except OSError:
        return False


def mark_fault() -> str:
    """What the marks of .venv say against it; "" where it was made by hand."""
    marked = COMPLETE.exists() or UNFINISHED.exists()
    stale = marked and read_mark(COMPLETE)[0] != STAMP
    return "it is incomplete or was made from another lock" if stale else ""


def package_faults() -> str:
    """How the installed packages differ from the lock; "" if they do not."""
    here = {"sys_platform": sys.platform, "platform_machine": platform.machine()}
    here["python_version"] = "{}.{}".format(*sys.version_info)
    pins = re.findall(r"^([\w.-]+)==([^;\s]+)(?:; *(.+))?", CONSTRAINTS, re.MULTILINE)
    # These markers compare strings, so Python reads them as pip does.
    locked = {name: pin for name, pin, marker in pins if not marker or eval(marker, dict(here))}
    names = re.findall(r"^\w[\w.-]*", REQUIREMENTS, re.MULTILINE)
    names += ["cycle-vae-report"] * ("-e ." in REQUIREMENTS)
    faults = list(filter(None, (package_fault(name, locked) for name in names)))
    more = f", and {len(faults) - 1} more differ" if len(faults) > 1 else ""
    return faults[0] + more if faults else ""


def package_fault(name: str, locked: dict[str, str]) -> str:
    """What is wrong with an installed package; "" if nothing is."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return f"{name} is missing"
    if package.version.partition("+")[0] != locked.get(name, package.version):
        return f"{name} is {package.version} where the lock states =={locked[name]}"
    record = package.read_text("RECORD") or ""
    modules = re.findall(r"^([^/,\n]+(?:/__init__)?\.py),", record, re.MULTILINE)
    lost = not all(package.locate_file(module).exists() for module in modules)
    return f"{name} has lost its files" if lost else ""


def read_mark(path: Path) -> tuple[str, str]:
    """The lock that .venv satisfies, and the machine that made it: what a mark in .venv holds."""
    lines = path.read_text().splitlines() if path.exists() else []
    return tuple([*lines, "", ""][:2])


def this_machine() -> str:
    """The name of this host, and what all containers on its kernel share until it is restarted."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()} {boot.read_text().strip() if boot.exists() else ''}"


def other_machine() -> str:
    """The name of another machine that made .venv and may be using it; "" if this one made it."""
    made = read_mark(COMPLETE)[1] or read_mark(UNFINISHED)[1]
    (name, _, boot), (here, _, this_boot) = made.partition(" "), this_machine().partition(" ")
    return "" if name in ("", here) or (boot and boot == this_boot) else name


def venv_differences() -> str:
    asked = [PYTHON, "-I", __file__, "differences"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "it has no working Python 3.11 to 3.13"


def run(environment: dict[str, str], *command: object) -> None:
    """Runs a step of the installation. What it says goes to the log, and to a terminal."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    # close_fds=False: a step that outlives this process keeps the lock of .venv until it ends.
    options = {"cwd": ROOT, "env": environment, "close_fds": False, "errors": "replace"} | streams
    said = ""
    with LOG.open("a") as log, subprocess.Popen(command, **options) as step:
        signal.signal(signal.SIGTERM, lambda *_: (step.terminate(), sys.exit(143)))
        for line in step.stdout:
            said += line
            log.write(line)
            if sys.stdout.isatty():
                print(line, end="", flush=True)
    if step.returncode:
        causes = re.findall(r"^(?:ERROR|error| +cause): (.+)", said, re.MULTILINE)
        if "connection broken" in said:
            causes = ["pip did not reach its package index"]
        causes = causes or said.splitlines()[-1:] or [f"status {step.returncode}"]
        raise subprocess.SubprocessError(": ".join(dict.fromkeys([causes[0], causes[-1]])))


def without_settings() -> dict[str, str]:
    """The user's variables but for those of Python, pip, uv and distutils."""
    foreign = re.compile("PYTHON|PIP_|UV_(?!CACHE_DIR$)|DIST_EXTRA_CONFIG")
    return {name: value for name, value in os.environ.items() if not foreign.match(name)}


def with_network() -> dict[str, str]:
    """The same, and of the user's settings of pip those that say how to reach packages."""
    clean = without_settings()
    list_settings = [PYTHON, "-I", "-m", "pip", "config", "list"]
    every_file = dict(os.environ, PIP_USER="0")  # pip would list the user's own file alone
    listed = subprocess.check_output(list_settings, env=every_file, text=True)
    for section in ("global", "install", ":env:"):  # The last one counts most, as for pip.
        settings = re.findall(rf"^{section}\.(?:default-)?(.+?)=(.+)", listed, re.MULTILINE)
        for name, value in settings:
            words = ast.literal_eval(value).split()
            if name in SETTINGS.split() and words:
                separator = "," if name == "find-links" else " "
                name = name.upper().replace("-", "_")
                clean["PIP_" + name] = " ".join(words)
                clean[UV_NAMES.get(name, "UV_" + name)] = separator.join(words)
    return clean | {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}


def install() -> None:
    run(without_settings(), sys.executable, "-I", "-m", "venv", VENV)
    clean = with_network()
    uv_entry = VENV / "uv.txt"
    uv_entry.write_text(re.search(r"^uv==.*(\n .*)*", LOCK, re.MULTILINE)[0])
    pip = [PYTHON, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    run(clean, *pip, "--only-binary=:all:", "--require-hashes", "-r", uv_entry)
    # A version may come from any index, as for pip. Its hash says whether it is the right file.
    options = ["--python", PYTHON, "--index-strategy", "unsafe-best-match"]
    if clean.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")  # uv has no variable for it
    run(clean, UV, "pip", "sync", "--require-hashes", "requirements.lock", *options)
    try:
        run(clean, PYTHON, "-I", "-c", IMPORT)
    except subprocess.SubprocessError:
        # uv links .venv's files to those of its cache, so a damaged file is damaged in both.
        run(clean, UV, "cache", "clean", *re.findall(r"^[\w.-]+", LOCK, re.MULTILINE))
        raise
    options += ["--no-deps", "--no-build-isolation"]  # the project, which has no hash
    # Its build would read ~/.pydistutils.cfg.
    options.append("--config-setting=--global-option=--no-user-cfg")
    run(clean, UV, "pip", "install", "-r", "requirements.txt", *options)


def take_turn() -> None:
    """Waits while another set-up goes on. The kernel frees the lock, whatever ends its holder.

    Ends this process where that set-up made .venv as it must be, and where a run uses .venv.
    """
    lock, probe = (os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT) for _ in range(2))
    os.set_inheritable(lock, True)
    waits, deadline = False, time.monotonic() + 5
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            print(f"{ROOT} has no locks ({error.strerror}): start one set-up at a time.")
            return
        try:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if time.monotonic() > deadline:
                sys.exit(
                    "A run uses .venv, whose packages must change: wait until it is done, then run"
                    " the same command again."
                )
            time.sleep(0.1)  # a script may hold it only to look whether it can use .venv
        except BlockingIOError:
            if not waits:
                print("Another set-up of .venv is under way: waiting for it.", file=sys.stderr)
            waits = True
            fcntl.flock(probe, fcntl.LOCK_SH)
            if not venv_differences():
                sys.exit()
        fcntl.flock(probe, fcntl.LOCK_UN)


def empty_venv(differs: str) -> None:
    """Empties .venv if it is ours. Its mark stays, so that it is ours after a kill, too."""
    if not (COMPLETE.exists() or UNFINISHED.exists() or not any(VENV.iterdir())):
        sys.exit(
            "The folder .venv was not made by this script and does not satisfy the lock "
            f"({differs}): remove it, or bring it up to date with "
            "'.venv/bin/python -m pip install -r requirements.txt -c constraints.txt'."
        )
    if name := other_machine():
        sys.exit(
            f"The folder .venv was made by the machine {name}, which may be using it, and here"
            f" {differs}: remove it if nothing uses it there, or run in another clone."
        )
    print("Emptying .venv, which is incomplete or was made from another lock.", flush=True)
    mark_unfinished()
    for path in set(VENV.iterdir()) - {UNFINISHED}:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def mark_unfinished(stamp: str = "") -> None:
    UNFINISHED.write_text(f"{stamp}\n{this_machine()}")


def set_up() -> None:
    take_turn()
    differs = venv_differences()
    if not differs:
        return
    if os.path.lexists(VENV):
        empty_venv(differs)
    size = 6 if (sys.platform, platform.machine()) == ("linux", "x86_64") else 2  # with CUDA or not
    free = shutil.disk_usage(ROOT).free // 10**9
    needed = os.environ.get("CYCLE_VAE_DISK_GB", str(size + 2))
    if not needed.isdigit():
        sys.exit(f"CYCLE_VAE_DISK_GB takes a whole number of GB, not '{needed}'.")
    if free < int(needed):
        sys.exit(
            f"The disk of {ROOT} has {free} GB free and the set-up needs {needed} GB: "
            "free some space, or see docs/options.md for a smaller torch without CUDA."
        )
    python = f"Python {platform.python_version()}"
    print(f"Setting up .venv with {python}, once: about {size} GB, 1 to 10 minutes.", flush=True)
    VENV.mkdir(exist_ok=True)
    mark_unfinished()
    install()
    mark_unfinished(STAMP)
    UNFINISHED.rename(COMPLETE)
    print("Set up .venv.", flush=True)


if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(1)
if sys.argv[1] == "base":
    import ensurepip  # noqa: F401  A Debian without python3-venv lacks it, and can make no .venv.

    print(sys._base_executable)
elif sys.argv[1] == "differences":
    print(differences())
else:
    try:
        set_up()
    except (OSError, subprocess.SubprocessError) as failure:
        log = "; the whole log is .venv/install.log" if LOG.exists() else ""
        advice = "fix the cause and run the same command again."
        sys.exit(f"The set-up of .venv failed ({failure}{log}): {advice}")
