# Sourced by run_all.sh and run_tests.sh: leaves in PYTHON an interpreter that has the packages of the lock (constraints.txt),
# making .venv where there is none yet, and exports what the report's processes need. Keeps to bash 3.2, as macOS has it.

ROOT=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv

fail() {
  echo "$1" >&2
  exit 1
}

stopped() {
  trap '' INT TERM
  echo "The set-up of .venv was stopped: start again, which begins afresh." >&2
  exit "$1"
}

# Prints the interpreter behind $1, and succeeds if it can make a .venv for this project.
base_python() {
  "$1" -c 'import sys, venv, ensurepip
(3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit(1)
print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null
}

# Prints in a few words how the interpreter $1 differs from the lock; nothing where it satisfies it. Isolated (-I): only what
# is installed in its environment counts, not what PYTHONPATH or the user's own site-packages add. 2.14.1+cpu satisfies ==2.14.1.
differences() {
  "$1" -I - "$ROOT" 2>/dev/null <<'EOF_PYTHON' || echo "it has no working Python of version 3.11 to 3.13"
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

(3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit(1)
try:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
except ImportError:
    print("the package packaging is missing")
    sys.exit()

def stated(name):
    lines = (line.partition("#")[0].strip() for line in (Path(sys.argv[1]) / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]

here = [pin for pin in stated("constraints.txt") if pin.marker is None or pin.marker.evaluate()]
locked = {canonicalize_name(pin.name): pin.specifier for pin in here}
faults = []
for name in [requirement.name for requirement in stated("requirements.txt")] + ["cycle-vae-report"]:
    wanted = locked.get(canonicalize_name(name), SpecifierSet())
    try:
        if not wanted.contains(version(name), prereleases=True):
            faults.append(f"{name} is {version(name)} where the lock states {wanted}")
    except PackageNotFoundError:
        faults.append(f"{name} is missing")
if faults:
    print(faults[0] + (f", and {len(faults) - 1} more differ" if len(faults) > 1 else ""))
EOF_PYTHON
}

# Succeeds if .venv is complete: stamped by an installation of this lock, or made by hand and satisfying it.
ready() {
  if [ -e "$VENV/.complete" ]; then
    [ "$(cat "$VENV/.complete")" = "$LOCK" ] && "$VENV/bin/python" -c '' 2>/dev/null
  else
    [ -x "$VENV/bin/python" ] && [ ! -e "$VENV/.installing" ] && [ -z "$(differences "$VENV/bin/python")" ]
  fi
}

# Lets one set-up at a time through: .venv.lock is a link to nothing, named after the process that holds it (made whole or not at all).
take_turn() {
  local me holder waited=
  me=$(exec sh -c 'echo $PPID')  # of this subshell: $$ is that of the script, BASHPID is not in bash 3.2
  until ln -sn "$me" "$VENV.lock" 2>/dev/null; do
    [ -w "$ROOT" ] || fail "The folder $ROOT is not writable, so no .venv can be made there: use a copy that you can write to."
    holder=$(readlink "$VENV.lock") || continue
    if ! kill -0 "$holder" 2>/dev/null; then
      rm -f "$VENV.lock"
      continue
    fi
    [ -n "$waited" ] || echo "Another set-up of .venv (process $holder) is under way: waiting for it; if there is none, remove .venv.lock." >&2
    waited=yes
    sleep 1
  done
  trap 'rm -f "$VENV.lock"' EXIT
  trap 'stopped 130' INT
  trap 'stopped 143' TERM
}

set_up() {
  local candidate base= size gigabytes minutes free log=$VENV/install.log error
  take_turn
  ready && return
  if [ -e "$VENV" ] && [ ! -e "$VENV/.complete" ] && [ ! -e "$VENV/.installing" ]; then
    fail "The folder .venv is not of this script's making and does not satisfy the lock ($(differences "$VENV/bin/python")): remove it, or bring it up to date with '.venv/bin/python -m pip install -r requirements.txt -c constraints.txt'."
  fi
  [ -z "$PYTHON" ] || base=$(base_python "$PYTHON") || {
    base=
    echo "PYTHON=$PYTHON is not used: it is no working Python 3.11 to 3.13." >&2
  }
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    [ -z "$base" ] || break
    base=$(base_python "$candidate") || base=
  done
  [ -n "$base" ] || fail "No working Python 3.11 to 3.13 with its module venv was found: install one (on Debian and Ubuntu with the package python3-venv), or name it, as in PYTHON=/path/to/python3.12 ./run_all.sh."
  case "$(uname -sm)" in
    "Linux x86_64") size=6 gigabytes=10 minutes="2 to 10" ;;  # torch with CUDA; its wheels lie beside it until pip is done
    *) size=2 gigabytes=3 minutes="1 to 5" ;;
  esac
  [ ! -e "$VENV" ] || echo "Removing .venv, which is unfinished or of another lock."
  rm -rf "$VENV"
  free=$(df -Pk "$ROOT" | awk 'NR == 2 { for (i = NF; i > 1; i--) if ($i ~ /^[0-9]+%$/) { print int($(i - 1) / 1000000); exit } }')
  gigabytes=${CYCLE_VAE_DISK_GB:-$gigabytes}
  [ "${free:-$gigabytes}" -ge "$gigabytes" ] || fail "The disk of $ROOT has $free GB free and the set-up needs $gigabytes GB: free some space, or see the README for a smaller torch without CUDA."

  echo "Setting up .venv with $("$base" --version), once: about $size GB, $minutes minutes."
  mkdir -p "$VENV/tmp" && echo "$LOCK" >"$VENV/.installing"
  # pip keeps its downloads where TMPDIR says: beside .venv, since /tmp is often too small for them
  "$base" -m venv "$VENV" >"$log" 2>&1 && (
    cd "$ROOT" && export TMPDIR="$VENV/tmp" PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 && unset PYTHONPATH PYTHONHOME
    install() {
      set -- "$VENV/bin/python" -m pip install --no-input "$@"
      if [ -t 1 ]; then "$@" --log "$log"; else "$@" >>"$log" 2>&1; fi
    }
    install --require-hashes -r requirements.lock &&
      install --no-deps --no-build-isolation -r requirements.txt -c constraints.txt  # the project itself, which has no hash
  ) || {
    error=$(sed -n -e '/ResolutionImpossible/d' -e 's/.*ERROR: //p' "$log" | tail -n 1)
    ! grep -q "connection broken" "$log" || error="pip did not reach its package index"
    fail "The set-up of .venv failed (${error:-$(tail -n 1 "$log")}; the whole log is .venv/install.log): mend that and start again, which begins afresh."
  }
  rm -rf "$VENV/tmp"
  mv "$VENV/.installing" "$VENV/.complete"
  echo "Set up .venv."
}

choose_python() {
  local environment differs
  for environment in "$VIRTUAL_ENV" "$CONDA_PREFIX"; do
    if [ -n "$environment" ] && [ ! "$environment" -ef "$VENV" ]; then
      differs=$(differences "$environment/bin/python")
      if [ -z "$differs" ]; then
        PYTHON=$environment/bin/python
        return
      fi
      echo "The active environment $environment does not satisfy the lock ($differs): .venv is used." >&2
    fi
  done
  LOCK=$(cd "$ROOT" && cat requirements.txt constraints.txt requirements.lock | cksum)
  ready || (set_up) || exit $?
  PYTHON=$VENV/bin/python
}

choose_python
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"  # `lib`, from any working directory
export PYTHONNOUSERSITE=1  # packages in the user's home would come before those of a conda environment
export JUPYTER_PREFER_ENV_PATH=1  # the kernel of this environment, not one of the same name in the user's home
unset MPLBACKEND  # one from the user's shell would keep figures out of the notebooks
# glibc gives the memory of large tensors back to the kernel after every step and asks for it anew, which costs a training step
# 14 %; so it keeps up to 1 GiB. 32 MiB is the highest threshold that glibc before 2.35 takes.
export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=268435456
