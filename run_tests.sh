#!/usr/bin/env bash
# Checks everything: style, units, the complete report once, small, and every fault. The first time
# it sets itself up.
if [ -z "$BASH_VERSION" ]; then  # as by `sh NAME`
  command -v bash >/dev/null || { echo "This script needs bash: install it." >&2; exit 1; }
  exec bash "$0" "$@"
fi
if [ "${BASH_SOURCE[0]}" != "$0" ]; then
  echo "Run this script, do not source it: bash ${BASH_SOURCE[0]}" >&2
  return 1
fi
set -e +u -o pipefail +o posix
if [ $# -gt 0 ]; then
  echo "run_tests.sh takes no options, but got '$1': for some tests alone, see CONTRIBUTING.md." >&2
  exit 2
fi
script=$0
while [ -L "$script" ]; do  # such as a link from a folder in PATH
  link=$(readlink "$script")
  case $link in /*) script=$link ;; *) script=$(dirname "$script")/$link ;; esac
done
source "$(dirname "$script")/lib/system/environment.sh"
cd "$ROOT"
# Each worker of the tests computes in one thread.
unset ${!PYTEST@} ${!RUFF@}  # settings of the user
export OMP_NUM_THREADS=1 MPLBACKEND=Agg

TMP=$(mktemp -d "${TMPDIR:-/tmp}/cycle-vae-tests.XXXXXX")
parts=0
failed=0
summary=

# Runs the function $1 as a part of that name. A part that fails does not stop the others.
part() {
  local start=$SECONDS outcome=passed counts
  printf '\n==== %s ====\n' "$1"
  parts=$((parts + 1))
  if ! "$1" 2>&1 | tee "$TMP/$1.log"; then
    outcome=FAILED
    failed=$((failed + 1))
  fi
  counts=$(sed -nE 's/^=* *(.*[0-9] (passed|failed|error).* in [0-9.]+s).*/\1/p' "$TMP/$1.log")
  summary=$summary$(
    printf '%-16s %s  %4d s  %s' "$1" "$outcome" "$((SECONDS - start))" "${counts##*$'\n'}"
  )$'\n'
  printf '==== %s %s after %d s\n' "$1" "$outcome" "$((SECONDS - start))"
}

ruff_check() { "$PYTHON" -m ruff check --no-cache; }

ruff_format() { "$PYTHON" -m ruff format --check --no-cache; }

# The units; the one command of the README on preset smoke, whose notebooks must give the outputs
# that are committed; and kills, full disks, damaged files and bad options, each caused for real.
# All cores work on them, with one test more than cores, because some tests wait for disks and
# clocks. A module, which may share an expensive fixture, stays on one core. The longest come first
# (tests/conftest.py).
tests() {
  "$PYTHON" -P -m pytest -m "" -n $(($(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 5 \
    --dist loadfile --no-loadscope-reorder --durations=10 --basetemp="$TMP/tests" -p no:nbval
}

for name in ruff_check ruff_format tests; do part $name; done

printf '\n==== summary ====\n%s' "$summary"
if [ "$failed" -gt 0 ]; then
  echo "$failed of $parts parts FAILED in $SECONDS s; what they wrote is kept in $TMP."
  exit 1
fi
rm -rf "$TMP"
echo "All $parts parts passed in $SECONDS s."
