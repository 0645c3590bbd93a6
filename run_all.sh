#!/usr/bin/env bash
# Rebuilds the report (--help lists the options). With --jupyter it opens the notebooks instead.
# The first time it sets itself up.
if [ -z "$BASH_VERSION" ]; then  # as by `sh NAME`
  command -v bash >/dev/null || { echo "This script needs bash: install it." >&2; exit 1; }
  exec bash "$0" "$@"
fi
if [ "${BASH_SOURCE[0]}" != "$0" ]; then
  echo "Run this script, do not source it: bash ${BASH_SOURCE[0]}" >&2
  return 1
fi
set -e +u -o pipefail +o posix
script=$0
while [ -L "$script" ]; do  # such as a link from a folder in PATH
  link=$(readlink "$script")
  case $link in /*) script=$link ;; *) script=$(dirname "$script")/$link ;; esac
done
source "$(dirname "$script")/lib/system/environment.sh"

# -P: a folder `lib` in the working directory is not ours
if [ "$1" = --jupyter ]; then
  shift
  for name in CYCLE_VAE_DATA CYCLE_VAE_REPORTS CYCLE_VAE_ARCHIVE; do  # kernels work elsewhere
    case ${!name} in "" | /*) ;; *) export "$name=$PWD/${!name}" ;; esac
  done
  exec "$PYTHON" -P -m jupyterlab --ServerApp.root_dir="$ROOT" \
    --LabApp.default_url=/lab/tree/notebooks "$@"
fi
if [ "$1" = swap ]; then
  shift
  exec "$PYTHON" -P -m lib.commands.swap "$@"
fi
exec "$PYTHON" -P -m lib.commands.run_all "$@"
