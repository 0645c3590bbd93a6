#!/usr/bin/env bash
# Rebuilds the whole report (--help lists the options), or with --jupyter opens its notebooks; sets itself up the first time.
set -eo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/system/environment.sh"

if [ "$1" = --jupyter ]; then
  shift
  exec "$PYTHON" -P -m jupyterlab --ServerApp.root_dir="$ROOT" --LabApp.default_url=/lab/tree/notebooks "$@"
fi
exec "$PYTHON" -P -m lib.commands.run_all "$@"  # -P: a folder `lib` in the working directory is not ours
