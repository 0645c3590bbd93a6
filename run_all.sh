#!/usr/bin/env bash
# Rebuilds the report (--help lists the options). With --jupyter it opens the notebooks instead.
# The first time it sets itself up.
set -eo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/system/environment.sh"

# -P: a folder `lib` in the working directory is not ours
if [ "$1" = --jupyter ]; then
  shift
  exec "$PYTHON" -P -m jupyterlab --ServerApp.root_dir="$ROOT" \
    --LabApp.default_url=/lab/tree/notebooks "$@"
fi
exec "$PYTHON" -P -m lib.commands.run_all "$@"
