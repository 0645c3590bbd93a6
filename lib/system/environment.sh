# Sourced by run_all.sh and run_tests.sh: leaves in PYTHON an interpreter with the locked packages.
# It keeps to bash 3.2, which macOS has. environment.py does the checks and the installation.

ROOT=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HELPER=$ROOT/lib/system/environment.py

# Prints an interpreter that can make .venv: the one behind $PYTHON, or the first that works.
base_python() {
  local name base
  for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
    base=$("$name" -I "$HELPER" base 2>/dev/null) && echo "$base" && return
    [ -z "$PYTHON" ] || echo "PYTHON=$PYTHON is not used: it is not Python 3.11 to 3.13." >&2
    PYTHON=
  done
  echo "No working Python 3.11 to 3.13 with its module venv was found: install one (on Debian and" \
    "Ubuntu with the package python3-venv), or name it: PYTHON=/path/to/python3 ./run_all.sh." >&2
}

# Leaves in PYTHON the interpreter of the environment $1, or in $differs how it differs.
use() {
  differs=$("$1/bin/python" -I "$HELPER" differences 2>/dev/null) ||
    differs="it has no working Python 3.11 to 3.13"
  [ -z "$differs" ] && PYTHON=$1/bin/python
}

# The same for .venv. Descriptor 99 stays open in whatever this script starts with exec.
# environment.py locks it, so that no set-up empties .venv while it is in use.
use_venv() {
  { exec 99<"$ROOT/.venv.lock"; } 2>/dev/null || true  # there may be none, or no descriptor left
  use "$ROOT/.venv"
}

# In the background, since bash heeds a signal at once only while it waits.
set_up() {
  local base stopped= status=0
  base=$(base_python) && [ -n "$base" ] || exit 1
  trap 'stopped=130' INT
  trap 'stopped=143' TERM
  "$base" -I "$HELPER" set-up &
  wait "$!" || status=$?
  trap - INT TERM
  if [ -n "$stopped" ]; then
    { kill "$!" && wait "$!"; } 2>/dev/null || true
    echo "The set-up of .venv was stopped: run the same command again." >&2
  fi
  [ "$status" = 0 ] || exit "${stopped:-$status}"
}

choose_python() {
  local active differs
  for active in "$VIRTUAL_ENV" "$CONDA_PREFIX"; do
    [ -n "$active" ] && [ ! "$active" -ef "$ROOT/.venv" ] || continue
    use "$active" && return
    echo "The active environment $active does not satisfy the lock ($differs): .venv is used." >&2
  done
  use_venv && return
  set_up
  use_venv && return
  echo "The environment .venv cannot be used: $differs. Run the same command again." >&2
  exit 1
}

choose_python
# The user's settings of Python are left out: PYTHONPATH may hold another numpy, PYTHONWARNINGS turn
# a warning into an error, PYTHONINSPECT wait for input. Two only say where compiled files go.
for name in ${!PYTHON@}; do
  case $name in
    PYTHON | PYTHONPYCACHEPREFIX | PYTHONDONTWRITEBYTECODE) ;;
    *) unset "$name" ;;
  esac
done
export PYTHONPATH=$ROOT PYTHONNOUSERSITE=1 JUPYTER_PREFER_ENV_PATH=1
unset MPLBACKEND  # it keeps figures out of notebooks
# glibc gives large tensors' memory back after every training step, which costs 14 %. So it keeps
# up to 1 GiB. 32 MiB is the highest threshold that glibc before 2.35 takes.
export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=268435456
# Threads that spin long while they wait keep a busy core from the thread they wait for. So they
# soon sleep: python -m benchmarks.load shows what that keeps. GNU OpenMP reads both names, others
# one.
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=1000
