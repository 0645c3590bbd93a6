#!/usr/bin/env bash
# Checks everything: style, units, the notebooks cell by cell, and the whole report once, small. Sets itself up the first time.
set -eo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/system/environment.sh"
cd "$ROOT"
# Threads that wait for each other by spinning keep a core from the one they wait for where other work shares the machine, as
# where tests run; so here they sleep after 1000 spins (GNU OpenMP). A training alone on its cores is faster without.
export GOMP_SPINCOUNT=1000

TMP=$(mktemp -d "${TMPDIR:-/tmp}/cycle-vae-tests.XXXXXX")
export CYCLE_VAE_DATA=$TMP/data CYCLE_VAE_REPORTS=$TMP/reports  # the notebooks' test and the report share the data
mkdir "$CYCLE_VAE_DATA" "$CYCLE_VAE_REPORTS" "$TMP/notebooks"
failed=0
summary=

# Runs the function $1 as the part of that name, and goes on whatever comes of it.
part() {
  local start=$SECONDS outcome=passed tests
  printf '\n==== %s ====\n' "$1"
  if ! ("$1") 2>&1 | tee "$TMP/$1.log"; then
    outcome=FAILED
    failed=$((failed + 1))
  fi
  tests=$(sed -nE 's/^=* *(.*[0-9] (passed|failed|error).* in [0-9.]+s).*/\1/p' "$TMP/$1.log" | tail -n 1)
  summary=$summary$(printf '%-16s %s  %4d s  %s' "$1" "$outcome" "$((SECONDS - start))" "$tests")$'\n'
  printf '==== %s %s after %d s\n' "$1" "$outcome" "$((SECONDS - start))"
}

ruff_check() { "$PYTHON" -m ruff check; }

ruff_format() { "$PYTHON" -m ruff format --check; }

unit_tests() { MPLBACKEND=Agg "$PYTHON" -m pytest --durations=5; }

# The notebooks as they are committed, shrunk to preset smoke: each cell runs, and those marked so give their stored output.
notebook_cells() {
  local notebook name
  for notebook in "$ROOT"/notebooks/0*.ipynb; do
    name=$(basename "$notebook")
    case $name in
      01* | 02*) set -- -p source drawn -p preset smoke -p run nbval ;;
      *) set -- -p run nbval ;;
    esac
    "$PYTHON" -m papermill --prepare-only --log-level WARNING "$notebook" "$TMP/notebooks/$name" "$@" || return
  done
  : >"$TMP/pytest.ini"  # else pytest would look for its settings in the folders above
  "$PYTHON" -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=600 -p no:cacheprovider --durations=5 "$TMP"/notebooks/*.ipynb
}

# The one command of the README, on preset smoke, down to the typeset report.
smoke_report() {
  ./run_all.sh --source drawn --preset smoke --run smoke && "$PYTHON" - "$CYCLE_VAE_REPORTS/smoke" <<'EOF_PYTHON'
import json, sys
from pathlib import Path

def refuse(constant):
    sys.exit(f"results.json holds {constant}, which is no finite number")

folder = Path(sys.argv[1])
results = json.loads((folder / "results.json").read_text(), parse_constant=refuse)
pdf = (folder / "report.pdf").read_bytes()
if not pdf.startswith(b"%PDF") or b"%%EOF" not in pdf[-1024:] or len(pdf) < 50_000:
    sys.exit(f"report.pdf is no whole report: {len(pdf)} bytes that begin with {pdf[:8]!r}")
print(f"report.pdf: {len(pdf):,} bytes; results.json: {', '.join(results)}")
EOF_PYTHON
}

# Kills, full disks, damaged files, bad options: each caused for real, and what the user reads and keeps.
faults() { "$PYTHON" -m tests.faults; }

for name in ruff_check ruff_format unit_tests notebook_cells smoke_report faults; do part $name; done

printf '\n==== summary ====\n%s' "$summary"
if [ "$failed" -gt 0 ]; then
  echo "$failed of 6 parts FAILED in $SECONDS s; what they wrote is kept in $TMP."
  exit 1
fi
rm -rf "$TMP"
echo "All 6 parts passed in $SECONDS s."
